/*
 * Policies on a real API server: the controller and the webhook as processes of their own, each with the rights that the chart
 * gives it, and each with a proxy before the API server, for what may go wrong in between.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Condition, CredentialStatus, PolicyStatus } from '../../src/api/status.ts'
import { entryName, type WebhookConfiguration } from '../../src/controller/policies/entries.ts'
import type { KubeObject } from '../../src/kube/client.ts'
import { testCertificates } from '../support/server.ts'
import { installCrds } from './install-crds.ts'
import { say } from './kit/programs.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { auditPosition, callsBy, writesIn } from './support/audit.ts'
import { type ControllerAccount, makeControllerAccount } from './support/controller-account.ts'
import { type FaultyProxy, randomly, startFaultyProxy } from './support/faulty-proxy.ts'
import { render } from './support/helm.ts'
import { apply, type Manifest, remove } from './support/objects.ts'
import { type Process, startController, startWebhook } from './support/processes.ts'
import { diff, snapshot } from './support/world.ts'

const OWN = 'policy-system'
const TEAM = 'policy-team'
const EMPTY = 'policy-empty'
const FULL = 'policy-test'
const VALUES = { fullnameOverride: FULL }
const MAIN = FULL
const CONFIGURATION = `${FULL}-policies`
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
const POLICIES = '/apis/run.ai/v1/credentialpolicies'
const PODS = `/api/v1/namespaces/${TEAM}/pods`
const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
const CLUSTER_CREDENTIALS = '/apis/run.ai/v1/clustercredentials'
const USER = `system:serviceaccount:${OWN}:${FULL}-controller`

const cluster = sharedCluster()
const { client } = cluster
const accounts: ControllerAccount[] = []
let proxy: FaultyProxy
let webhook: Process
let controllerProxy: FaultyProxy
const controllers: Process[] = []

interface PolicyObject extends KubeObject {
  readonly status?: PolicyStatus
}

interface CredentialObject extends KubeObject {
  readonly status?: CredentialStatus
}

beforeAll(async () => {
  await installCrds(client)
  await cluster.createNamespace(OWN)
  await cluster.createNamespace(TEAM, { team: 'ml', policies: 'tested' })
  await cluster.createNamespace(EMPTY, { policies: 'tested' })
  for (const program of ['controller', 'webhook'] as const)
    accounts.push(await makeControllerAccount(cluster, OWN, VALUES, program))
  const [ofController, ofWebhook] = accounts as [ControllerAccount, ControllerAccount]
  controllerProxy = await startFaultyProxy(cluster, ofController.token)
  proxy = await startFaultyProxy(cluster, ofWebhook.token)
  webhook = await startWebhook(proxy.kubeconfig, ['--namespace', OWN, '--log-level', 'warn'])
  for (const manifest of await registrations()) await client.create(CONFIGURATIONS, manifest)
  await start()
})

afterAll(async () => {
  await stopAll('SIGTERM')
  await webhook?.stop()
  await proxy?.stop()
  await controllerProxy?.stop()
  for (const name of [MAIN, CONFIGURATION]) await remove(client, configuration(name))
  await cluster.kubectl(['delete', 'credentialpolicies,clustercredentials', '--all'])
  await cluster.kubectl(['delete', 'namespace', OWN, TEAM, EMPTY, '--wait=false'])
  for (const account of accounts) await account.remove()
})

beforeEach(({ onTestFailed }) => {
  onTestFailed(() => {
    for (const { stderr } of [...controllers, webhook])
      process.stderr.write(`A log ends with:\n${stderr().slice(-4_000)}\n`)
  })
})

// ---- Programs and objects --------------------------------------------------------------------------------------------

const configuration = (name: string): Manifest => ({
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingWebhookConfiguration',
  metadata: { name },
})

/** As the chart makes them, but that the webhook is reached by its address. */
async function registrations(): Promise<Manifest[]> {
  const { ca } = await testCertificates()
  // In this mode nobody but the chart writes bundles: those of policies are the controller's.
  const certificates = { mode: 'existing', existing: { secretName: 'serving', caBundle: ca } }
  const rendered = await render({ ...VALUES, certificates }, { namespace: OWN })
  const [main, policies] = [MAIN, CONFIGURATION].map((name) =>
    rendered.one('MutatingWebhookConfiguration', name),
  )
  const clientConfig = { url: webhook.url, caBundle: Buffer.from(ca).toString('base64') }
  main.webhooks = main.webhooks.map((entry: object) => ({ ...entry, clientConfig }))
  return [main, policies]
}

async function start(flags: readonly string[] = []): Promise<Process> {
  const controller = await startController(controllerProxy.kubeconfig, [
    ...['--namespace', OWN, '--lease-duration', '15'],
    ...['--policies-configuration', CONFIGURATION, '--pods-configuration', MAIN, ...flags],
  ])
  controllers.push(controller)
  controller.exited.then(() => {
    if (controllers.includes(controller)) controllers.splice(controllers.indexOf(controller), 1)
  })
  return controller
}

async function stopAll(signal: NodeJS.Signals): Promise<void> {
  for (const controller of controllers.splice(0)) {
    controller.signal(signal)
    await controller.exited
  }
}

const policy = (name: string, spec: object): Manifest => ({
  apiVersion: 'run.ai/v1',
  kind: 'CredentialPolicy',
  metadata: { name },
  spec: {
    namespaceSelector: { matchLabels: { team: 'ml' } },
    credentials: ['tracking'],
    enforcement: 'Enforce',
    ...spec,
  },
})

const credential = (name: string, spec: object = {}): Manifest => ({
  apiVersion: 'run.ai/v1',
  kind: 'Credential',
  metadata: { name, namespace: TEAM },
  spec: { secretRef: { name: `${name}-secret` }, type: 'environment', ...spec },
})

const shared = (name: string, spec: object = {}): Manifest => ({
  apiVersion: 'run.ai/v1',
  kind: 'ClusterCredential',
  metadata: { name },
  spec: { secretRef: { name }, type: 'environment', namespaceSelector: {}, ...spec },
})

const pod = (labels: Record<string, string> = {}, annotations: Record<string, string> = {}) => ({
  metadata: { generateName: 'p-', labels, annotations },
  spec: { containers: [{ name: 'main', image: 'none' }], schedulingGates: [{ name: 'test.local/never' }] },
})

/** Names of Secrets that a pod created now would be given. */
async function given(labels?: Record<string, string>, namespace = TEAM): Promise<string[]> {
  const stored = await client.create<any>(`/api/v1/namespaces/${namespace}/pods?dryRun=All`, pod(labels))
  return (stored.spec.containers[0].envFrom ?? []).map(({ secretRef }: any) => secretRef?.name)
}

/** Tries until pods are given exactly these; returns how long that was, for people. */
async function whenGiven(secrets: readonly string[], labels?: Record<string, string>, namespace = TEAM) {
  const began = performance.now()
  const limit = AbortSignal.timeout(60_000)
  while ((await given(labels, namespace)).join() !== secrets.join()) limit.throwIfAborted()
  return performance.now() - began
}

const condition = ({ status }: PolicyObject, type: string): Condition | undefined =>
  status?.conditions?.find((one) => one.type === type)

const whenPolicy = (name: string, isRight: (object: PolicyObject) => boolean) =>
  whenObject<PolicyObject>(client, POLICIES, name, isRight)

const isReady = (object: PolicyObject) =>
  condition(object, 'Ready')?.status === 'True' &&
  object.status?.observedGeneration === object.metadata.generation

const whenEntries = (isRight: (names: string[]) => boolean) =>
  whenObject<WebhookConfiguration>(client, CONFIGURATIONS, CONFIGURATION, ({ webhooks = [] }) =>
    isRight(webhooks.map(({ name }) => name)),
  )

// ---- Tests -----------------------------------------------------------------------------------------------------------

describe('a policy', () => {
  beforeAll(async () => {
    await apply(client, credential('tracking'))
  })

  test('takes effect with kubectl apply, and ends with its deletion', async () => {
    const begins: number[] = []
    const ends: number[] = []
    for (let round = 0; round < 10; round++) {
      const its = policy(`soon-${round}`, { podSelector: { matchLabels: { workload: 'training' } } })
      await apply(client, its)
      begins.push(await whenGiven(['tracking-secret'], { workload: 'training' }))
      expect(await given({ workload: 'other' })).toEqual([])
      expect(await given({ workload: 'training' }, EMPTY)).toEqual([])
      await remove(client, its)
      ends.push(await whenGiven([], { workload: 'training' }))
    }
    say(`of 10 each, a policy took effect after ${spread(begins)}, and its end after ${spread(ends)}`)
  })

  test('is an entry with its own selectors, and otherwise like the one for annotated pods', async () => {
    const its = policy('exact', {
      namespaceSelector: {
        matchLabels: { team: 'ml' },
        matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }],
      },
      podSelector: {
        matchExpressions: [{ key: 'workload', operator: 'In', values: ['training', 'tuning'] }],
      },
      failurePolicy: 'Ignore',
    })
    await apply(client, its)
    const { webhooks = [] } = await whenEntries((names) => names.includes(entryName('exact')))
    const [main] = (await client.get<WebhookConfiguration>(`${CONFIGURATIONS}/${MAIN}`)).webhooks ?? []
    const { matchConditions: _, ...like } = main as any
    const { metadata } = await client.get<KubeObject>(`${POLICIES}/exact`)
    expect(webhooks).toEqual([
      {
        ...like,
        name: 'exact.policies.credentials.run.ai',
        clientConfig: {
          url: `${webhook.url}/policies/exact/${metadata.generation}-${metadata.uid}`,
          caBundle: like.clientConfig.caBundle,
        },
        namespaceSelector: {
          matchLabels: { team: 'ml' },
          matchExpressions: [
            { key: 'x', operator: 'DoesNotExist' },
            {
              key: 'kubernetes.io/metadata.name',
              operator: 'NotIn',
              values: ['kube-node-lease', 'kube-public', 'kube-system', OWN],
            },
          ],
        },
        objectSelector: {
          matchExpressions: [{ key: 'workload', operator: 'In', values: ['training', 'tuning'] }],
        },
        failurePolicy: 'Ignore',
      },
    ])
    await remove(client, its)
    await whenEntries((names) => names.length === 0)
  })

  test('never reaches the cluster’s own namespaces, nor the injector’s', async () => {
    const its = policy('everywhere', { namespaceSelector: {}, credentials: ['cluster/nothing'] })
    await apply(client, its)
    await expect.poll(() => given().catch(String), { timeout: 60_000 }).toContain('CredentialNotFound')
    for (const namespace of ['kube-system', OWN]) expect(await given({}, namespace)).toEqual([])
    await remove(client, its)
    await expect.poll(() => given().catch(String), { timeout: 60_000 }).toEqual([])
  })

  /** From now on nobody tells the webhook of any policy. */
  function unhook(): void {
    proxy.plan = ({ method, resource }) =>
      method === 'WATCH' && resource === 'credentialpolicies' ? 'cut' : undefined
    proxy.cutWatches()
  }

  const knownPolicies = () => metric(webhook, 'catalog_policies')

  /** Creates pods until twenty have been injected in a row, and counts those without after the first one with. */
  async function bareAfterFirst(): Promise<number> {
    let [injected, bare] = [0, 0]
    while (injected < 20) {
      const { length } = await given()
      if (length > 0) injected++
      else if (injected > 0) bare++
    }
    return bare
  }

  test('is in effect for every pod from the first one on, though the webhook has not heard of it', async () => {
    let pods = 0
    for (let round = 0; round < 5; round++) {
      const [name, second] = [`first-${round}`, `second-${round}`]
      unhook()
      await apply(client, policy(name, {}))
      const rows = await Promise.all(Array.from({ length: 4 }, bareAfterFirst))
      expect(rows).toEqual([0, 0, 0, 0])
      // The same for one that changes: all of its state, not only its name, is the API server's.
      await apply(client, credential(second))
      await apply(client, policy(name, { credentials: ['tracking', second] }))
      await whenGiven(['tracking-secret', `${second}-secret`])
      for (let count = 0; count < 20; count++)
        expect(await given()).toEqual(['tracking-secret', `${second}-secret`])
      pods += 100
      expect(await knownPolicies()).toBe(1)
      proxy.plan = () => undefined
      await remove(client, policy(name, {}))
      await whenGiven([])
      await expect.poll(knownPolicies, { timeout: 60_000 }).toBe(0)
      await remove(client, credential(second))
    }
    expect(proxy.faults.get('WATCH credentialpolicies')).toBeGreaterThan(0)
    say(`${pods} pods came for policies that no watch had brought, none went without`)
  })

  test('what somebody writes into the entries by hand is set right', async () => {
    const its = policy('mended', {})
    await apply(client, its)
    await whenEntries((names) => names.join() === entryName('mended'))
    const before = (await client.get<WebhookConfiguration>(`${CONFIGURATIONS}/${CONFIGURATION}`)).webhooks
    const path = `${CONFIGURATIONS}/${CONFIGURATION}`
    const foreign = { ...(before?.[0] as object), name: 'somebody.else.example.com', failurePolicy: 'Ignore' }
    for (const change of [
      [{ op: 'replace', path: '/webhooks/0/failurePolicy', value: 'Ignore' }],
      [{ op: 'replace', path: '/webhooks/0/namespaceSelector', value: {} }],
      [{ op: 'replace', path: '/webhooks/0/objectSelector', value: { matchLabels: { no: 'pod' } } }],
      [{ op: 'add', path: '/webhooks/0/matchConditions', value: [{ name: 'never', expression: 'false' }] }],
      [{ op: 'replace', path: '/webhooks/0/clientConfig/url', value: 'https://127.0.0.1:1/' }],
      [
        {
          op: 'replace',
          path: '/webhooks/0/clientConfig/caBundle',
          value: Buffer.from((await testCertificates()).ca + (await testCertificates()).ca).toString(
            'base64',
          ),
        },
      ],
      [{ op: 'add', path: '/webhooks/-', value: foreign }],
      [{ op: 'remove', path: '/webhooks' }],
    ]) {
      const { metadata } = await client.patch<KubeObject>(path, 'application/json-patch+json', change)
      const mended = await whenObject<WebhookConfiguration>(
        client,
        CONFIGURATIONS,
        CONFIGURATION,
        (object) => object.metadata.resourceVersion !== metadata.resourceVersion,
      )
      expect(mended.webhooks).toEqual(before)
    }
    await remove(client, its)
    await whenEntries((names) => names.length === 0)
  })
})

describe('the status', () => {
  test('says what is in effect, where, and for how many pods', async () => {
    const its = policy('counted', { podSelector: { matchLabels: { workload: 'counted' } } })
    await apply(client, its)
    await whenGiven(['tracking-secret'], { workload: 'counted' })
    await whenPolicy('counted', isReady)
    const [since, began] = [auditPosition(cluster), performance.now()]
    for (let count = 0; count < 100; count++) await client.create(PODS, pod({ workload: 'counted' }))
    await client.create(PODS, pod({ workload: 'another' }))
    const seen = await whenPolicy('counted', ({ status }) => status?.injectedPods === 100)
    // However fast they come, it is written once in five seconds.
    const writes = callsBy(cluster, USER, since)['patch credentialpolicies/status']
    expect(writes).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - began) / 5_000))
    say(`100 pods of a policy cost ${writes} writes of its status`)
    expect(seen.status).toMatchObject({ observedGeneration: 1, namespaces: 1, injectedPods: 100 })
    expect(seen.status).not.toHaveProperty('conflicts')
    expect(seen.status?.conditions?.map(({ type, status, reason }) => [type, status, reason])).toEqual([
      ['Ready', 'True', 'InEffect'],
      ['CredentialsFound', 'True', 'AllFound'],
      ['Compatible', 'True', 'NoConflict'],
    ])
    const table = await cluster.kubectl(['get', 'credpol', 'counted'])
    expect(table).toMatch(/^NAME +ENFORCEMENT +CREDENTIALS +NAMESPACES +PODS +READY +AGE\n/)
    expect(table).toMatch(/counted +Enforce +\["tracking"\] +1 +100 +True/)
    await cluster.kubectl(['-n', TEAM, 'label', 'pods', '--all', 'workload-'])
    await whenPolicy('counted', ({ status }) => status?.injectedPods === 0)
    await cluster.kubectl(['-n', TEAM, 'delete', 'pods', '--all', '--grace-period=0', '--force'])
    await remove(client, its)
  })

  test('says which credential is missing in which namespaces, until it is there', async () => {
    const its = policy('missing', {
      namespaceSelector: { matchLabels: { policies: 'tested' } },
      credentials: ['tracking', 'cluster/hub', 'late'],
      podSelector: { matchLabels: { workload: 'none' } },
    })
    await apply(client, its)
    const found = (object: PolicyObject) => condition(object, 'CredentialsFound')
    const seen = await whenPolicy('missing', (object) => found(object)?.status === 'False')
    expect(found(seen)?.message).toBe(
      [
        `No Credential tracking that can be used, nor a ClusterCredential tracking that is offered there, exists in namespace ${EMPTY}.`,
        `No ClusterCredential hub that can be used is offered to namespaces ${EMPTY}, ${TEAM}.`,
        `No Credential late that can be used, nor a ClusterCredential late that is offered there, exists in namespaces ${EMPTY}, ${TEAM}.`,
      ].join(' '),
    )
    await apply(client, shared('hub'))
    await apply(client, shared('late'))
    await apply(client, shared('tracking'))
    await whenPolicy('missing', (object) => found(object)?.status === 'True')
    for (const name of ['hub', 'late', 'tracking']) await remove(client, shared(name))
    await whenPolicy('missing', (object) => found(object)?.status === 'False')
    await remove(client, its)
  })

  test('says on both of two policies that they cannot both hold, before any pod', async () => {
    await apply(client, credential('one', { variables: [{ name: 'PROJECT', value: 'a' }] }))
    await apply(client, credential('two', { variables: [{ name: 'PROJECT', value: 'b' }] }))
    const [a, b] = [
      policy('conflict-a', { credentials: ['one'], podSelector: { matchLabels: { gpu: 'yes' } } }),
      policy('conflict-b', {
        credentials: ['two'],
        podSelector: { matchExpressions: [{ key: 'gpu', operator: 'Exists' }] },
      }),
    ]
    await apply(client, a as Manifest)
    await apply(client, b as Manifest)
    const disagrees = (object: PolicyObject) => condition(object, 'Compatible')?.status === 'False'
    const [first, second] = [
      await whenPolicy('conflict-a', disagrees),
      await whenPolicy('conflict-b', disagrees),
    ]
    expect(first.status?.conflicts).toEqual([
      {
        policy: 'conflict-b',
        message:
          'Credential one (policy conflict-a) enforces the variable PROJECT, and Credential two (policy conflict-b) gives it from another source',
      },
    ])
    expect(second.status?.conflicts?.map(({ policy }) => policy)).toEqual(['conflict-a'])
    // The engine says the same of a pod.
    await expect(given({ gpu: 'yes' })).rejects.toThrow(first.status?.conflicts?.[0]?.message)

    await apply(
      client,
      policy('conflict-b', { credentials: ['two'], podSelector: { matchLabels: { gpu: 'no' } } }),
    )
    for (const name of ['conflict-a', 'conflict-b']) {
      const { status } = await whenPolicy(name, (object) => !disagrees(object))
      expect(status).not.toHaveProperty('conflicts')
    }
    for (const object of [a, b, credential('one'), credential('two')])
      await remove(client, object as Manifest)
  })

  test('of credentials says who enforces them, as soon as it is in effect', async () => {
    await apply(client, shared('wide'))
    await apply(client, credential('wide'))
    const its = policy('names-both', {
      namespaceSelector: {},
      credentials: ['wide'],
      podSelector: { matchLabels: { workload: 'none' } },
    })
    await apply(client, its)
    const isEnforced = ({ status }: CredentialObject) => status?.enforcedBy !== undefined
    const own = await whenObject<CredentialObject>(client, CREDENTIALS, 'wide', isEnforced)
    const all = await whenObject<CredentialObject>(client, CLUSTER_CREDENTIALS, 'wide', isEnforced)
    const beyond = (...names: string[]) => ({
      matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: names.sort() }],
    })
    const excluded = ['kube-node-lease', 'kube-public', 'kube-system', OWN]
    const entry = { policy: 'names-both', podSelector: { matchLabels: { workload: 'none' } } }
    expect(own.status?.enforcedBy).toEqual([{ ...entry, namespaceSelector: beyond(...excluded) }])
    // Where there is a Credential of that name, it is not the one that is meant.
    expect(all.status?.enforcedBy).toEqual([{ ...entry, namespaceSelector: beyond(...excluded, TEAM) }])

    await remove(client, credential('wide'))
    await whenObject<CredentialObject>(
      client,
      CLUSTER_CREDENTIALS,
      'wide',
      ({ status }) =>
        JSON.stringify(status?.enforcedBy?.[0]?.namespaceSelector) === JSON.stringify(beyond(...excluded)),
    )
    await remove(client, its)
    await whenObject<CredentialObject>(client, CLUSTER_CREDENTIALS, 'wide', (object) => !isEnforced(object))
    await remove(client, shared('wide'))
  })

  test('says that the configuration is missing, and gets over it', async () => {
    await apply(client, policy('lonely', {}))
    await whenPolicy('lonely', isReady)
    await remove(client, configuration(CONFIGURATION))
    const seen = await whenPolicy('lonely', (object) => condition(object, 'Ready')?.status === 'False')
    expect(condition(seen, 'Ready')).toMatchObject({ reason: 'ConfigurationMissing' })
    expect(condition(seen, 'Ready')?.message).toContain(
      `There is no MutatingWebhookConfiguration ${CONFIGURATION}`,
    )
    await client.create(CONFIGURATIONS, (await registrations())[1] as Manifest)
    await whenPolicy('lonely', isReady)
    await whenGiven(['tracking-secret'])
    await remove(client, policy('lonely', {}))
    await whenGiven([])
  })
})

describe('whatever happens to the controller', () => {
  /** Nothing of these is any business of policies. */
  const OTHERS = [
    'namespaces',
    'pods',
    'secrets',
    'configmaps',
    'serviceaccounts',
    'mutatingwebhookconfigurations.admissionregistration.k8s.io',
  ]
  const isOurs = (key: string) => key.endsWith(` ${CONFIGURATION}`)
  const OUR_WRITES = [
    'create events',
    'patch events',
    'create leases',
    'update leases',
    'patch mutatingwebhookconfigurations',
    'patch credentialpolicies/status',
    'patch credentials/status',
  ]
  const SHORT_LEASE = ['--lease-duration', '6']
  const NAMES = Array.from({ length: 12 }, (_, index) => `stormy-${index}`)
  const expected = async (): Promise<Record<string, unknown>> => {
    const { items } = await client.get<{ items: any[] }>(POLICIES)
    return Object.fromEntries(
      items.map(({ metadata, spec }) => [
        entryName(metadata.name),
        [
          `${webhook.url}/policies/${metadata.name}/${metadata.generation}-${metadata.uid}`,
          spec.failurePolicy,
        ],
      ]),
    )
  }
  const actual = async (): Promise<Record<string, unknown>> => {
    const { webhooks = [] } = await client.get<WebhookConfiguration>(`${CONFIGURATIONS}/${CONFIGURATION}`)
    return Object.fromEntries(
      webhooks.map(({ name, clientConfig, failurePolicy }) => [name, [clientConfig.url, failurePolicy]]),
    )
  }

  function disturb(step: number): void {
    controllerProxy.plan = step === 0 ? () => undefined : randomly(step, 0.2)
    controllerProxy.cutWatches()
  }

  async function kill(which: number): Promise<void> {
    const [victim] = controllers.splice(which, 1) as [Process]
    victim.signal('SIGKILL')
    await victim.exited
  }

  async function allReady(): Promise<void> {
    const { items } = await client.get<{ items: KubeObject[] }>(POLICIES)
    for (const { metadata } of items) await whenPolicy(metadata.name, isReady)
  }

  test('killed, overtaken by another and with an API server in trouble, it brings everything to where it belongs', async () => {
    await stopAll('SIGTERM')
    const before = await snapshot(cluster, OTHERS)
    const since = auditPosition(cluster)
    const random = mulberry(20261125)
    let kills = 0
    for (let step = 0; step < 40; step++) {
      if (step % 10 === 0) disturb(step)
      // Two at a time: the other one takes over.
      while (controllers.length < 2) await start(SHORT_LEASE)
      const name = NAMES[Math.floor(random() * NAMES.length)] as string
      const failurePolicy = random() < 0.5 ? 'Fail' : 'Ignore'
      if (random() < 0.3) await remove(client, policy(name, {}))
      else
        await apply(
          client,
          policy(name, { failurePolicy, podSelector: { matchLabels: { step: `${step}` } } }),
        )
      if (random() < 0.2) {
        await kill(Math.floor(random() * controllers.length))
        kills++
      }
    }
    controllerProxy.plan = () => undefined
    if (controllers.length === 0) await start(SHORT_LEASE)
    await expect.poll(actual, { timeout: 90_000 }).toEqual(await expected())
    await allReady()
    const { items } = await client.get<{ items: KubeObject[] }>(POLICIES)
    const names = items.map(({ metadata }) => metadata.name).sort()
    await whenObject<CredentialObject>(client, CREDENTIALS, 'tracking', ({ status }) => {
      const enforcing = status?.enforcedBy?.map(({ policy }) => policy) ?? []
      return enforcing.join() === names.join()
    })
    expect(diff(before, await snapshot(cluster, OTHERS), isOurs)).toEqual([])
    const writes = writesIn(callsBy(cluster, USER, since))
    expect(Object.keys(writes).filter((name) => !OUR_WRITES.includes(name))).toEqual([])
    say(`40 changes of 12 policies, ${kills} kills; writes: ${JSON.stringify(writes)}`)
  })

  test('what is settled is not written again, by a new start neither, whatever else happens around it', async () => {
    await stopAll('SIGTERM')
    const since = auditPosition(cluster)
    const controller = await start()
    const looked = () => metric(controller, 'controller_queue_depth')
    // Things that look like news, and are none.
    for (let round = 0; round < 20; round++) {
      const stamp = { metadata: { annotations: { stamp: `${round}` } } }
      for (const path of [
        `/api/v1/namespaces/${TEAM}`,
        `${CREDENTIALS}/tracking`,
        `${CONFIGURATIONS}/${MAIN}`,
      ])
        await client.patch(path, 'application/merge-patch+json', stamp)
      const { items } = await client.get<{ items: KubeObject[] }>(POLICIES)
      for (const { metadata } of items)
        await client.patch(`${POLICIES}/${metadata.name}`, 'application/merge-patch+json', stamp)
    }
    // What comes after it in the same watches, and is news, shows that it has been seen.
    await apply(client, policy('last', { podSelector: { matchLabels: { workload: 'last' } } }))
    await whenPolicy('last', isReady)
    await expect.poll(looked, { timeout: 60_000 }).toBe(0)
    const writes = writesIn(callsBy(cluster, USER, since))
    say(
      `writes of a controller that has started, seen hundreds of stamps and one new policy: ${JSON.stringify(writes)}`,
    )
    expect({ ...writes, 'update leases': 0, 'create events': 0 }).toEqual({
      'patch mutatingwebhookconfigurations': 1,
      'patch credentialpolicies/status': 1,
      // It is one more that enforces it.
      'patch credentials/status': 1,
      'update leases': 0,
      'create events': 0,
    })
  })
})

function spread(times: number[]): string {
  const sorted = [...times].sort((a, b) => a - b).map(Math.round)
  return `${sorted[Math.floor(sorted.length / 2)]} ms (median), ${sorted.at(-1)} ms (most)`
}

async function metric({ metricsUrl }: Process, name: string): Promise<number> {
  const text = await (await fetch(metricsUrl)).text()
  return Number(new RegExp(`^credential_injector_${name} (\\S+)$`, 'm').exec(text)?.[1])
}

/** Numbers from 0 to 1, the same for the same seed. */
function mulberry(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
