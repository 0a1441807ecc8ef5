/**
 * What a thief can do with the controller's token. Its account here has every right on the kinds that the controller writes, more
 * than the chart gives it, so that whatever is refused is refused by the fences.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { entriesFor } from '../../src/controller/policies/entries.ts'
import { createKubeClient, type KubeClient, KubeError, type KubeObject } from '../../src/kube/client.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import { sharedCluster } from './kit/shared.ts'
import { installAdmissionPolicies } from './support/admission-policies.ts'
import {
  apply,
  collection,
  ensureNamespace,
  ensureServiceAccount,
  type Manifest,
  remove,
} from './support/objects.ts'

const cluster = sharedCluster()
const { client: admin } = cluster
const OWN = 'fenced'
const TEAM = 'fenced-team'
const NAME = 'fence-test'
const CONTROLLER = `${NAME}-controller`
const MUTATING = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'

let uninstall: () => Promise<unknown>
/** Whoever has the controller's token. */
let thief: KubeClient
/** Another account with the same rights. */
let other: KubeClient

/** Of ClusterCredentials that exist: what has no other owner than one that does not is collected as garbage. */
const uids = new Map<string, string>()
const OWNERS = ['fence-both', 'fence-labelled', 'fence-owned', 'fence-new'].map((name) => ({
  apiVersion: 'run.ai/v1',
  kind: 'ClusterCredential',
  metadata: { name },
  spec: { type: 'environment', secretRef: { name: 'source' } },
}))

beforeAll(async () => {
  await installCrds(admin)
  for (const manifest of OWNERS) {
    const { metadata } = await apply<KubeObject>(admin, manifest)
    uids.set(metadata.name, String(metadata.uid))
  }
  for (const namespace of [OWN, TEAM]) await ensureNamespace(admin, namespace)
  for (const account of [CONTROLLER, 'somebody']) await ensureServiceAccount(admin, OWN, account)
  await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(EVERYTHING))
  thief = await clientOf(CONTROLLER)
  other = await clientOf('somebody')
  uninstall = await installAdmissionPolicies(cluster, OWN, `${NAME}-fence-`, {
    fullnameOverride: NAME,
    certificates: { mode: 'selfManaged' },
  })
  for (const object of objects())
    await admin.create(collection(object.kind, object.metadata.namespace), object)
  await eventually('the fences stand', async () => {
    const probes = await Promise.all([
      refusal(thief.create(`${collection('Secret', TEAM)}?dryRun=All`, secret('probe'))),
      refusal(patch('Deployment', { metadata: { labels: { probe: 'x' } } }, '?dryRun=All')),
      refusal(thief.create(`/api/v1/namespaces/${TEAM}/events?dryRun=All`, event('probe', 'somebody'))),
      refusal(thief.create(`${MUTATING}?dryRun=All`, configuration('probe'))),
    ])
    return probes.every((message) => message.includes('ValidatingAdmissionPolicy'))
  })
})
afterAll(async () => {
  await uninstall?.()
  for (const manifest of OWNERS) await remove(admin, manifest)
  await cluster.kubectl(['delete', '--ignore-not-found', 'clusterrole,clusterrolebinding', NAME])
  await cluster.kubectl([
    'delete',
    '--ignore-not-found',
    'mutatingwebhookconfiguration',
    NAME,
    `${NAME}-policies`,
    'fence-stranger',
  ])
  await cluster.kubectl(['delete', '--ignore-not-found', 'namespace', OWN, TEAM, '--wait=false'])
  for (const client of [thief, other]) client?.close()
})

// ---- Secrets ---------------------------------------------------------------------------------------------------------

describe('Secrets', () => {
  const COPIES_ONLY = 'may write copies of ClusterCredentials only'
  const NO_COPY = 'may change and delete copies of ClusterCredentials only'

  test.each<[string, object, string]>([
    ['of any other name', secret('wandb-secret-2'), COPIES_ONLY],
    ['without anything that says copy', secret('credential-x'), COPIES_ONLY],
    ['without the label', copy('x', { labels: {} }), COPIES_ONLY],
    ['with another label', copy('x', { labels: { 'credentials.run.ai/copy': 'yes' } }), COPIES_ONLY],
    ['without the annotation', copy('x', { annotations: {} }), COPIES_ONLY],
    ['as a copy of another', copy('x', { annotations: { 'credentials.run.ai/copy-of': 'y' } }), COPIES_ONLY],
    [
      'as a copy that says of nothing',
      copy('x', { annotations: { 'credentials.run.ai/copy-of': '' } }),
      COPIES_ONLY,
    ],
    ['without an owner', copy('x', { ownerReferences: [] }), COPIES_ONLY],
    ['with another owner', copy('x', { ownerReferences: [owner('y')] }), COPIES_ONLY],
    [
      'with an owner of another kind',
      copy('x', { ownerReferences: [{ ...owner('x'), kind: 'Credential' }] }),
      COPIES_ONLY,
    ],
    [
      'with an owner of another group',
      copy('x', { ownerReferences: [{ ...owner('x'), apiVersion: 'v1' }] }),
      COPIES_ONLY,
    ],
    [
      'under a name that is made up by the server',
      copy('x', { name: undefined, generateName: 'credential-' }),
      COPIES_ONLY,
    ],
    [
      'that Kubernetes fills with a token of another account',
      {
        ...copy('x', {
          annotations: { 'credentials.run.ai/copy-of': 'x', 'kubernetes.io/service-account.name': 'default' },
        }),
        type: 'kubernetes.io/service-account-token',
      },
      'may not write Secrets of type kubernetes.io/service-account-token',
    ],
  ])('are not created %s', async (_, body, message) => {
    expect(await refusal(thief.create(collection('Secret', TEAM), body))).toContain(message)
  })

  test('are created as copies, and the name does not matter to others', async () => {
    await thief.create(collection('Secret', TEAM), copy('fence-new'))
    await thief.delete(`${collection('Secret', TEAM)}/credential-fence-new`)
    await other.create(collection('Secret', TEAM), secret('anything'))
  })

  test('of the own namespace: the key of the revision hash, once and for all', async () => {
    const name = 'credential-injector-revision-key'
    const path = `${collection('Secret', OWN)}/${name}`
    await thief.create(collection('Secret', OWN), secret(name))
    expect(await refusal(thief.patch(path, MERGE, CONTENT))).toContain(NO_COPY)
    expect(await refusal(thief.delete(path))).toContain(NO_COPY)
  })

  test.each([
    ['the CA', `${NAME}-ca`],
    ['the certificate', `${NAME}-webhook-tls`],
  ])('of the own namespace: %s', async (_, name) => {
    const path = `${collection('Secret', OWN)}/${name}`
    await thief.create(collection('Secret', OWN), secret(name))
    await thief.patch(path, MERGE, { stringData: { key: 'other' } })
    expect(await refusal(thief.delete(path))).toContain(NO_COPY)
    expect(await refusal(thief.create(collection('Secret', TEAM), secret(name)))).toContain(COPIES_ONLY)
  })

  test('of the own namespace: nothing else, so that no source is touched', async () => {
    expect(await refusal(thief.create(collection('Secret', OWN), secret('backdoor')))).toContain(COPIES_ONLY)
    expect(await refusal(thief.patch(`${collection('Secret', OWN)}/source`, MERGE, CONTENT))).toContain(
      NO_COPY,
    )
    expect(await refusal(thief.delete(`${collection('Secret', OWN)}/source`))).toContain(NO_COPY)
    const token = {
      ...secret('credential-injector-revision-key-2', {
        annotations: { 'kubernetes.io/service-account.name': CONTROLLER },
      }),
      type: 'kubernetes.io/service-account-token',
    }
    expect(await refusal(thief.create(collection('Secret', OWN), token))).toContain(COPIES_ONLY)
  })

  test.each(['wandb-secret', 'credential-mine'])(
    'of somebody else are neither changed nor deleted: %s',
    async (name) => {
      const path = `${collection('Secret', TEAM)}/${name}`
      expect(await refusal(thief.patch(path, MERGE, CONTENT))).toContain(NO_COPY)
      expect(await refusal(thief.delete(path))).toContain(NO_COPY)
      const whole = await admin.get<Manifest>(path)
      expect(await refusal(thief.replace(path, { ...whole, stringData: { key: 'other' } }))).toContain(
        NO_COPY,
      )
      const { name: _, ...claim } = copy(name.replace('credential-', '')).metadata as Manifest['metadata']
      expect(await refusal(thief.patch(path, MERGE, { metadata: claim }))).toContain(NO_COPY)
      await admin.get(path)
    },
  )

  test('are not deleted as a collection either', async () => {
    expect(await refusal(thief.delete(collection('Secret', TEAM)))).toContain(NO_COPY)
    await admin.get(`${collection('Secret', TEAM)}/wandb-secret`)
  })

  test.each(['credential-fence-both', 'credential-fence-labelled', 'credential-fence-owned'])(
    'that are copies are set right, kept as copies, and deleted: %s',
    async (name) => {
      const path = `${collection('Secret', TEAM)}/${name}`
      const right = copy(name.replace('credential-', ''))
      const { metadata } = await thief.patch<Manifest>(path, MERGE, { metadata: right.metadata, ...CONTENT })
      expect(await refusal(thief.patch(path, MERGE, { metadata: { labels: null } }))).toContain(COPIES_ONLY)
      expect(await refusal(thief.patch(path, MERGE, { metadata: { ownerReferences: null } }))).toContain(
        COPIES_ONLY,
      )
      await thief.replace(path, {
        ...right,
        metadata: { ...right.metadata, resourceVersion: metadata.resourceVersion },
      })
      await thief.delete(path)
    },
  )

  test('of other accounts are their own business', async () => {
    await other.patch(`${collection('Secret', TEAM)}/wandb-secret`, MERGE, CONTENT)
  })
})

// ---- Workloads -------------------------------------------------------------------------------------------------------

describe.each(['Deployment', 'StatefulSet', 'DaemonSet'])('%s', (kind) => {
  const ONE_ANNOTATION =
    'may change nothing of a workload but the annotation credentials.run.ai/restarted-for'
  const template = (change: object) => ({ spec: { template: change } })
  const container = (change: object) => ({ name: 'main', image: 'none', ...change })

  test('restarted: the one annotation appears, changes and goes', async () => {
    for (const value of ['Credential/wandb@1', 'Credential/wandb@2', null]) {
      const change = template({ metadata: { annotations: { 'credentials.run.ai/restarted-for': value } } })
      const stored = await patch<any>(kind, change)
      expect(stored.spec.template.metadata.annotations?.['credentials.run.ai/restarted-for'] ?? null).toBe(
        value,
      )
    }
  })

  test('restarted by a JSON patch and by a whole object', async () => {
    const path = `${collection(kind, TEAM)}/web`
    await thief.patch(path, 'application/json-patch+json', [
      {
        op: 'add',
        path: '/spec/template/metadata/annotations/credentials.run.ai~1restarted-for',
        value: 'a',
      },
    ])
    // Its own controller writes its status meanwhile.
    await eventually('nobody was faster', async () => {
      const whole = await admin.get<any>(path)
      whole.spec.template.metadata.annotations['credentials.run.ai/restarted-for'] = 'b'
      return thief.replace(path, whole).catch((error) => {
        if (error.reason !== 'Conflict') throw error
      })
    })
  })

  test.each<[string, object]>([
    ['another annotation of the template', template({ metadata: { annotations: { other: 'x' } } })],
    [
      'another one, along with the one',
      template({ metadata: { annotations: { other: 'x', 'credentials.run.ai/restarted-for': 'c' } } }),
    ],
    ['an annotation of the template goes', template({ metadata: { annotations: { kept: null } } })],
    ['what is injected', template({ metadata: { annotations: { 'credentials.run.ai/inject': 'admin' } } })],
    ['a label of the template', template({ metadata: { labels: { more: 'x' } } })],
    ['the image', template({ spec: { containers: [container({ image: 'evil' })] } })],
    ['the command', template({ spec: { containers: [container({ command: ['sh'] })] } })],
    [
      'one more container',
      template({ spec: { containers: [container({}), { name: 'more', image: 'evil' }] } }),
    ],
    ['the service account', template({ spec: { serviceAccountName: 'admin' } })],
    ['a volume', template({ spec: { volumes: [{ name: 'x', hostPath: { path: '/' } }] } })],
    ['a label', { metadata: { labels: { more: 'x' } } }],
    ['an annotation', { metadata: { annotations: { 'credentials.run.ai/restarted-for': 'x' } } }],
    ['the owner', { metadata: { ownerReferences: [owner('x')] } }],
    ['a finalizer', { metadata: { finalizers: ['test.run.ai/never'] } }],
    ['how many revisions are kept', { spec: { revisionHistoryLimit: 0 } }],
    ...(kind === 'DaemonSet'
      ? []
      : [['the number of replicas', { spec: { replicas: 9 } }] as [string, object]]),
  ])('unchanged: %s', async (_, change) => {
    expect(await refusal(patch(kind, change))).toContain(ONE_ANNOTATION)
  })

  test('neither created nor deleted', async () => {
    const what = 'may restart workloads, and neither create nor delete them'
    expect(await refusal(thief.delete(`${collection(kind, TEAM)}/web`))).toContain(what)
    expect(await refusal(thief.create(collection(kind, TEAM), workload(kind, 'mine')))).toContain(what)
  })

  test('of other accounts are their own business', async () => {
    await other.patch(`${collection(kind, TEAM)}/web`, MERGE, { spec: { revisionHistoryLimit: 3 } })
  })
})

// ---- Webhook configurations ------------------------------------------------------------------------------------------

describe('webhook configurations', () => {
  const at = (name: string) => `${MUTATING}/${name}`
  const change = (name: string, webhooks: object[]) => thief.patch(at(name), MERGE, { webhooks })
  const [MAIN, POLICIES] = [NAME, `${NAME}-policies`]

  test('get their CA, and entries for policies', async () => {
    await change(MAIN, [entry({}, { caBundle: CA })])
    await change(POLICIES, [
      policyEntry('one'),
      policyEntry('two', {}, { caBundle: CA, service: service('/mutate/pods/policies/two') }),
    ])
    await change(POLICIES, [])
    await change(POLICIES, [policyEntry('one')])
  })

  test('get entries that leave out a hundred namespaces more', async () => {
    const values = Array.from({ length: 100 }, (_, index) => `a-${index}`)
    const matchExpressions = [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn' as const, values }]
    const [one] = entriesFor({
      policies: [
        {
          name: 'one',
          spec: {
            namespaceSelector: { matchLabels: { 'fence-test': 'nobody' } },
            credentials: ['a'],
            enforcement: 'Enforce',
          },
          revision: { uid: 'u', generation: 1 },
        },
      ],
      template: entry({ namespaceSelector: { matchExpressions } }),
      present: [],
      bundlesAreOthers: false,
      ownNamespace: OWN,
    })
    await change(POLICIES, [one as object])
  })

  test.each<[string, () => Promise<unknown>, string]>([
    [
      'are sent elsewhere by URL',
      () => change(MAIN, [{ ...entry(), clientConfig: { url: 'https://evil.example/' } }]),
      'may send reviews to the Service',
    ],
    [
      'are sent to another Service',
      () => change(POLICIES, [policyEntry('one', {}, { service: { ...service(), name: 'evil' } })]),
      'may send reviews to the Service',
    ],
    [
      'are sent to another namespace',
      () => change(POLICIES, [policyEntry('one', {}, { service: { ...service(), namespace: TEAM } })]),
      'may send reviews to the Service',
    ],
    [
      'are about more than they were',
      () => change(MAIN, [entry({ namespaceSelector: {} })]),
      'nothing of this webhook configuration but the caBundle',
    ],
    [
      'fail otherwise',
      () => change(MAIN, [entry({ failurePolicy: 'Fail' })]),
      'nothing of this webhook configuration but the caBundle',
    ],
    [
      'go to another path',
      () => change(MAIN, [entry({}, { service: service('/other') })]),
      'nothing of this webhook configuration but the caBundle',
    ],
    ['lose their entries', () => change(MAIN, []), 'nothing of this webhook configuration but the caBundle'],
    [
      'get more of them',
      () => change(MAIN, [entry(), entry({ name: 'more.test.run.ai' })]),
      'nothing of this webhook configuration but the caBundle',
    ],
    [
      'take a CA from elsewhere',
      () =>
        thief.patch(at(POLICIES), MERGE, {
          metadata: { annotations: { 'cert-manager.io/inject-ca-from': 'evil/ca' } },
        }),
      'may not change the labels, annotations and owners',
    ],
    [
      'stop the cluster’s own pods',
      () => change(POLICIES, [policyEntry('one', { namespaceSelector: {} })]),
      'never for the namespaces of the cluster',
    ],
    [
      'hold for Secrets',
      () => change(POLICIES, [policyEntry('one', { rules: [{ ...PODS, resources: ['secrets'] }] })]),
      'for the creation of pods only',
    ],
    [
      'hold for everything',
      () =>
        change(POLICIES, [
          policyEntry('one', { rules: [PODS, { ...PODS, apiGroups: ['*'], resources: ['*'] }] }),
        ]),
      'for the creation of pods only',
    ],
    [
      'hold for updates',
      () =>
        change(POLICIES, [policyEntry('one', { rules: [{ ...PODS, operations: ['CREATE', 'UPDATE'] }] })]),
      'for the creation of pods only',
    ],
    [
      'of somebody else are changed',
      () => thief.patch(at('fence-stranger'), MERGE, { webhooks: [] }),
      'nothing of this webhook configuration but the caBundle',
    ],
    [
      'are created',
      () => thief.create(MUTATING, configuration('mine')),
      'may neither create nor delete webhook configurations',
    ],
    ['are deleted', () => thief.delete(at(MAIN)), 'may neither create nor delete webhook configurations'],
  ])('never: %s', async (_, attempt, message) => {
    expect(await refusal(attempt())).toContain(message)
  })
})

// ---- Events ----------------------------------------------------------------------------------------------------------

describe('events', () => {
  const EVENTS = `/api/v1/namespaces/${TEAM}/events`

  test('are written and counted up', async () => {
    await thief.create(EVENTS, event('mine', 'credential-injector-controller'))
    await thief.patch(`${EVENTS}/mine`, MERGE, { count: 2, lastTimestamp: '2026-11-25T00:00:01Z' })
  })

  test('are not written in the name of others, changed or deleted', async () => {
    const ownName = 'may write events in its own name only'
    expect(await refusal(thief.create(EVENTS, event('forged', 'kubelet')))).toContain(ownName)
    expect(await refusal(thief.patch(`${EVENTS}/mine`, MERGE, { message: 'never mind' }))).toContain(
      'may only count up',
    )
    expect(await refusal(thief.patch(`${EVENTS}/theirs`, MERGE, { count: 9 }))).toContain(ownName)
    expect(await refusal(thief.delete(`${EVENTS}/theirs`))).toContain(ownName)
  })
})

// ---- Objects ---------------------------------------------------------------------------------------------------------

const MERGE = 'application/merge-patch+json'
const CONTENT = { stringData: { key: 'other' } }
const CA = Buffer.from('-----BEGIN CERTIFICATE-----').toString('base64')

const EVERYTHING = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: NAME },
      rules: [
        { apiGroups: [''], resources: ['secrets', 'events'], verbs: ['*'] },
        { apiGroups: ['apps'], resources: ['*'], verbs: ['*'] },
        { apiGroups: ['admissionregistration.k8s.io'], resources: ['*'], verbs: ['*'] },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: NAME },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: NAME },
      subjects: [CONTROLLER, 'somebody'].map((name) => ({ kind: 'ServiceAccount', name, namespace: OWN })),
    },
  ],
}

function secret(name: string, metadata: object = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, ...metadata },
    type: 'Opaque',
    stringData: { key: 'value' },
  }
}

function owner(name: string) {
  return {
    apiVersion: 'run.ai/v1',
    kind: 'ClusterCredential',
    name,
    uid: uids.get(name) ?? '00000000-0000-0000-0000-000000000001',
  }
}

/** As the controller makes it, with parts replaced. */
function copy(name: string, metadata: object = {}) {
  return secret(`credential-${name}`, {
    labels: { 'credentials.run.ai/copy': 'true' },
    annotations: { 'credentials.run.ai/copy-of': name },
    ownerReferences: [owner(name)],
    ...metadata,
  })
}

function workload(kind: string, name: string) {
  const labels = { app: name }
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: TEAM, labels, annotations: { kept: 'x' } },
    spec: {
      ...(kind !== 'DaemonSet' && { replicas: 0 }),
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { kept: 'x' } },
        spec: { containers: [{ name: 'main', image: 'none', env: [{ name: 'A', value: '1' }] }] },
      },
    },
  }
}

function event(name: string, component: string) {
  return {
    metadata: { name, namespace: TEAM },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: TEAM, name: 'web' },
    type: 'Warning',
    reason: 'Test',
    message: 'a test',
    source: { component },
    reportingComponent: component,
    reportingInstance: 'one',
    count: 1,
  }
}

const PODS = {
  apiGroups: [''],
  apiVersions: ['v1'],
  resources: ['pods'],
  operations: ['CREATE'],
  scope: 'Namespaced',
}
const service = (path = '/mutate/pods') => ({ namespace: OWN, name: `${NAME}-webhook`, path, port: 443 })

/** Of no pod of any other test. */
function entry(parts: object = {}, clientConfig: object = {}) {
  return {
    name: 'pods.test.run.ai',
    admissionReviewVersions: ['v1'],
    clientConfig: { service: service(), ...clientConfig },
    rules: [PODS],
    namespaceSelector: { matchLabels: { 'fence-test': 'nobody' } },
    objectSelector: {},
    sideEffects: 'None',
    failurePolicy: 'Ignore',
    matchPolicy: 'Equivalent',
    reinvocationPolicy: 'Never',
    timeoutSeconds: 5,
    ...parts,
  }
}

function policyEntry(name: string, parts: object = {}, clientConfig: object = {}) {
  return entry(
    {
      name: `${name}.policies.test.run.ai`,
      namespaceSelector: {
        matchLabels: { 'fence-test': 'nobody' },
        matchExpressions: [
          {
            key: 'kubernetes.io/metadata.name',
            operator: 'NotIn',
            values: ['kube-system', 'kube-node-lease', 'kube-public', OWN],
          },
        ],
      },
      ...parts,
    },
    clientConfig,
  )
}

function configuration(name: string, webhooks: object[] = [entry()]) {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name },
    webhooks,
  }
}

const KINDS = ['Deployment', 'StatefulSet', 'DaemonSet']
const objects = (): any[] => [
  secret('source', { namespace: OWN }),
  secret('wandb-secret', { namespace: TEAM }),
  secret('credential-mine', { namespace: TEAM }),
  copy('fence-both', { namespace: TEAM }),
  copy('fence-labelled', { namespace: TEAM, ownerReferences: [], annotations: {} }),
  copy('fence-owned', { namespace: TEAM, labels: {}, annotations: {} }),
  ...KINDS.map((kind) => workload(kind, 'web')),
  { apiVersion: 'v1', kind: 'Event', ...event('theirs', 'kubelet') },
  configuration(NAME),
  configuration(`${NAME}-policies`, []),
  configuration('fence-stranger'),
]

// ---- Helpers ---------------------------------------------------------------------------------------------------------

async function clientOf(account: string): Promise<KubeClient> {
  const token = await cluster.tokenFor(account, OWN)
  return createKubeClient({ server: cluster.url, ca: cluster.caData, token: () => token })
}

function patch<T>(kind: string, change: object, query = ''): Promise<T> {
  return thief.patch<T>(`${collection(kind, TEAM)}/web${query}`, MERGE, change)
}

/** What the API server says when it refuses. */
function refusal(attempt: Promise<unknown>): Promise<string> {
  return attempt.then(
    () => 'it was done',
    (error) =>
      error instanceof KubeError && error.status === 403 ? error.message : `another error: ${error}`,
  )
}
