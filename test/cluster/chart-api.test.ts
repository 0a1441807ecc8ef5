/** The chart against a real API server, without any pod of it running: what it accepts, refuses, keeps and sends on. */
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { KubeObject } from '../../src/kube/client.ts'
import { eventually } from '../support/webhook.ts'
import { startCertManager } from './kit/cert-manager.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { program } from './kit/programs.ts'
import { whenObject } from './kit/watch.ts'
import { renewCertificate } from './support/cert-manager.ts'
import { installCertManagerCrds, installMonitoringCrds } from './support/foreign-crds.ts'
import { CHART, helm, parseObjects, type Values } from './support/helm.ts'

const OWN = 'credential-injector'
const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
const SELF_MANAGED = { certificates: { mode: 'selfManaged' } }
const EXISTING = { certificates: { mode: 'existing', existing: { secretName: 'own-tls', caBundle: PEM } } }
const EVERY_OPTION = {
  networkPolicy: {
    enabled: true,
    metricsFrom: [{ namespaceSelector: {} }],
    apiServer: [{ ipBlock: { cidr: '10.0.0.0/8' } }],
  },
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
  grafanaDashboard: { enabled: true, annotations: { 'grafana.com/folder': 'kubernetes' } },
  imagePullSecrets: [{ name: 'login' }],
  commonLabels: { team: 'ml' },
  admission: {
    failurePolicy: 'Ignore',
    reinvocationPolicy: 'Never',
    matchPolicy: 'Exact',
    sideEffects: 'None',
    excludedNamespaces: ['monitoring'],
    namespaceSelector: { matchLabels: { a: 'b' }, matchExpressions: [{ key: 'c', operator: 'Exists' }] },
    objectSelector: { matchLabels: { a: 'b' } },
    matchConditions: [{ name: 'mine', expression: "request.userInfo.username != 'somebody'" }],
    annotations: { note: 'mine' },
  },
  webhook: {
    podDisruptionBudget: { minAvailable: '50%' },
    tolerations: [{ key: 'x', operator: 'Exists' }],
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
    podAnnotations: { a: 'b' },
    podLabels: { a: 'b' },
    serviceAccountAnnotations: { a: 'b' },
    serviceAnnotations: { a: 'b' },
    extraEnv: [{ name: 'A', value: 'b' }],
  },
  controller: { tolerations: [{ key: 'x', operator: 'Exists' }], extraEnv: [{ name: 'A', value: 'b' }] },
}

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ users: { ada: ['data-scientists'] } })
  await installCertManagerCrds(cluster)
  await installMonitoringCrds(cluster)
  // What violates the level is refused for pods, and warned of for Deployments.
  await cluster.createNamespace(OWN, {
    'pod-security.kubernetes.io/enforce': 'restricted',
    'pod-security.kubernetes.io/warn': 'restricted',
  })
  await cluster.createNamespace('team-a')
})
afterAll(() => cluster?.stop())

const helmHere = (args: readonly string[], values?: Values) =>
  helm([...args, '--kubeconfig', cluster.kubeconfig, '--namespace', OWN], values)
const install = (values: Values, flags: readonly string[] = []) =>
  helmHere(['install', OWN, CHART, '--values', '-', ...flags], values)
const upgrade = (values: Values, flags: readonly string[] = []) =>
  helmHere(['upgrade', OWN, CHART, '--values', '-', ...flags], values)
const uninstall = () => helmHere(['uninstall', OWN])

/** Runs commands of a page as they stand there, in this checkout. */
async function runAsWritten(commands: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'page-'))
  try {
    for (const name of ['kubectl', 'helm'] as const) symlinkSync(await program(name), join(folder, name))
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, KUBECONFIG: cluster.kubeconfig }
    await promisify(execFile)('bash', ['-euc', commands], { cwd: join(CHART, '../..'), env })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
const page = (name: string) => readFileSync(join(CHART, '../../docs', name), 'utf8')
/** The commands of a page's section, block by block. */
const commandsOf = (name: string, section: string) => {
  const text = page(name).split(`\n## ${section}\n`)[1]?.split('\n## ')[0] ?? ''
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, commands = '']) => commands)
}

const PODS_CONFIGURATION =
  '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/credential-injector'
const POLICIES_CONFIGURATION =
  '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/credential-injector-policies'
const WORKLOADS_CONFIGURATION =
  '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/credential-injector-workloads'

describe('the API server accepts, without a warning,', () => {
  test.each<[string, Values, string?]>([
    ['the defaults', {}],
    ['self-managed mode', SELF_MANAGED],
    ['existing mode', EXISTING],
    ['every option', EVERY_OPTION],
    ['the longest name', SELF_MANAGED, 'x'.repeat(53)],
    ['a name that YAML takes for a number', SELF_MANAGED, '1.2'],
    ['listening without IPv6', { listenAddress: '0.0.0.0' }],
  ])('%s', async (_, values, release = OWN) => {
    const args = ['template', release, CHART, '--values', '-', '--api-versions', 'cert-manager.io/v1']
    const manifests = await helmHere([...args, '--api-versions', 'monitoring.coreos.com/v1'], values)
    const flags = ['apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-']
    const { code, stdout, stderr } = await cluster.tryKubectl(flags, manifests)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.match(/serverside-applied/g)?.length).toBeGreaterThan(18)
  })
})

describe('plain manifests', () => {
  beforeAll(async () => {
    const env = { ...process.env, HELM: await program('helm') }
    await promisify(execFile)(process.execPath, ['scripts/manifests.ts'], { cwd: join(CHART, '../..'), env })
  })

  test.each(['install.yaml', 'install-cert-manager.yaml'])(
    '%s is accepted as it is, and not Helm’s',
    async (file) => {
      const text = readFileSync(join(CHART, '../../dist', file), 'utf8')
      expect(text).not.toMatch(/helm/i)
      const flags = [
        'apply',
        '--server-side',
        '--dry-run=server',
        '--validate=strict',
        '--force-conflicts',
        '-f',
        '-',
      ]
      const { code, stdout, stderr } = await cluster.tryKubectl(flags, text)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toContain(`namespace/${OWN} serverside-applied`)
      expect(stdout.match(/serverside-applied/g)?.length).toBeGreaterThan(19)
    },
  )

  test.each(['install.yaml', 'install-cert-manager.yaml'])(
    'everything of %s that no namespace takes with it is in the commands that remove it',
    (file) => {
      const [, removal = ''] = commandsOf('install.md', 'Plain manifests')
      const removed = new Set(removal.match(/\b[a-z]+s\b/g))
      const left = parseObjects(readFileSync(join(CHART, '../../dist', file), 'utf8'))
        .filter(({ metadata }) => metadata.namespace === undefined)
        // The one is named by itself, the others stay on purpose.
        .filter(({ kind }) => !['Namespace', 'CustomResourceDefinition'].includes(kind))
      const plural = (kind: string) => kind.toLowerCase().replace(/y$/, 'ie').replace(/s$/, 'se').concat('s')
      expect(left.length).toBeGreaterThan(20)
      expect(left.filter(({ kind }) => !removed.has(plural(kind))).map(({ kind }) => kind)).toEqual([])
      for (const { metadata } of left) expect(metadata.labels['app.kubernetes.io/instance']).toBe(OWN)
    },
  )

  test('without helm it says what to do', async () => {
    const env = { ...process.env, HELM: '/nowhere/helm' }
    await expect(
      promisify(execFile)(process.execPath, ['scripts/manifests.ts'], { cwd: join(CHART, '../..'), env }),
    ).rejects.toThrow('install Helm (https://helm.sh), or name it with HELM=FILE.')
  })
})

describe('installed', () => {
  beforeAll(async () => {
    await install(SELF_MANAGED)
  })
  afterAll(() => uninstall())

  // ---- Rights --------------------------------------------------------------------------------------------------------

  const mayI = async (account: string, verb: string, resource: string, where: readonly string[]) => {
    const as = `system:serviceaccount:${OWN}:${OWN}-${account}`
    const { stdout } = await cluster.tryKubectl(['auth', 'can-i', verb, resource, '--as', as, ...where])
    return stdout.trim()
  }
  const ANYWHERE = ['--all-namespaces']
  const HERE = ['-n', OWN]
  const THERE = ['-n', 'team-a']

  test.each([
    ['webhook', 'list', 'credentials.run.ai', ANYWHERE, 'yes'],
    ['webhook', 'watch', 'clustercredentials.run.ai', ANYWHERE, 'yes'],
    ['webhook', 'get', 'credentialpolicies.run.ai', ANYWHERE, 'yes'],
    ['webhook', 'watch', 'namespaces', ANYWHERE, 'yes'],
    ['webhook', 'get', 'secrets', HERE, 'no'],
    ['webhook', 'list', 'secrets', ANYWHERE, 'no'],
    ['webhook', 'get', 'secrets/credential-injector-webhook-tls', HERE, 'no'],
    ['webhook', 'get', 'pods', ANYWHERE, 'no'],
    ['webhook', 'update', 'credentials.run.ai/status', ANYWHERE, 'no'],
    ['webhook', 'create', 'events', ANYWHERE, 'yes'],
    ['webhook', 'patch', 'events', ANYWHERE, 'yes'],
    ['webhook', 'get', 'events', ANYWHERE, 'no'],
    ['webhook', 'list', 'events', ANYWHERE, 'no'],
    ['webhook', 'delete', 'events', ANYWHERE, 'no'],
    ['webhook', 'patch', 'mutatingwebhookconfigurations/credential-injector', ANYWHERE, 'no'],
    ['controller', 'get', 'secrets', THERE, 'yes'],
    ['controller', 'create', 'secrets', HERE, 'yes'],
    ['controller', 'create', 'secrets', THERE, 'yes'],
    ['controller', 'update', 'secrets/credential-injector-ca', HERE, 'yes'],
    ['controller', 'patch', 'secrets', ANYWHERE, 'no'],
    ['controller', 'deletecollection', 'secrets', ANYWHERE, 'no'],
    ['controller', 'patch', 'mutatingwebhookconfigurations/credential-injector', ANYWHERE, 'yes'],
    ['controller', 'patch', 'mutatingwebhookconfigurations/another', ANYWHERE, 'no'],
    ['controller', 'patch', 'validatingwebhookconfigurations/credential-injector-workloads', ANYWHERE, 'yes'],
    ['controller', 'create', 'mutatingwebhookconfigurations', ANYWHERE, 'no'],
    ['controller', 'update', 'leases.coordination.k8s.io/credential-injector-controller', HERE, 'yes'],
    ['controller', 'update', 'leases.coordination.k8s.io/another', HERE, 'no'],
    ['controller', 'create', 'events', THERE, 'yes'],
    ['controller', 'create', 'pods', ANYWHERE, 'no'],
    ['controller', 'patch', 'deployments.apps', ANYWHERE, 'yes'],
    ['controller', 'create', 'deployments.apps', ANYWHERE, 'no'],
    ['controller', 'patch', 'replicasets.apps', ANYWHERE, 'no'],
    ['controller', 'update', 'credentials.run.ai', ANYWHERE, 'no'],
  ] as const)('may the %s %s %s %j? %s', async (account, verb, resource, where, answer) => {
    const subresource = resource.startsWith('credentials.run.ai/')
    const [plain, sub] = subresource ? resource.split('/') : [resource, undefined]
    expect(
      await mayI(account, verb, plain as string, [...where, ...(sub ? [`--subresource=${sub}`] : [])]),
    ).toBe(answer)
  })

  test.each([
    ['a Secret that is no copy', ['create', 'secret', 'generic', 'mine', ...THERE]],
    ['a copy of nothing', ['create', 'secret', 'generic', 'credential-mine', ...THERE]],
    ['a Secret of its own namespace', ['create', 'secret', 'generic', 'mine', ...HERE]],
    ['the end of a source', ['delete', 'secret', 'source', ...HERE]],
  ])('what RBAC cannot deny the controller, a fence does: %s', async (_, command) => {
    const as = `system:serviceaccount:${OWN}:${OWN}-controller`
    const make = ['create', 'secret', 'generic', 'source', ...HERE, '--dry-run=client', '-o', 'yaml']
    await cluster.kubectl(['apply', '-f', '-'], await cluster.kubectl(make))
    // The API server takes up a new policy a moment after it was made.
    await eventually('it is denied', async () => {
      const { stderr } = await cluster.tryKubectl([...command, '--as', as, '--dry-run=server'])
      return stderr.includes(`ValidatingAdmissionPolicy '${OWN}-fence-secrets'`)
    })
  })

  test('a request for a Secret with the webhook’s own token is answered 403', async () => {
    await cluster.kubectl([
      '-n',
      'team-a',
      'create',
      'secret',
      'generic',
      'of-a-team',
      '--from-literal',
      'a=b',
    ])
    const token = await cluster.tokenFor(`${OWN}-webhook`, OWN)
    const as = ['--kubeconfig', cluster.kubeconfigFor(token), '-n', 'team-a']
    expect((await cluster.tryKubectl([...as, 'get', 'credentials.run.ai'])).code).toBe(0)
    for (const request of [
      ['get', 'secret', 'of-a-team'],
      ['get', 'secrets'],
      ['get', 'secrets', '-A'],
    ]) {
      const { code, stderr } = await cluster.tryKubectl([...as, ...request])
      expect(code).toBe(1)
      expect(stderr).toContain('Error from server (Forbidden): secrets')
    }
  })

  test('who may edit a namespace may write its credentials', async () => {
    const roles = '/apis/rbac.authorization.k8s.io/v1/clusterroles'
    const mayCredentials = ({ rules }: any) => JSON.stringify(rules).includes('run.ai')
    for (const role of ['view', 'edit', 'admin'])
      await whenObject<KubeObject>(cluster.client, roles, role, mayCredentials)
    await cluster.kubectl([
      '-n',
      'team-a',
      'create',
      'rolebinding',
      'ada',
      '--clusterrole',
      'edit',
      '--user',
      'ada',
    ])
    const as = ['--kubeconfig', cluster.kubeconfigFor(cluster.userTokens.ada as string, 'team-a')]
    const may = async (verb: string, where: string) =>
      (
        await cluster.tryKubectl([...as, 'auth', 'can-i', verb, 'credentials.run.ai', '-n', where])
      ).stdout.trim()
    // The authorizer hears of the binding by a watch.
    await whenObject<KubeObject>(
      cluster.client,
      '/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings',
      'ada',
      () => true,
    )
    await expect.poll(() => may('create', 'team-a'), { timeout: 20_000 }).toBe('yes')
    expect(await may('create', OWN)).toBe('no')
  })

  // ---- Whom the API server asks, when there is nobody ------------------------------------------------------------------

  const pod = (name: string, annotations?: Record<string, string>) =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, ...(annotations && { annotations }) },
      spec: {
        containers: [{ name: 'main', image: 'none' }],
        // Only what runs on a node can be a mirror of something there.
        ...(annotations?.['kubernetes.io/config.mirror'] && { nodeName: 'node' }),
      },
    })
  const create = (namespace: string, manifest: string) =>
    cluster.tryKubectl(['-n', namespace, 'create', '--dry-run=server', '-f', '-'], manifest)

  test.each<[string, string, Record<string, string> | undefined, boolean]>([
    ['without annotations', 'team-a', undefined, false],
    ['with an empty map of annotations', 'team-a', {}, false],
    ['with annotations of others', 'team-a', { 'example.com/inject': 'x', 'run.ai/inject': 'y' }, false],
    [
      'with a prefix that only begins alike',
      'team-a',
      { 'credentials.run.ai.example.com/inject': 'x' },
      false,
    ],
    ['that asks for a credential', 'team-a', { 'credentials.run.ai/inject': 'x' }, true],
    ['with an unknown key of ours', 'team-a', { 'credentials.run.ai/injekt': 'x' }, true],
    ['with only the record of an injection', 'team-a', { 'credentials.run.ai/injected': 'x' }, true],
    ['that asks for one', 'kube-system', { 'credentials.run.ai/inject': 'x' }, false],
    ['that asks for one', 'kube-public', { 'credentials.run.ai/inject': 'x' }, false],
    ['that asks for one', 'kube-node-lease', { 'credentials.run.ai/inject': 'x' }, false],
    [
      'that mirrors one of a node',
      'team-a',
      { 'credentials.run.ai/inject': 'x', 'kubernetes.io/config.mirror': 'x' },
      false,
    ],
  ])('whether a pod %s in %s is sent: %o → %j', async (_, namespace, annotations, asked) => {
    const { code, stderr } = await create(namespace, pod('p', annotations))
    if (!asked) return expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(code).toBe(1)
    expect(stderr).toContain('failed calling webhook "pods.credentials.run.ai"')
    expect(stderr).toContain('/mutate/pods?timeout=5s')
  })

  test('a pod of the injector’s own is created, though it complies with Pod Security only', async () => {
    const own = JSON.parse(pod('p', { 'credentials.run.ai/inject': 'x' }))
    own.spec.securityContext = { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } }
    own.spec.containers[0].securityContext = {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    }
    expect(await create(OWN, JSON.stringify(own))).toMatchObject({ code: 0, stderr: '' })
  })

  const failedOpen = async () => {
    const text = await cluster.kubectl(['get', '--raw', '/metrics'])
    const line =
      /^apiserver_admission_webhook_fail_open_count\{name="workloads\.credentials\.run\.ai",.*\} (\d+)$/m
    return Number(line.exec(text)?.[1] ?? 0)
  }

  const template = (annotations?: Record<string, string>) => ({
    metadata: { labels: { app: 'x' }, ...(annotations && { annotations }) },
    spec: { restartPolicy: 'Always', containers: [{ name: 'main', image: 'none' }] },
  })
  const once = (one: any) => ({ ...one, spec: { ...one.spec, restartPolicy: 'Never' } })
  const selector = { matchLabels: { app: 'x' } }
  const specOf: Record<string, (one: any) => [string, object]> = {
    Deployment: (one) => ['apps/v1', { selector, template: one }],
    StatefulSet: (one) => ['apps/v1', { selector, serviceName: 'x', template: one }],
    DaemonSet: (one) => ['apps/v1', { selector, template: one }],
    ReplicaSet: (one) => ['apps/v1', { selector, template: one }],
    Job: (one) => ['batch/v1', { template: once(one) }],
    CronJob: (one) => ['batch/v1', { schedule: '* * * * *', jobTemplate: { spec: { template: once(one) } } }],
  }
  const workload = (kind: string, annotations?: Record<string, string>, metadata: object = {}) => {
    const [apiVersion, spec] = specOf[kind]?.(template(annotations)) ?? []
    return JSON.stringify({ apiVersion, kind, metadata: { name: 'w', ...metadata }, spec })
  }

  describe.each(Object.keys(specOf))('a %s', (kind) => {
    test('is looked at if its pods ask for credentials, and created all the same', async () => {
      const before = await failedOpen()
      for (const annotations of [undefined, {}, { other: 'x' }] as (Record<string, string> | undefined)[])
        expect((await create('team-a', workload(kind, annotations))).stderr).toBe('')
      expect(await failedOpen()).toBe(before)

      const { code } = await create('team-a', workload(kind, { 'credentials.run.ai/inject': 'x' }))

      expect(code).toBe(0)
      expect(await failedOpen()).toBe(before + 1)
    })
  })

  test.each(['Job', 'ReplicaSet'])('a %s that a controller made is not looked at again', async (kind) => {
    const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'd', uid: 'x' }
    const asks = { 'credentials.run.ai/inject': 'x' }
    const before = await failedOpen()
    await create('team-a', workload(kind, asks, { ownerReferences: [{ ...owner, controller: true }] }))
    expect(await failedOpen()).toBe(before)
    await create('team-a', workload(kind, asks, { ownerReferences: [owner] }))
    expect(await failedOpen()).toBe(before + 1)
  })

  test('a condition of yours that cannot be evaluated refuses the pod, and is counted; ours never are', async () => {
    const metrics = async () => cluster.kubectl(['get', '--raw', '/metrics'])
    const errors = /^apiserver_admission_match_condition_evaluation_errors_total\{.*name="pods\.credentials/m
    expect(await metrics()).not.toMatch(errors)
    const expression = "object.metadata.annotations['team'] == 'ml'"
    await upgrade({ ...SELF_MANAGED, admission: { matchConditions: [{ name: 'mine', expression }] } })
    await expect
      .poll(async () => (await create('team-a', pod('p', { 'credentials.run.ai/inject': 'x' }))).stderr)
      .toContain('no such key: team')
    expect(await metrics()).toMatch(errors)
    expect((await create('team-a', pod('p'))).stderr).toBe('')
    await upgrade(SELF_MANAGED)
  })

  test('the API server has every metric that the alerts and the dashboard ask it for', async () => {
    const text = await cluster.kubectl(['get', '--raw', '/metrics'])
    const has = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
    for (const name of [
      'apiserver_admission_webhook_request_total',
      'apiserver_admission_webhook_admission_duration_seconds',
      'apiserver_admission_webhook_rejection_count',
      'apiserver_admission_webhook_fail_open_count',
      'apiserver_admission_match_condition_evaluation_errors_total',
    ])
      expect(has).toContain(name)
    const labels = 'error_type="calling_webhook_error",name="pods.credentials.run.ai"'
    expect(text).toContain(`apiserver_admission_webhook_rejection_count{${labels}`)
  })

  // ---- Switching off and on ------------------------------------------------------------------------------------------

  // The commands are those of the page, to the letter.
  const [switchOff = '', switchOn = '', ignore = '', fail = ''] = commandsOf(
    'operations.md',
    'Switching it off',
  )
  const asks = pod('p', { 'credentials.run.ai/inject': 'x' })
  const answerTo = async (manifest: string) => {
    const { code, stderr } = await create('team-a', manifest)
    return code === 0 ? 'created' : stderr
  }
  const whenAnswered = (manifest: string, sentence: string) =>
    expect.poll(() => answerTo(manifest), { timeout: 60_000, interval: 300 }).toContain(sentence)
  const NOT_CALLED = 'failed calling webhook "pods.credentials.run.ai"'
  const NOT_INJECTED = "ValidatingAdmissionPolicy 'credential-injector-guard-injected'"
  const guards = async () =>
    (await cluster.kubectl(['get', 'validatingadmissionpolicybindings', '-o', 'name'])).match(
      /-guard-injected/g,
    )?.length ?? 0

  /** As the controller leaves it for enforced policies. */
  const enforce = async () => {
    const credential = {
      apiVersion: 'run.ai/v1',
      kind: 'Credential',
      metadata: { name: 'enforced', namespace: 'team-a' },
      spec: { secretRef: { name: 's' }, type: 'environment' },
    }
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(credential))
    await cluster.client.patch(
      '/apis/run.ai/v1/namespaces/team-a/credentials/enforced/status',
      'application/merge-patch+json',
      { status: { enforcedBy: [{ policy: 'ml', podSelector: { matchLabels: { policy: 'enforced' } } }] } },
    )
  }
  const registerPolicy = async () => {
    const { name: _, ...template } = (await cluster.client.get<any>(PODS_CONFIGURATION)).webhooks[0]
    const objectSelector = { matchLabels: { policy: 'registered' } }
    const entry = { ...template, name: 'ml.policies.credentials.run.ai', matchConditions: [], objectSelector }
    await cluster.client.patch(POLICIES_CONFIGURATION, 'application/merge-patch+json', { webhooks: [entry] })
  }
  const labelled = (policy: string) => {
    const { metadata, ...rest } = JSON.parse(pod('p'))
    return JSON.stringify({ ...rest, metadata: { ...metadata, labels: { policy } } })
  }

  test('the commands that switch it off let every pod through, and an upgrade brings all of it back', async () => {
    await enforce()
    await registerPolicy()
    await upgrade({ ...SELF_MANAGED, guards: { notInjected: { enabled: true } } })
    await expect.poll(guards).toBe(3)
    const refused = async () => {
      await whenAnswered(asks, NOT_CALLED)
      await whenAnswered(labelled('enforced'), 'policy ml enforces Credential enforced')
    }
    await refused()
    await whenAnswered(labelled('registered'), 'failed calling webhook "ml.policies.credentials.run.ai"')

    await runAsWritten(switchOff)

    for (const manifest of [asks, labelled('enforced'), labelled('registered')])
      await whenAnswered(manifest, 'created')

    await runAsWritten(switchOn)

    await refused()
    expect(await guards()).toBe(3)
    await cluster.client.get(POLICIES_CONFIGURATION)
    await cluster.kubectl(['-n', 'team-a', 'delete', 'credential', 'enforced'])
    await upgrade(SELF_MANAGED)
  })

  test('the commands of the operations page let pods through while nobody answers, and not any more', async () => {
    // With `Ignore` alone the guard refuses them, once the API server has it.
    await helmHere(['upgrade', OWN, CHART, '--reuse-values', '--set', 'admission.failurePolicy=Ignore'])
    await whenAnswered(asks, NOT_INJECTED)

    await runAsWritten(ignore)

    expect(await guards()).toBe(0)
    await whenAnswered(asks, 'created')
    await runAsWritten(fail)
    await whenAnswered(asks, NOT_CALLED)
  })

  test('a pod with very many annotations is judged by the keys that there are, and costs no more than others', async () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`example.com/a${index}`, '']))
    expect((await create('team-a', pod('p', many))).code).toBe(0)
    const asks = await create('team-a', pod('p', { ...many, 'credentials.run.ai/inject': 'x' }))
    expect(asks.stderr).toContain('failed calling webhook')
  })
})

describe('what cert-manager or the controller wrote into caBundle', () => {
  const BUNDLE = Buffer.from('-----BEGIN CERTIFICATE-----\nnew\n-----END CERTIFICATE-----\n').toString(
    'base64',
  )
  const OLD = Buffer.from('-----BEGIN CERTIFICATE-----\nold\n-----END CERTIFICATE-----\n').toString('base64')
  const write = async (bundle: string) => {
    for (const path of [PODS_CONFIGURATION, WORKLOADS_CONFIGURATION])
      await cluster.client.patch(path, 'application/json-patch+json', [
        { op: 'add', path: '/webhooks/0/clientConfig/caBundle', value: bundle },
      ])
  }
  const bundles = () =>
    Promise.all(
      [PODS_CONFIGURATION, WORKLOADS_CONFIGURATION].map(
        async (path) => (await cluster.client.get<any>(path)).webhooks[0].clientConfig.caBundle,
      ),
    )
  const timeout = async () => (await cluster.client.get<any>(PODS_CONFIGURATION)).webhooks[0].timeoutSeconds

  test.each([
    ['selfManaged', 'applied by the server', '--server-side=true'],
    ['selfManaged', 'merged by helm', '--server-side=false'],
    ['certManager', 'applied by the server', '--server-side=true'],
    ['certManager', 'merged by helm', '--server-side=false'],
  ])('survives upgrades and a rollback: %s, %s', async (mode, _, how) => {
    const values = (timeoutSeconds: number) => ({ certificates: { mode }, admission: { timeoutSeconds } })
    await install(values(5), [how])
    try {
      await write(OLD)
      await upgrade(values(6), [how])
      expect([await bundles(), await timeout()]).toEqual([[OLD, OLD], 6])

      // A CA is rotated between two releases: what an older release may remember must not come back.
      await write(BUNDLE)
      await upgrade(values(7), [how])
      expect([await bundles(), await timeout()]).toEqual([[BUNDLE, BUNDLE], 7])

      await helmHere(['rollback', OWN, '1', how])
      expect([await bundles(), await timeout()]).toEqual([[BUNDLE, BUNDLE], 5])
    } finally {
      await uninstall()
    }
  })
})

describe('with cert-manager at work', () => {
  let stopCertManager = async () => {}
  beforeAll(async () => {
    await install({})
    stopCertManager = await startCertManager(cluster)
  })
  afterAll(async () => {
    await uninstall()
    await stopCertManager()
  })

  const SECRETS = `/api/v1/namespaces/${OWN}/secrets`
  const CA = `${OWN}-ca`
  const SERVING = `${OWN}-webhook-tls`
  /** The certificate in a Secret, once there is another one than `before`. */
  const certificate = async (secret: string, before?: string) => {
    const { data } = await whenObject<any>(
      cluster.client,
      SECRETS,
      secret,
      (object) => object.data?.['tls.crt'] !== undefined && object.data['tls.crt'] !== before,
    )
    return {
      base64: data['tls.crt'] as string,
      x509: new X509Certificate(Buffer.from(data['tls.crt'], 'base64')),
      data,
    }
  }
  /** Resolves when both configurations trust it; cert-manager may leave what they trusted before beside it. */
  const pem = (base64: string) => Buffer.from(base64, 'base64').toString()
  const trusts = async (expected: string) => {
    for (const kind of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'] as const)
      await whenObject<any>(
        cluster.client,
        `/apis/admissionregistration.k8s.io/v1/${kind}`,
        kind.startsWith('mutating') ? OWN : `${OWN}-workloads`,
        ({ webhooks }) => pem(webhooks[0].clientConfig.caBundle ?? '').includes(pem(expected).trim()),
      )
  }

  test('a CA signs a short certificate for the Service, and both configurations trust the CA', async () => {
    const ca = await certificate(CA)
    const { x509, data } = await certificate(SERVING)
    await trusts(ca.base64)
    expect(x509.checkHost(`${OWN}-webhook.${OWN}.svc`)).toBeTruthy()
    expect(x509.verify(ca.x509.publicKey)).toBe(true)
    expect(x509.checkIssued(ca.x509)).toBe(true)
    expect(x509.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
    const days = (one: X509Certificate) =>
      (one.validToDate.getTime() - one.validFromDate.getTime()) / 86_400_000
    expect([days(ca.x509), days(x509)].map(Math.round)).toEqual([3650, 90])
    // `helm test` mounts it.
    expect(data['ca.crt']).toBe(ca.base64)
  })

  test('a renewed certificate has a new key, and nothing changes for the API server', async () => {
    const ca = await certificate(CA)
    const before = await certificate(SERVING)
    await renewCertificate(cluster, OWN, SERVING)
    const after = await certificate(SERVING, before.base64)
    expect(after.x509.publicKey.equals(before.x509.publicKey)).toBe(false)
    expect(after.x509.verify(ca.x509.publicKey)).toBe(true)
    await trusts(ca.base64)
  })

  test('a renewed CA keeps its key, so what it signed before is good under it', async () => {
    const before = await certificate(CA)
    const serving = await certificate(SERVING)
    await renewCertificate(cluster, OWN, CA)
    const after = await certificate(CA, before.base64)
    await trusts(after.base64)
    expect(after.x509.serialNumber).not.toBe(before.x509.serialNumber)
    expect(after.x509.publicKey.equals(before.x509.publicKey)).toBe(true)
    expect((await certificate(SERVING)).base64).toBe(serving.base64)
    expect(serving.x509.checkIssued(after.x509) && serving.x509.verify(after.x509.publicKey)).toBe(true)
  })

  test('the commands against a leaked CA take it out of all configurations, entries of policies included', async () => {
    const ca = await certificate(CA)
    const template = (await cluster.client.get<any>(PODS_CONFIGURATION)).webhooks[0]
    // Any other certificate will do for one that is not to be trusted.
    const other = await certificate(SERVING)
    const leaked = Buffer.from(`${pem(ca.base64)}${pem(other.base64)}`).toString('base64')
    const clientConfig = { ...template.clientConfig, caBundle: leaked }
    const webhooks = ['a', 'b'].map((name) => ({
      ...template,
      name: `${name}.policies.credentials.run.ai`,
      clientConfig,
    }))
    await cluster.client.patch(POLICIES_CONFIGURATION, 'application/merge-patch+json', { webhooks })
    await cluster.client.patch(PODS_CONFIGURATION, 'application/json-patch+json', [
      { op: 'replace', path: '/webhooks/0/clientConfig/caBundle', value: leaked },
    ])
    const block = commandsOf('operations.md', 'Certificates').find((commands) =>
      commands.includes('for kind in'),
    )

    await runAsWritten(block?.slice(block.indexOf('for kind in')) as string)

    for (const path of [PODS_CONFIGURATION, POLICIES_CONFIGURATION, WORKLOADS_CONFIGURATION]) {
      const [, collection, name] = /^(.*)\/(.*)$/.exec(path) as unknown as [string, string, string]
      await whenObject<any>(cluster.client, collection, name, (object) =>
        object.webhooks.every(
          (one: any) => pem(one.clientConfig.caBundle ?? '').trim() === pem(ca.base64).trim(),
        ),
      )
    }
  })
})

test('uninstalled, nothing is left that could refuse a pod, and credentials stay', async () => {
  await install(SELF_MANAGED)
  await cluster.kubectl(
    ['apply', '-f', '-'],
    'apiVersion: run.ai/v1\nkind: Credential\nmetadata: { name: mine, namespace: team-a }\nspec: { secretRef: { name: s }, type: environment }\n',
  )

  await uninstall()

  const selector = ['-l', `app.kubernetes.io/instance=${OWN}`, '-o', 'name']
  const clusterWide =
    'mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings,priorityclasses'
  expect(await cluster.kubectl(['get', clusterWide, ...selector])).toBe('')
  expect(
    await cluster.kubectl([
      'get',
      'deployments,services,serviceaccounts,roles,rolebindings',
      '-n',
      OWN,
      ...selector,
    ]),
  ).toBe('')
  expect(await cluster.kubectl(['get', 'credentials.run.ai', '-n', 'team-a', '-o', 'name'])).toContain('mine')
  const asks = ['-n', 'team-a', 'run', 'p', '--image', 'none', '--annotations', 'credentials.run.ai/inject=x']
  await expect
    .poll(async () => (await cluster.tryKubectl([...asks, '--dry-run=server'])).stderr, { timeout: 20_000 })
    .toBe('')
})

test('installed again, the definitions that stayed are taken over', async () => {
  expect(await cluster.kubectl(['get', 'crd', 'credentials.run.ai', '-o', 'name'])).toContain(
    'credentials.run.ai',
  )
  await install(SELF_MANAGED)
  await uninstall()
})
