/** What the chart makes of values, by the real helm; no cluster is asked. Theme by theme. */
import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { KNOWN_ANNOTATIONS, PREFIX } from '../../src/annotations.ts'
import { readControllerConfig } from '../../src/config/controller.ts'
import { readConfig } from '../../src/config/serve.ts'
import { program } from './kit/programs.ts'
import { ALL_APIS, CHART, helm, type Rendering, refusal, render, type Values } from './support/helm.ts'

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
const SELF_MANAGED = { certificates: { mode: 'selfManaged' } }
const EXISTING = { certificates: { mode: 'existing', existing: { secretName: 'own-tls', caBundle: PEM } } }
const EVERY_OPTION = {
  networkPolicy: { enabled: true },
  serviceMonitor: { enabled: true },
  prometheusRule: { enabled: true },
  grafanaDashboard: { enabled: true },
  extraObjects: [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'extra', namespace: 'credential-injector' } },
  ],
}

// Where it is not built yet, that takes longer than a test may.
beforeAll(() => program('helm'))

test('helm lint has nothing to say but that there is no icon', async () => {
  const text = await helm(['lint', CHART, '--strict', '--values', '-'], SELF_MANAGED)
  expect(text).not.toMatch(/\[(WARNING|ERROR)\]/)
})

/** Names of policies, each with its binding. */
const guards = (...ends: string[]) =>
  ends.flatMap((end) => [
    `ValidatingAdmissionPolicy/credential-injector-${end}`,
    `ValidatingAdmissionPolicyBinding/credential-injector-${end}`,
  ])
const NOT_INJECTED = guards('guard-injected', 'guard-injected-cluster', 'guard-injected-own')

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 8)

describe('objects', () => {
  const POLICIES = [
    'enforced',
    'enforced-cluster',
    'fence-events',
    'fence-secrets',
    'fence-webhooks',
    'fence-workloads',
  ].flatMap((name) => [
    `ValidatingAdmissionPolicy/credential-injector-${name}`,
    `ValidatingAdmissionPolicyBinding/credential-injector-${name}`,
  ])
  const BASE = [
    'ClusterRole/credential-injector-controller',
    'ClusterRole/credential-injector-edit',
    'ClusterRole/credential-injector-platform-admin',
    'ClusterRole/credential-injector-platform-view',
    'ClusterRole/credential-injector-view',
    'ClusterRole/credential-injector-webhook',
    'ClusterRoleBinding/credential-injector-controller',
    'ClusterRoleBinding/credential-injector-webhook',
    'CustomResourceDefinition/clustercredentials.run.ai',
    'CustomResourceDefinition/credentialpolicies.run.ai',
    'CustomResourceDefinition/credentials.run.ai',
    'Deployment/credential-injector-controller',
    'Deployment/credential-injector-webhook',
    'MutatingWebhookConfiguration/credential-injector',
    'MutatingWebhookConfiguration/credential-injector-policies',
    'Pod/credential-injector-test',
    'PodDisruptionBudget/credential-injector-webhook',
    'PriorityClass/credential-injector',
    'Role/credential-injector-controller',
    'RoleBinding/credential-injector-controller',
    'Service/credential-injector-webhook',
    'ServiceAccount/credential-injector-controller',
    'ServiceAccount/credential-injector-webhook',
    ...guards('guard-accounts', 'guard-accounts-cluster', 'guard-deletion', 'guard-names'),
    ...POLICIES,
    'ValidatingWebhookConfiguration/credential-injector-workloads',
  ]
  const CERTIFICATES = [
    'Certificate/credential-injector-ca',
    'Certificate/credential-injector-webhook-tls',
    'Issuer/credential-injector-ca',
    'Issuer/credential-injector-selfsigned',
  ]
  const without = (...names: string[]) => BASE.filter((name) => !names.includes(name))

  test.each<[string, Values, string[]]>([
    ['by default', {}, [...BASE, ...CERTIFICATES]],
    ['in self-managed mode', SELF_MANAGED, BASE],
    ['in existing mode', EXISTING, BASE],
    [
      'where the webhook may be missed',
      { ...SELF_MANAGED, admission: { failurePolicy: 'Ignore' } },
      [...BASE, ...NOT_INJECTED],
    ],
    [
      'with every option',
      { ...SELF_MANAGED, ...EVERY_OPTION },
      [
        ...BASE,
        'ConfigMap/credential-injector-dashboard',
        'ConfigMap/extra',
        'NetworkPolicy/credential-injector-controller',
        'NetworkPolicy/credential-injector-webhook',
        'PrometheusRule/credential-injector',
        'Service/credential-injector-metrics',
        'ServiceMonitor/credential-injector',
      ],
    ],
    [
      'without what can be left out',
      {
        ...SELF_MANAGED,
        crds: { enabled: false },
        workloadCheck: { enabled: false },
        rbac: { aggregateToDefaultRoles: false, platformRoles: false },
        priorityClass: { create: false },
        webhook: { podDisruptionBudget: { enabled: false } },
        guards: {
          allowedServiceAccounts: { enabled: false },
          deletionOfUsed: { enabled: false },
          names: { enabled: false },
        },
        enforcement: { enabled: false },
        fences: { enabled: false },
      },
      without(
        ...guards('guard-accounts', 'guard-accounts-cluster', 'guard-deletion', 'guard-names'),
        ...POLICIES,
        'ClusterRole/credential-injector-edit',
        'ClusterRole/credential-injector-platform-admin',
        'ClusterRole/credential-injector-platform-view',
        'ClusterRole/credential-injector-view',
        'CustomResourceDefinition/clustercredentials.run.ai',
        'CustomResourceDefinition/credentialpolicies.run.ai',
        'CustomResourceDefinition/credentials.run.ai',
        'PodDisruptionBudget/credential-injector-webhook',
        'PriorityClass/credential-injector',
        'ValidatingWebhookConfiguration/credential-injector-workloads',
      ),
    ],
  ])('%s', async (_, values, names) => {
    expect((await render(values)).names()).toEqual([...names].sort())
  })

  test.each<[string, Rendering, Values, string]>([
    ['the release’s name', { release: 'credential-injector' }, {}, 'credential-injector'],
    ['with the chart’s name behind it', { release: 'prod' }, {}, 'prod-credential-injector'],
    ['once, if it is part of it', { release: 'my-credential-injector-2' }, {}, 'my-credential-injector-2'],
    ['another name', { release: 'prod' }, { nameOverride: 'creds' }, 'prod-creds'],
    ['the whole name', { release: 'prod' }, { fullnameOverride: 'creds' }, 'creds'],
    ['dots are no part of a Service’s name', { release: 'team.prod' }, {}, 'team-prod-credential-injector'],
    ['nor may it begin with a digit', { release: '1st' }, {}, 'r1st-credential-injector'],
    [
      'a long one is cut, with a hash',
      { release: 'a'.repeat(53) },
      {},
      `${'a'.repeat(31)}-${hashOf(`${'a'.repeat(53)}-credential-injector`)}`,
    ],
  ])('are called by %s', async (_, rendering, values, name) => {
    const rendered = await render({ ...SELF_MANAGED, ...EVERY_OPTION, ...values }, rendering)
    expect(rendered.of('MutatingWebhookConfiguration').map(({ metadata }) => metadata.name)).toEqual([
      name,
      `${name}-policies`,
    ])
    expect(rendered.one('Service', `${name}-webhook`).metadata.name.length).toBeLessThanOrEqual(63)
    for (const object of rendered.objects) {
      expect(object.metadata.name.length).toBeLessThanOrEqual(63)
      for (const value of Object.values<string>(object.metadata.labels ?? {}))
        expect(value.length).toBeLessThanOrEqual(63)
    }
  })

  test('two long names that begin alike stay two', async () => {
    const names = await Promise.all(
      ['x', 'y'].map(async (end) => (await render(SELF_MANAGED, { release: 'a'.repeat(52) + end })).names()),
    )
    expect(names[0]).not.toEqual(names[1])
  })

  test('have every common label, and stay in the release’s namespace', async () => {
    const rendered = await render(
      { ...EVERY_OPTION, extraObjects: [], commonLabels: { team: 'ml' } },
      { namespace: 'ns-1' },
    )
    const clusterWide =
      /^(ClusterRole|ClusterRoleBinding|CustomResourceDefinition|PriorityClass|ValidatingAdmission.*|.*WebhookConfiguration)$/
    for (const { kind, metadata } of rendered.objects) {
      expect(metadata.labels, `${kind}/${metadata.name}`).toMatchObject({
        team: 'ml',
        'app.kubernetes.io/name': 'credential-injector',
        'app.kubernetes.io/instance': 'credential-injector',
        'app.kubernetes.io/managed-by': 'Helm',
      })
      expect(metadata.namespace).toBe(clusterWide.test(kind) ? undefined : 'ns-1')
    }
  })

  test('the definitions are those of the product, and stay when the chart goes', async () => {
    const kept = (await render(SELF_MANAGED)).of('CustomResourceDefinition')
    const loose = (await render({ ...SELF_MANAGED, crds: { keep: false } })).of('CustomResourceDefinition')
    expect(kept.map(({ metadata }) => metadata.annotations)).toEqual(
      kept.map(() => ({ 'helm.sh/resource-policy': 'keep' })),
    )
    expect(loose.map(({ metadata }) => metadata.annotations)).toEqual(loose.map(() => undefined))
    expect(kept.map(({ spec }) => spec)).toEqual(loose.map(({ spec }) => spec))
  })

  test('more objects may be templates', async () => {
    const text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: "{{ .Release.Name }}-more" }\n'
    const rendered = await render({ ...SELF_MANAGED, extraObjects: [text] }, { release: 'prod' })
    expect(rendered.names()).toContain('ConfigMap/prod-more')
  })
})

describe('rights', () => {
  const row = ({ apiGroups, resources, resourceNames, verbs }: any) =>
    `${apiGroups.map((group: string) => group || 'core').join(',')}: ${resources.join(',')}` +
    `${resourceNames ? ` [${resourceNames.join(',')}]` : ''}: ${verbs.join(',')}`
  const rules = (rendered: any, kind: string, name: string) => rendered.one(kind, name).rules.map(row)

  const READ = 'run.ai: credentials,clustercredentials,credentialpolicies: get,list,watch'
  const NAMESPACES = 'core: namespaces: get,list,watch'
  const CONTROLLER = [
    READ,
    'run.ai: credentials/status,clustercredentials/status,credentialpolicies/status: patch',
    'core: namespaces: list,watch',
    'core: pods: list,watch',
    'apps: replicasets: list,watch',
    'batch: jobs: list,watch',
    'core: secrets: get,list,watch',
    'core: secrets: create,update,delete',
    'core: events: create,patch',
    'apps: deployments,statefulsets,daemonsets: get,patch',
    'apps: controllerrevisions: list',
    'admissionregistration.k8s.io: mutatingwebhookconfigurations [credential-injector]: get,list,watch',
    'admissionregistration.k8s.io: mutatingwebhookconfigurations [credential-injector-policies]: get,list,watch,patch',
  ]
  const OWN_NAMESPACE = [
    'coordination.k8s.io: leases: create',
    'coordination.k8s.io: leases [credential-injector-controller]: get,update',
    'core: secrets: create',
  ]

  test.each<[string, Values]>([
    ['by default', {}],
    ['in self-managed mode', SELF_MANAGED],
    ['in existing mode', EXISTING],
    ['with every option', EVERY_OPTION],
  ])(
    'of the webhook, %s: it reads credentials and namespaces, writes events, and nothing else',
    async (_, values) => {
      const rendered = await render(values)
      expect(rules(rendered, 'ClusterRole', 'credential-injector-webhook')).toEqual([
        READ,
        NAMESPACES,
        'core: events: create,patch',
      ])
      const bound = [...rendered.of('ClusterRoleBinding'), ...rendered.of('RoleBinding')].filter(
        ({ subjects }) => subjects.some(({ name }: any) => name === 'credential-injector-webhook'),
      )
      expect(bound.map(({ roleRef }) => `${roleRef.kind}/${roleRef.name}`)).toEqual([
        'ClusterRole/credential-injector-webhook',
      ])
    },
  )

  test('of the webhook that tells no owners: it only reads', async () => {
    const rendered = await render({ webhook: { ownerEvents: false } })
    expect(rules(rendered, 'ClusterRole', 'credential-injector-webhook')).toEqual([READ, NAMESPACES])
    const { containers } = rendered.one('Deployment', 'credential-injector-webhook').spec.template.spec
    expect(readConfig(containers[0].args).ownerEvents).toBe(false)
  })

  test.each<[string, Values]>([
    ['by default', {}],
    ['in existing mode', EXISTING],
  ])('of the controller, %s', async (_, values) => {
    const rendered = await render(values)
    expect(rules(rendered, 'ClusterRole', 'credential-injector-controller')).toEqual(CONTROLLER)
    expect(rules(rendered, 'Role', 'credential-injector-controller')).toEqual(OWN_NAMESPACE)
  })

  test('of the controller in self-managed mode: two webhook configurations more to write, and two Secrets, by name', async () => {
    const rendered = await render(SELF_MANAGED)
    expect(rules(rendered, 'ClusterRole', 'credential-injector-controller')).toEqual([
      ...CONTROLLER,
      'admissionregistration.k8s.io: mutatingwebhookconfigurations [credential-injector]: patch',
      'admissionregistration.k8s.io: validatingwebhookconfigurations [credential-injector-workloads]: get,list,watch,patch',
    ])
    expect(rules(rendered, 'Role', 'credential-injector-controller')).toEqual([
      ...OWN_NAMESPACE,
      'core: secrets [credential-injector-ca,credential-injector-webhook-tls]: update',
    ])
  })

  test('of the controller in self-managed mode without the workload check: one webhook configuration more to write', async () => {
    const rendered = await render({ ...SELF_MANAGED, workloadCheck: { enabled: false } })
    expect(rules(rendered, 'ClusterRole', 'credential-injector-controller')).toEqual([
      ...CONTROLLER,
      'admissionregistration.k8s.io: mutatingwebhookconfigurations [credential-injector]: patch',
    ])
  })

  test('of the controller without restarts: none to look at workloads or to change them', async () => {
    const rendered = await render({ rotation: { restartWorkloads: false } })
    const rights = rules(rendered, 'ClusterRole', 'credential-injector-controller')
    expect(rights).toEqual(
      CONTROLLER.filter((right) => !right.startsWith('apps: ') || right.includes('replicasets')),
    )
    const { args } = rendered.one('Deployment', 'credential-injector-controller').spec.template.spec
      .containers[0]
    expect(readControllerConfig(args.slice(1)).rotation.restartWorkloads).toBe(false)
  })

  test('of people: credentials of namespaces, with the roles that they have; the cluster’s kinds, for who is bound to them', async () => {
    const rendered = await render({})
    expect(rules(rendered, 'ClusterRole', 'credential-injector-view')).toEqual([
      'run.ai: credentials: get,list,watch',
    ])
    expect(rules(rendered, 'ClusterRole', 'credential-injector-edit')).toEqual([
      'run.ai: credentials: create,update,patch,delete,deletecollection',
    ])
    expect(rules(rendered, 'ClusterRole', 'credential-injector-platform-view')).toEqual([
      'run.ai: clustercredentials,credentialpolicies: get,list,watch',
    ])
    expect(rules(rendered, 'ClusterRole', 'credential-injector-platform-admin')).toEqual([
      'run.ai: clustercredentials,credentialpolicies: get,list,watch,create,update,patch,delete,deletecollection',
    ])
  })

  test('nobody else is bound to anything, and no rule has a wildcard', async () => {
    const rendered = await render({ ...SELF_MANAGED, ...EVERY_OPTION })
    for (const { subjects, metadata } of [
      ...rendered.of('ClusterRoleBinding'),
      ...rendered.of('RoleBinding'),
    ])
      expect(subjects).toEqual([
        { kind: 'ServiceAccount', name: metadata.name, namespace: 'credential-injector' },
      ])
    for (const { rules } of [...rendered.of('ClusterRole'), ...rendered.of('Role')])
      expect(JSON.stringify(rules)).not.toContain('*')
  })
})

describe('guards', () => {
  test.each<[unknown, string, boolean]>([
    ['auto', 'Fail', false],
    ['auto', 'Ignore', true],
    [true, 'Fail', true],
    [false, 'Ignore', false],
  ])('notInjected.enabled: %j with failurePolicy %s', async (enabled, failurePolicy, isThere) => {
    const values = { ...SELF_MANAGED, admission: { failurePolicy }, guards: { notInjected: { enabled } } }
    const names = (await render(values)).names()
    expect(NOT_INJECTED.map((name) => names.includes(name))).toEqual(NOT_INJECTED.map(() => isThere))
  })

  test('what the webhook is not sent is not expected to be injected', async () => {
    const condition = { name: 'not-mine', expression: "object.metadata.name != 'mine'" }
    const rendered = await render({
      ...SELF_MANAGED,
      admission: {
        failurePolicy: 'Ignore',
        excludedNamespaces: ['apart'],
        namespaceSelector: { matchLabels: { injected: 'yes' } },
        objectSelector: { matchLabels: { managed: 'yes' } },
        matchConditions: [condition],
      },
    })
    const [webhook] = rendered.one('MutatingWebhookConfiguration', 'credential-injector').webhooks
    const policies = rendered
      .of('ValidatingAdmissionPolicy')
      .filter(({ metadata }) => metadata.name.includes('guard-injected'))
    expect(policies).toHaveLength(3)
    for (const { spec } of policies) {
      const { matchConstraints, matchConditions } = spec
      expect(matchConstraints).toMatchObject({
        namespaceSelector: webhook.namespaceSelector,
        objectSelector: webhook.objectSelector,
        matchPolicy: webhook.matchPolicy,
        resourceRules: webhook.rules,
      })
      expect(matchConditions).toContainEqual(condition)
    }
  })
})

describe('the limits that the API server keeps', () => {
  test('the fences hold for the controller’s own account, whatever the release is called', async () => {
    const rendered = await render(SELF_MANAGED, { release: 'prod', namespace: 'ns-1' })
    const account = rendered.one('ServiceAccount', 'prod-credential-injector-controller').metadata
    const fences = rendered
      .of('ValidatingAdmissionPolicy')
      .filter(({ metadata }) => metadata.name.includes('-fence-'))
    expect(fences).toHaveLength(4)
    for (const { spec } of fences) {
      expect(spec.failurePolicy).toBe('Fail')
      expect(spec.matchConditions.map(({ expression }: any) => expression)).toEqual([
        `request.userInfo.username == 'system:serviceaccount:${account.namespace}:${account.name}'`,
      ])
    }
  })

  test('without the right to restart workloads there is no fence around it', async () => {
    const rendered = await render({ ...SELF_MANAGED, rotation: { restartWorkloads: false } })
    expect(rendered.names().filter((name) => name.includes('fence-workloads'))).toEqual([])
  })

  test('finished pods are checked wherever the webhook may be asked, and nowhere else', async () => {
    const rendered = await render({ ...SELF_MANAGED, admission: { excludedNamespaces: ['lab'] } })
    const bindings = rendered
      .of('ValidatingAdmissionPolicyBinding')
      .filter(({ metadata }) => metadata.name.includes('-enforced'))
    expect(bindings).toHaveLength(2)
    for (const { spec } of bindings)
      expect(spec.matchResources.namespaceSelector.matchExpressions).toEqual([
        {
          key: 'kubernetes.io/metadata.name',
          operator: 'NotIn',
          values: ['kube-system', 'kube-node-lease', 'kube-public', 'credential-injector', 'lab'],
        },
      ])
  })
})

describe('pods', () => {
  const podsOf = (rendered: any) => [
    ...rendered.of('Deployment').map(({ spec }: any) => spec.template.spec),
    ...rendered.of('Pod').map(({ spec }: any) => spec),
  ]

  test.each<[string, Values]>([
    ['by default', {}],
    ['in self-managed mode', SELF_MANAGED],
    ['in existing mode', EXISTING],
  ])('comply with the restricted level of Pod Security, %s', async (_, values) => {
    const pods = podsOf(await render(values))
    expect(pods).toHaveLength(3)
    for (const { securityContext, containers, volumes = [], automountServiceAccountToken } of pods) {
      expect(securityContext).toEqual({
        runAsNonRoot: true,
        runAsUser: 65532,
        runAsGroup: 65532,
        fsGroup: 65532,
        seccompProfile: { type: 'RuntimeDefault' },
      })
      for (const container of containers)
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          privileged: false,
          capabilities: { drop: ['ALL'] },
        })
      for (const volume of volumes)
        expect(['name', 'secret', 'projected']).toEqual(expect.arrayContaining(Object.keys(volume)))
      expect(automountServiceAccountToken).toBe(false)
    }
  })

  test('have a token where they talk to the API server, and only there', async () => {
    const rendered = await render({})
    for (const account of rendered.of('ServiceAccount'))
      expect(account.automountServiceAccountToken).toBe(false)
    const hasToken = (spec: any) =>
      (spec.volumes ?? []).some(({ projected }: any) =>
        projected?.sources.some(({ serviceAccountToken }: any) => serviceAccountToken),
      )
    expect(hasToken(rendered.one('Deployment', 'credential-injector-webhook').spec.template.spec)).toBe(true)
    expect(hasToken(rendered.one('Deployment', 'credential-injector-controller').spec.template.spec)).toBe(
      true,
    )
    expect(hasToken(rendered.one('Pod').spec)).toBe(false)
  })

  test('of the webhook run with flags that the program understands', async () => {
    const webhook = (await render({})).one('Deployment', 'credential-injector-webhook').spec.template.spec
    expect(readConfig(webhook.containers[0].args)).toMatchObject({
      // The catalogue is the cluster's, by the pod's own service account.
      catalog: undefined,
      kubeconfig: undefined,
      host: '::',
      port: 8443,
      metricsPort: 9090,
      tls: { certFile: '/tls/tls.crt', keyFile: '/tls/tls.key' },
      namespace: 'credential-injector',
      shutdownDelay: 15_000,
      logLevel: 'info',
    })
    expect(webhook.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(45)
  })

  test.each([
    [{}, ['prod-credential-injector-workloads']],
    [{ workloadCheck: { enabled: false } }, []],
  ])(
    'of the controller run with flags that it understands, certificates by their names in the release: %j',
    async (values, checks) => {
      const rendered = await render({ ...SELF_MANAGED, ...values }, { release: 'prod', namespace: 'ns-1' })
      const { args } = rendered.one('Deployment', 'prod-credential-injector-controller').spec.template.spec
        .containers[0]
      const config = readControllerConfig(args.slice(1))
      expect(config).toMatchObject({
        host: '::',
        metricsPort: 9090,
        namespace: 'ns-1',
        leaderElect: true,
        logLevel: 'info',
        rotation: {
          restartWorkloads: true,
          isPaused: false,
          settle: 10_000,
          oneAtATime: false,
          atOnce: 10,
          rolloutLimit: 600_000,
        },
      })
      expect(config.certificates).toMatchObject({
        service: rendered.one('Service').metadata.name,
        servingSecret: 'prod-credential-injector-webhook-tls',
        authoritySecret: 'prod-credential-injector-ca',
        mutatingConfigurations: ['prod-credential-injector', 'prod-credential-injector-policies'],
        validatingConfigurations: checks,
      })
      expect(config.configurations).toEqual({
        policies: 'prod-credential-injector-policies',
        pods: 'prod-credential-injector',
      })
      for (const name of Object.values(config.configurations))
        expect(rendered.one('MutatingWebhookConfiguration', name)).toBeDefined()
      expect(rendered.of('ValidatingWebhookConfiguration').map(({ metadata }: any) => metadata.name)).toEqual(
        checks,
      )
    },
  )

  test('of the webhook see the certificate and its key, and nothing else of the Secret', async () => {
    const tls = (spec: any) => spec.volumes.find(({ name }: any) => name === 'tls').secret
    const pod = async (values: Values) =>
      (await render(values)).one('Deployment', 'credential-injector-webhook').spec.template.spec
    const items = ['tls.crt', 'tls.key'].map((key) => ({ key, path: key }))
    expect(tls(await pod({}))).toEqual({
      secretName: 'credential-injector-webhook-tls',
      defaultMode: 0o440,
      items,
    })
    expect(tls(await pod(EXISTING)).secretName).toBe('own-tls')
  })

  test.each([
    ['384Mi', '268'],
    ['1Gi', '716'],
    ['500M', '333'],
    ['1.5Gi', '1075'],
    [536870912, '358'],
    ['536870912', '358'],
  ])('with a memory limit of %s have a heap of %s MiB', async (memory, heap) => {
    const rendered = await render({ webhook: { resources: { limits: { memory } } } })
    const { env } = rendered.one('Deployment', 'credential-injector-webhook').spec.template.spec.containers[0]
    expect(env).toEqual([{ name: 'NODE_OPTIONS', value: `--max-old-space-size=${heap}` }])
  })

  test('without a memory limit have Node’s own heap', async () => {
    const rendered = await render({ webhook: { resources: { limits: { memory: null } } } })
    const [container] = rendered.one('Deployment', 'credential-injector-webhook').spec.template.spec
      .containers
    expect(container.env).toBeUndefined()
  })

  test.each<[string, Values, string]>([
    ['the tag', { tag: '1.2.3' }, 'ghcr.io/credential-injector/credential-injector:1.2.3'],
    [
      'the digest',
      { digest: `sha256:${'a'.repeat(64)}`, tag: 'x' },
      `ghcr.io/credential-injector/credential-injector@sha256:${'a'.repeat(64)}`,
    ],
    ['the repository', { repository: 'registry.example/ci', tag: '1' }, 'registry.example/ci:1'],
  ])('run the image by %s', async (_, image, expected) => {
    for (const { containers } of podsOf(await render({ image })))
      expect(containers.map((container: any) => container.image)).toEqual([expected])
  })

  test('are replaced one by one, spread, budgeted, and given way to', async () => {
    const rendered = await render({})
    const { spec } = rendered.one('Deployment', 'credential-injector-webhook')
    expect(spec.replicas).toBe(2)
    expect(spec.strategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
    })
    const { selector } = spec
    expect(
      spec.template.spec.topologySpreadConstraints.map((constraint: any) => [
        constraint.topologyKey,
        constraint.whenUnsatisfiable,
        constraint.labelSelector,
      ]),
    ).toEqual([
      ['kubernetes.io/hostname', 'ScheduleAnyway', selector],
      ['topology.kubernetes.io/zone', 'ScheduleAnyway', selector],
    ])
    expect(rendered.one('PodDisruptionBudget').spec).toEqual({
      minAvailable: 1,
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector,
    })
    expect(spec.template.spec.priorityClassName).toBe(rendered.one('PriorityClass').metadata.name)
    const [container] = spec.template.spec.containers
    for (const [probe, path] of [
      ['startupProbe', '/healthz'],
      ['readinessProbe', '/readyz'],
      ['livenessProbe', '/healthz'],
    ] as const)
      expect(container[probe].httpGet).toEqual({ path, port: 'ops' })
  })

  test('may be held to the API server by network policies, which let nothing else out', async () => {
    const apiServer = [{ ipBlock: { cidr: '10.1.2.3/32' } }]
    const rendered = await render({ networkPolicy: { enabled: true, apiServer } })
    for (const name of ['webhook', 'controller']) {
      const { policyTypes, egress } = rendered.one('NetworkPolicy', `credential-injector-${name}`).spec
      expect(policyTypes).toEqual(['Ingress', 'Egress'])
      const ports = [443, 6443].map((port) => ({ port, protocol: 'TCP' }))
      expect(egress).toEqual([{ ports, to: apiServer }])
    }
  })

  test('are selected by what they carry, and by nothing that another component carries', async () => {
    const rendered = await render({ ...EVERY_OPTION })
    const labels = (name: string) => rendered.one('Deployment', name).spec.template.metadata.labels
    const matches = (selector: any, name: string) =>
      Object.entries(selector).every(([key, value]) => labels(name)[key] === value)
    const of = {
      webhook: [
        rendered.one('Service', 'credential-injector-webhook').spec.selector,
        rendered.one('PodDisruptionBudget').spec.selector.matchLabels,
        rendered.one('NetworkPolicy', 'credential-injector-webhook').spec.podSelector.matchLabels,
        rendered.one('Deployment', 'credential-injector-webhook').spec.selector.matchLabels,
      ],
      controller: [
        rendered.one('NetworkPolicy', 'credential-injector-controller').spec.podSelector.matchLabels,
        rendered.one('Deployment', 'credential-injector-controller').spec.selector.matchLabels,
      ],
    }
    for (const [own, selectors] of Object.entries(of))
      for (const selector of selectors)
        expect(
          ['webhook', 'controller'].filter((one) => matches(selector, `credential-injector-${one}`)),
        ).toEqual([own])
    const metrics = rendered.one('Service', 'credential-injector-metrics')
    expect(matches(metrics.spec.selector, 'credential-injector-webhook')).toBe(true)
    expect(matches(metrics.spec.selector, 'credential-injector-controller')).toBe(true)
    expect(metrics.metadata.labels).toMatchObject(rendered.one('ServiceMonitor').spec.selector.matchLabels)
  })
})

describe('the heap', () => {
  const optionsOf = async (webhook: Values) => {
    const { containers } = (await render({ webhook })).one('Deployment', 'credential-injector-webhook').spec
      .template.spec
    return containers[0].env
      ?.filter(({ name }: any) => name === 'NODE_OPTIONS')
      .map(({ value }: any) => value)
  }

  test('has its part of the memory limit, unless somebody says otherwise or there is no limit', async () => {
    expect(await optionsOf({ resources: { limits: { memory: '1Gi' } } })).toEqual([
      '--max-old-space-size=716',
    ])
    const extraEnv = [{ name: 'NODE_OPTIONS', value: '--max-old-space-size=200' }]
    expect(await optionsOf({ extraEnv })).toEqual(['--max-old-space-size=200'])
    expect((await optionsOf({ resources: null })) ?? []).toEqual([])
  })
})

describe('registration', () => {
  const HAS_ANNOTATION =
    'has(object.metadata.annotations) && (size(object.metadata.annotations) <= 1000' +
    " ? object.metadata.annotations.exists(k, k.startsWith('credentials.run.ai/'))" +
    ` : [${KNOWN_ANNOTATIONS.map((key) => `'${key.slice(PREFIX.length)}'`).join(', ')}]` +
    ".exists(k, ('credentials.run.ai/' + k) in object.metadata.annotations))"
  const NO_MIRROR =
    "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)"

  test('of the webhook for pods', async () => {
    const { webhooks, metadata } = (await render({})).one(
      'MutatingWebhookConfiguration',
      'credential-injector',
    )
    expect(metadata.annotations).toEqual({
      'cert-manager.io/inject-ca-from': 'credential-injector/credential-injector-ca',
    })
    expect(webhooks).toEqual([
      {
        name: 'pods.credentials.run.ai',
        admissionReviewVersions: ['v1', 'v1beta1'],
        clientConfig: {
          service: {
            name: 'credential-injector-webhook',
            namespace: 'credential-injector',
            path: '/mutate/pods',
            port: 443,
          },
        },
        rules: [
          {
            apiGroups: [''],
            apiVersions: ['v1'],
            resources: ['pods'],
            operations: ['CREATE'],
            scope: 'Namespaced',
          },
        ],
        matchConditions: [
          { name: 'has-credential-annotation', expression: HAS_ANNOTATION },
          { name: 'is-not-a-mirror-pod', expression: NO_MIRROR },
        ],
        namespaceSelector: {
          matchExpressions: [
            {
              key: 'kubernetes.io/metadata.name',
              operator: 'NotIn',
              values: ['kube-system', 'kube-node-lease', 'kube-public', 'credential-injector'],
            },
          ],
        },
        objectSelector: {},
        failurePolicy: 'Fail',
        matchPolicy: 'Equivalent',
        reinvocationPolicy: 'IfNeeded',
        sideEffects: 'NoneOnDryRun',
        timeoutSeconds: 5,
      },
    ])
  })

  test('of the webhook for policies has nothing that Helm could write over what the controller has', async () => {
    const rendered = await render(EXISTING)
    const configuration = rendered.one('MutatingWebhookConfiguration', 'credential-injector-policies')
    expect(Object.keys(configuration).sort()).toEqual(['apiVersion', 'kind', 'metadata'])
    expect(configuration.metadata).not.toHaveProperty('annotations')
  })

  test('every setting of it is a value', async () => {
    const expression = 'object.metadata.generateName != "x"'
    const admission = {
      failurePolicy: 'Ignore',
      reinvocationPolicy: 'Never',
      timeoutSeconds: 12,
      sideEffects: 'None',
      matchPolicy: 'Exact',
      excludedNamespaces: ['monitoring', 'kube-system'],
      namespaceSelector: {
        matchLabels: { credentials: 'on' },
        matchExpressions: [{ key: 'team', operator: 'Exists' }],
      },
      objectSelector: { matchLabels: { app: 'x' } },
      matchConditions: [{ name: 'mine', expression }],
      annotations: { note: 'mine' },
    }
    const rendered = await render({ ...SELF_MANAGED, admission }, { namespace: 'ns-1' })
    const configuration = rendered.one('MutatingWebhookConfiguration', 'credential-injector')
    const ofPolicies = rendered.one('MutatingWebhookConfiguration', 'credential-injector-policies')
    for (const { metadata } of [configuration, ofPolicies])
      expect(metadata.annotations).toEqual({ note: 'mine' })
    expect(configuration.webhooks[0]).toMatchObject({
      failurePolicy: 'Ignore',
      reinvocationPolicy: 'Never',
      timeoutSeconds: 12,
      sideEffects: 'None',
      matchPolicy: 'Exact',
      namespaceSelector: {
        matchLabels: { credentials: 'on' },
        matchExpressions: [
          {
            key: 'kubernetes.io/metadata.name',
            operator: 'NotIn',
            values: ['kube-system', 'kube-node-lease', 'kube-public', 'ns-1', 'monitoring'],
          },
          { key: 'team', operator: 'Exists' },
        ],
      },
      objectSelector: { matchLabels: { app: 'x' } },
      matchConditions: [
        { name: 'has-credential-annotation' },
        { name: 'is-not-a-mirror-pod' },
        { name: 'mine', expression },
      ],
    })
    const check = rendered.one('ValidatingWebhookConfiguration').webhooks[0]
    expect(check.namespaceSelector).toEqual(configuration.webhooks[0].namespaceSelector)
  })

  test('of the workload check: it warns, so it fails open whatever the policy for pods', async () => {
    const rendered = await render({ workloadCheck: { timeoutSeconds: 3 } })
    const [check] = rendered.one('ValidatingWebhookConfiguration').webhooks
    expect(check).toMatchObject({
      name: 'workloads.credentials.run.ai',
      admissionReviewVersions: ['v1', 'v1beta1'],
      failurePolicy: 'Ignore',
      sideEffects: 'None',
      timeoutSeconds: 3,
      clientConfig: { service: { path: '/check/workloads', port: 443 } },
      rules: [
        { apiGroups: ['apps'], resources: ['deployments', 'statefulsets', 'daemonsets', 'replicasets'] },
        { apiGroups: ['batch'], resources: ['jobs', 'cronjobs'] },
      ],
    })
    for (const rule of check.rules) expect(rule.operations).toEqual(['CREATE', 'UPDATE'])
  })

  test('the caBundle is in the manifests only where nobody else writes it: a rollback would bring back an old one', async () => {
    const bundles = async (values: Values) => {
      const rendered = await render(values)
      return [
        rendered.one('MutatingWebhookConfiguration', 'credential-injector'),
        rendered.one('ValidatingWebhookConfiguration'),
      ].map(({ webhooks }) => webhooks[0].clientConfig.caBundle)
    }
    const base64 = Buffer.from(PEM).toString('base64')
    expect(await bundles({})).toEqual([undefined, undefined])
    expect(await bundles(SELF_MANAGED)).toEqual([undefined, undefined])
    expect(await bundles(EXISTING)).toEqual([base64, base64])
    const given = { ...EXISTING.certificates.existing, caBundle: base64 }
    expect(await bundles({ certificates: { mode: 'existing', existing: given } })).toEqual([base64, base64])
  })
})

describe('certificates of cert-manager', () => {
  test('are a chain: self-signed, a CA that keeps its key, a short leaf with a new one', async () => {
    const rendered = await render({}, { release: 'prod', namespace: 'ns-1' })
    const prod = 'prod-credential-injector'
    expect(rendered.one('Issuer', `${prod}-selfsigned`).spec).toEqual({ selfSigned: {} })
    expect(rendered.one('Certificate', `${prod}-ca`).spec).toEqual({
      isCA: true,
      commonName: `${prod}-ca`,
      secretName: `${prod}-ca`,
      duration: '87600h',
      renewBefore: '8760h',
      privateKey: { algorithm: 'ECDSA', size: 256, rotationPolicy: 'Never' },
      usages: ['cert sign', 'crl sign'],
      issuerRef: { group: 'cert-manager.io', kind: 'Issuer', name: `${prod}-selfsigned` },
    })
    expect(rendered.one('Issuer', `${prod}-ca`).spec).toEqual({ ca: { secretName: `${prod}-ca` } })
    expect(rendered.one('Certificate', `${prod}-webhook-tls`).spec).toEqual({
      secretName: `${prod}-webhook-tls`,
      dnsNames: [`${prod}-webhook.ns-1.svc`, `${prod}-webhook.ns-1.svc.cluster.local`],
      duration: '2160h',
      renewBefore: '720h',
      privateKey: { algorithm: 'ECDSA', size: 256, rotationPolicy: 'Always' },
      usages: ['digital signature', 'server auth'],
      issuerRef: { group: 'cert-manager.io', kind: 'Issuer', name: `${prod}-ca` },
    })
    const registrations = ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'].flatMap((kind) =>
      rendered.of(kind),
    )
    expect(registrations).toHaveLength(3)
    for (const { metadata } of registrations)
      expect(metadata.annotations['cert-manager.io/inject-ca-from']).toBe(`ns-1/${prod}-ca`)
  })
})

describe('values that contradict each other are refused with a sentence that says what to do', () => {
  const existing = (values: Values) => ({ certificates: { mode: 'existing', existing: values } })
  const certManager = (values: Values) => ({ certificates: { certManager: values } })
  const budget = (values: Values, replicas = 2) => ({ webhook: { replicas, podDisruptionBudget: values } })

  test.each<[Values, string, Rendering?]>([
    [
      { webhook: { podLabels: { 'app.kubernetes.io/component': 'x' } } },
      'webhook.podLabels sets app.kubernetes.io/component, by which Deployments and the Service find their pods',
    ],
    [
      { commonLabels: { 'app.kubernetes.io/name': 'x' } },
      'commonLabels sets app.kubernetes.io/name, by which Deployments and the Service find their pods: leave it out',
    ],
    [
      {},
      'certificates.mode is certManager, but this cluster has no cert-manager (no API cert-manager.io/v1): install it first, or set certificates.mode to selfManaged.',
      { apis: [] },
    ],
    [
      existing({ caBundle: PEM }),
      'certificates.mode is existing: name the Secret with tls.crt and tls.key in certificates.existing.secretName.',
    ],
    [
      existing({ secretName: 'tls' }),
      'certificates.mode is existing: give the CA that the API server checks the webhook with in certificates.existing.caBundle',
    ],
    [
      existing({ secretName: 'tls', caBundle: 'bm8gUEVN' }),
      'certificates.existing.caBundle is no certificate in PEM',
    ],
    [
      { certificates: { mode: 'selfManaged', existing: { secretName: 'tls' } } },
      'certificates.existing is given, but certificates.mode is selfManaged: set the mode to existing, or leave certificates.existing out.',
    ],
    [
      { certificates: { mode: 'selfManaged', selfManaged: { caValidity: '100d', validity: '30d' } } },
      'certificates.selfManaged.caValidity (100d) must be at least five times validity (30d): a certificate cannot outlive its CA.',
    ],
    [
      { certificates: { mode: 'selfManaged', selfManaged: { validity: '10m' } } },
      'certificates.selfManaged.validity is 10m, too short for pods to take up the next one in time: give it 1h or more.',
    ],
    [
      certManager({ caDuration: '24h', caRenewBefore: '24h' }),
      'caRenewBefore must be shorter than caDuration',
    ],
    [certManager({ duration: '24h', renewBefore: '48h' }), 'renewBefore must be shorter than duration'],
    [certManager({ duration: '87600h' }), 'a certificate cannot outlive its CA'],
    [
      budget({ minAvailable: 1 }, 1),
      'webhook.podDisruptionBudget.minAvailable (1) of webhook.replicas (1) leaves no pod that may go, so no node could be drained: have more replicas, or set webhook.podDisruptionBudget.enabled to false.',
    ],
    [budget({ minAvailable: 3 }, 3), 'minAvailable (3) of webhook.replicas (3) leaves no pod'],
    [budget({ minAvailable: '51%' }), 'minAvailable (51%) of webhook.replicas (2) leaves no pod'],
    [budget({ minAvailable: null }), 'takes either minAvailable or maxUnavailable: set the other to null.'],
    [budget({ maxUnavailable: 1 }), 'takes either minAvailable or maxUnavailable: set the other to null.'],
    [budget({ minAvailable: null, maxUnavailable: 0 }), 'maxUnavailable is 0, so no node could be drained'],
    [
      { webhook: { shutdownDelaySeconds: 31 } },
      'webhook.terminationGracePeriodSeconds (45) must be at least 15 more than webhook.shutdownDelaySeconds (31), or pods are killed while they answer.',
    ],
    [
      { webhook: { port: 9090 } },
      'webhook.port and webhook.metricsPort are both 9090: give them different ports.',
    ],
    [
      { webhook: { resources: { limits: { memory: 'lots' } } } },
      'webhook.resources.limits.memory is "lots": write an amount such as 384Mi or 1Gi.',
    ],
    [
      { controller: { resources: { limits: { memory: '64Mi' } } } },
      'controller.resources.limits.memory is 64Mi, too little for Node to live in: give it 128Mi or more.',
    ],
    [
      { priorityClass: { name: 'system-cluster-critical' } },
      'priorityClass.name names a class that exists already, and priorityClass.create makes one: set create to false, or leave the name out.',
    ],
    [
      { serviceMonitor: { enabled: true } },
      'serviceMonitor.enabled is true, but this cluster has no ServiceMonitor (no API monitoring.coreos.com/v1): install the Prometheus operator first, or leave it out.',
      { apis: ['cert-manager.io/v1'] },
    ],
    [
      { prometheusRule: { enabled: true } },
      'prometheusRule.enabled is true, but this cluster has no PrometheusRule',
      { apis: ['cert-manager.io/v1'] },
    ],
    [
      { admission: { failurePolicy: 'Fails' } },
      "at '/admission/failurePolicy': value must be one of 'Fail', 'Ignore'",
    ],
    [{ webhooks: {} }, "additional properties 'webhooks' not allowed"],
  ])('%j', async (values, sentence, rendering = { apis: ALL_APIS }) => {
    expect((await refusal(values, rendering)).replaceAll('\n', ' ')).toContain(sentence)
  })

  test.each<[string, Values]>([
    ['one replica without a budget', budget({ enabled: false }, 1)],
    ['half of the pods', budget({ minAvailable: '50%' })],
    ['one pod at a time', budget({ minAvailable: null, maxUnavailable: 1 })],
    ['a class of the cluster', { priorityClass: { create: false, name: 'system-cluster-critical' } }],
  ])('but %s is fine', async (_, values) => {
    expect((await render(values)).of('Deployment')).toHaveLength(2)
  })
})

describe('notes', () => {
  const notes = async (values: Values, namespace = 'credential-injector') => {
    const args = [
      'install',
      'credential-injector',
      CHART,
      '--namespace',
      namespace,
      '--dry-run=client',
      '--values',
      '-',
    ]
    return (await helm(args, values)).split('NOTES:\n')[1] as string
  }

  test('tell the next step, with commands', async () => {
    const text = await notes(SELF_MANAGED)
    for (const command of [
      'kubectl -n credential-injector rollout status deployment/credential-injector-webhook',
      'helm test credential-injector -n credential-injector',
      'kubectl label namespace credential-injector pod-security.kubernetes.io/enforce=restricted',
      'kubectl delete mutatingwebhookconfiguration credential-injector credential-injector-policies\n',
      'kubectl delete validatingadmissionpolicybinding credential-injector-enforced credential-injector-enforced-cluster\n',
    ])
      expect(text).toContain(command)
    expect(text).not.toContain('NOTE:')
  })

  test.each<[Values, string, string?]>([
    [{ webhook: { replicas: 1, podDisruptionBudget: { enabled: false } } }, 'There is one webhook pod only'],
    [
      { admission: { failurePolicy: 'Ignore' } },
      'no webhook pod answers, annotated pods are refused if they lack what they ask for',
    ],
    [
      { admission: { failurePolicy: 'Ignore' }, guards: { notInjected: { enabled: false } } },
      'no webhook pod answers, annotated pods start without their credentials',
    ],
    [
      { guards: { notInjected: { enabled: true } } },
      'guard-injected credential-injector-guard-injected-own credential-injector-guard-injected-cluster',
    ],
    [{ crds: { enabled: false } }, 'must be in the cluster already'],
    [{}, 'Give it a namespace of its own', 'kube-system'],
  ])('tell what follows from %j', async (values, sentence, namespace) => {
    expect((await notes({ ...SELF_MANAGED, ...values }, namespace)).replaceAll('\n', ' ')).toContain(sentence)
  })
})
