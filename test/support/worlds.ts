/**
 * Random catalogues and pods for the property tests. Names are few, so that things meet; every value says where it
 * comes from, so that an effect tells its source.
 */
import fc from 'fast-check'
import { createMemoryStore, type MemoryStore } from '../../src/store/memory.ts'
import type { CatalogObject } from '../../src/store/objects.ts'
import type {
  ContainerObject,
  EnvEntry,
  EnvFromEntry,
  MountObject,
  NamespaceContent,
  PodObject,
  Values,
  VolumeObject,
} from './kubelet.ts'

export const NAMESPACE = 'team-a'

export interface Spec {
  secretRef: { name: string }
  type: 'environment' | 'file' | 'dockerRegistry'
  variables?: { name: string; key?: string; value?: string }[]
  mountPath?: string
  files?: { key: string; path?: string; mode?: string }[]
  mode?: string
  namespaceSelector?: { matchLabels?: Record<string, string> }
}

interface PolicyWorld {
  name: string
  credentials: string[]
  enforcement: 'Enforce' | 'Default'
  selects: boolean
}

/** A namespace, its catalogue, and a pod that is about to be created there. */
export interface World {
  credentials: Record<string, Spec>
  clusterCredentials: Record<string, Spec>
  policies: PolicyWorld[]
  /** Secrets of the namespace and ConfigMaps, with values; copies of the cluster's secrets included. */
  content: NamespaceContent
  pod: PodObject
}

const pick = <T>(...values: T[]) => fc.constantFrom(...values)
const maybe = <T>(arbitrary: fc.Arbitrary<T>, freq = 2) => fc.option(arbitrary, { nil: undefined, freq })
const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
const list = <T>(arbitrary: fc.Arbitrary<T>, maxLength: number) => fc.array(arbitrary, { maxLength })

// ---- Catalogue -------------------------------------------------------------------------------------------------------

const variable = pick('A', 'B', 'C', 'D')
const key = pick('A', 'B', 'C', 'id_rsa', 'x.y')
const secretName = pick('s1', 's2', 's3')
const plain = pick('plain', '5$', '$(A)', '/creds/f', '/creds', '')
const mode = pick('0400', '0440', '0644')
const folder = pick('/creds', '/creds/', '/creds/d', '/root/.ssh', '/other//x')

const variables = fc.uniqueArray(
  fc.oneof(
    fc.record({ name: variable }),
    fc.record({ name: variable, key }),
    fc.record({ name: variable, value: plain }),
  ),
  { minLength: 1, maxLength: 3, selector: ({ name }) => name },
)

const files = fc
  .uniqueArray(fc.record({ key, path: maybe(pick('f', 'g', 'd', 'd/f', 'd/g')), mode: maybe(mode) }), {
    minLength: 1,
    maxLength: 3,
    selector: (file) => file.path ?? file.key,
  })
  .filter((all) => !all.some(({ path }) => path === 'd' && all.some((other) => other.path?.startsWith('d/'))))

const spec: fc.Arbitrary<Spec> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('environment' as const),
      secretRef: fc.record({ name: secretName }),
      variables: maybe(variables),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('file' as const),
      secretRef: fc.record({ name: secretName }),
      mountPath: folder,
      files: maybe(files),
      mode: maybe(mode, 1),
      variables: maybe(variables, 1),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('dockerRegistry' as const),
      secretRef: fc.record({ name: secretName }),
    }),
  },
)

const clusterSpec: fc.Arbitrary<Spec> = fc
  .tuple(spec, maybe(pick({}, {}, { matchLabels: { team: 'ml' } }, { matchLabels: { team: 'other' } }), 4))
  .map(([own, namespaceSelector]) => ({ ...own, namespaceSelector }))

const policy = fc.record({
  name: pick('p1', 'p2', 'p3'),
  credentials: fc.array(pick('c1', 'c1', 'c2', 'c2', 'c3', 'k1', 'cluster/k1', 'gone'), {
    minLength: 1,
    maxLength: 2,
  }),
  enforcement: pick('Enforce' as const, 'Default' as const),
  selects: fc.boolean(),
})

const keysOfSecret = maybe(fc.uniqueArray(key, { minLength: 1, maxLength: 4 }), 8)

/** Whether the namespace `team-a`, with its label `team: ml`, is one of those that the credential is offered to. */
export function isOffered({ namespaceSelector }: Spec): boolean {
  return namespaceSelector !== undefined && (namespaceSelector.matchLabels?.team ?? 'ml') === 'ml'
}

// ---- Pod -------------------------------------------------------------------------------------------------------------

const anySecret = pick('s1', 's1', 's2', 's3', 'own', 'credential-k1', 'none')
const optional = maybe(fc.boolean(), 1)

const envEntry: fc.Arbitrary<EnvEntry> = fc.oneof(
  fc.record({
    name: variable,
    value: pick<string | undefined | null>('own', '', undefined, null, '5$$', '$$(A)', 'plain', '$(A)-$(B)'),
  }),
  fc.record({
    name: variable,
    valueFrom: fc.record({ secretKeyRef: fc.record({ name: anySecret, key, optional }) }),
  }),
  fc.record({
    name: variable,
    valueFrom: fc.record({ configMapKeyRef: fc.record({ name: fc.constant('m1'), key, optional }) }),
  }),
  fc.record({
    name: pick('A', 'OTHER'),
    valueFrom: fc.constant({ fieldRef: { fieldPath: 'metadata.name' } }),
  }),
  fc.record({
    name: pick('B', 'OTHER'),
    valueFrom: fc.constant({ fileKeyRef: { volumeName: 'v1', path: 'e', key: 'K' } }),
  }),
)

const envFromEntry: fc.Arbitrary<EnvFromEntry> = fc.oneof(
  fc.record({ secretRef: fc.record({ name: anySecret, optional }), prefix: maybe(pick('', 'P_'), 1) }),
  fc.record({
    configMapRef: fc.record({ name: pick('m1', 'm2'), optional }),
    prefix: maybe(pick('', 'P_'), 1),
  }),
)

const mountPath = pick(
  '/creds',
  '/creds/',
  '/creds/f',
  '/creds/d',
  '/creds/d/f',
  '/creds/..data',
  '/creds/..data/f',
  '/creds/cache',
  '/root',
  '/root/.ssh/',
  '/work',
  '/',
)

const mount: fc.Arbitrary<MountObject> = fc.record({
  name: pick('v1', 'v2', 'v3'),
  mountPath,
  readOnly: maybe(fc.boolean()),
  subPath: maybe(pick('', 'f'), 1),
})

const securityContext = maybe(
  fc.record({ runAsUser: maybe(pick<number | null>(0, 1000, null)), runAsNonRoot: maybe(fc.boolean()) }),
  1,
)
const orNull = <T>(arbitrary: fc.Arbitrary<T[]>) =>
  fc.oneof({ weight: 4, arbitrary }, fc.constant(null), fc.constant(undefined))
const future = maybe(fc.jsonValue({ maxDepth: 1 }), 1)

const container: fc.Arbitrary<Omit<ContainerObject, 'name'>> = fc.record({
  image: fc.constant('train'),
  env: orNull(list(envEntry, 4)),
  envFrom: orNull(list(envFromEntry, 3)),
  volumeMounts: orNull(fc.uniqueArray(mount, { maxLength: 2, selector: (item) => item.mountPath })),
  securityContext,
  futureContainer: future,
})

const NAMES = ['main', 'side', 'init', 'proxy']

const annotationItem = pick(
  ...['c1', 'c1', 'c1', 'c2', 'c2', 'c2', 'c3', 'c3', 'k1', 'cluster/k1'],
  ...['c1=/moved', 'c2=/creds/d/', 'c3=/moved', 'gone', 'Bad_Name', ''],
)

const annotations = fc
  .record({
    inject: maybe(
      fc
        .tuple(fc.array(annotationItem, { minLength: 1, maxLength: 3 }), pick(',', ' ,\n'))
        .map(([items, by]) => items.join(by)),
      6,
    ),
    'on-conflict': maybe(pick('WorkloadWins', 'Reject', 'CredentialWins', 'CredentialWins')),
    containers: rarely(pick('main', '', 'main', 'nobody')),
    'skip-containers': rarely(pick('main', 'init')),
    'opt-out': rarely(pick('true', 'false', 'true', 'maybe')),
    injected: rarely(pick('Credential/c1', 'x')),
    unknown: rarely(fc.constant('x')),
  })
  .map((values) =>
    Object.fromEntries(
      Object.entries(values).flatMap(([name, value]) =>
        value === undefined ? [] : [[`credentials.run.ai/${name}`, value]],
      ),
    ),
  )

const volume = (name: string): fc.Arbitrary<VolumeObject> =>
  fc
    .oneof<fc.Arbitrary<Partial<VolumeObject>>[]>(
      fc.constant({ emptyDir: {} }),
      fc.record({ secret: fc.record({ secretName: pick('s1', 'own'), defaultMode: maybe(pick(0o400)) }) }),
      fc.constant({ configMap: { name: 'm1' } }),
      fc.constant({ projected: { sources: [{ secret: { name: 's1' } }, { configMap: { name: 'm1' } }] } }),
    )
    .map((source) => ({ name, ...source }))

const pod: fc.Arbitrary<PodObject> = fc
  .record({
    metadata: fc.record({
      name: fc.constant('train'),
      labels: maybe(pick({ workload: 'training' }, { workload: 'serving' })),
      annotations: fc.oneof({ weight: 8, arbitrary: annotations }, fc.constant(null), fc.constant(undefined)),
      futureMeta: future,
    }),
    containers: fc.array(container, { minLength: 1, maxLength: 2 }),
    initContainers: orNull(list(container, 2)),
    volumes: fc.tuple(volume('v1'), volume('v2'), volume('v3')),
    imagePullSecrets: orNull(list(pick({ name: 's1' }, { name: 'mine' }), 2)),
    securityContext: maybe(
      fc.record({
        runAsUser: maybe(pick(0, 1000), 1),
        runAsNonRoot: maybe(fc.boolean(), 1),
        fsGroup: maybe(pick<number | null>(200, null), 2),
      }),
    ),
    os: maybe(pick({ name: 'linux' }, { name: 'windows' }), 1),
    futureSpec: future,
  })
  .map(({ metadata, ...podSpec }) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata,
    spec: {
      ...podSpec,
      containers: podSpec.containers.map((item, index) => ({ ...item, name: NAMES[index] as string })),
      initContainers:
        podSpec.initContainers?.map((item, index) => ({ ...item, name: NAMES[index + 2] as string })) ??
        podSpec.initContainers,
    },
  }))
  .map((made) => JSON.parse(JSON.stringify(made)) as PodObject)

// ---- World -----------------------------------------------------------------------------------------------------------

export const world: fc.Arbitrary<World> = fc
  .record({
    c1: spec,
    c2: maybe(spec, 4),
    c3: maybe(spec, 4),
    k1: maybe(clusterSpec, 4),
    policies: fc.uniqueArray(policy, { maxLength: 2, selector: ({ name }) => name }),
    secrets: fc.record({
      s1: keysOfSecret,
      s2: keysOfSecret,
      s3: keysOfSecret,
      own: keysOfSecret,
      shared: keysOfSecret,
    }),
    m1: fc.uniqueArray(key, { maxLength: 3 }),
    pod,
    careless: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
  })
  .map(({ c1, c2, c3, k1, policies, secrets, m1, pod, careless }) => {
    const credentials = defined({ c1, c2, c3 })
    // All cluster credentials read one secret of the platform's; the namespace gets its copy.
    const clusterCredentials = defined({ k1: k1 && { ...k1, secretRef: { name: 'shared' } } })
    const { shared, ...own } = secrets
    const copies = k1 && isOffered(k1) ? { 'credential-k1': shared } : {}
    const offered = { ...(k1 && isOffered(k1) && { k1, 'cluster/k1': k1 }), ...credentials }
    if (!careless) askOnlyForWhatExists(pod, policies, offered)
    return {
      credentials,
      clusterCredentials,
      policies,
      content: { secrets: withValues({ ...own, ...copies }), configMaps: withValues({ m1, m2: ['A', 'D'] }) },
      pod,
    }
  })

/** Most pods name what there is; without this nearly all would be denied for a name. */
function askOnlyForWhatExists(pod: PodObject, policies: PolicyWorld[], offered: Record<string, Spec>): void {
  const annotations = pod.metadata?.annotations
  const names = annotations?.['credentials.run.ai/inject']
  if (annotations && names !== undefined) {
    const items = names.split(/[,\n]/).map((item) => item.trim().split('='))
    const good = items.filter(
      ([name = '', path]) => offered[name] && (!path || offered[name].type === 'file'),
    )
    annotations['credentials.run.ai/inject'] = good.map((parts) => parts.join('=')).join(', ')
  }
  for (const policy of policies) {
    const good = policy.credentials.filter((name) => offered[name])
    policy.credentials = good.length > 0 ? good : ['c1']
  }
}

function defined<T>(record: Record<string, T | undefined>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(record).filter((entry): entry is [string, T] => entry[1] !== undefined),
  )
}

function withValues(objects: Record<string, string[] | undefined>): Record<string, Values> {
  return Object.fromEntries(
    Object.entries(defined(objects)).map(([name, keys]) => [
      name,
      Object.fromEntries(keys.map((key) => [key, `secret value of ${name} ${key}`])),
    ]),
  )
}

/** The catalogue of a world, in the store that the product uses. */
export function storeOf({ credentials, clusterCredentials, policies, content }: World): MemoryStore {
  const store = createMemoryStore()
  const put = (object: unknown) => store.put(JSON.parse(JSON.stringify(object)) as CatalogObject)
  put({ kind: 'Namespace', name: NAMESPACE, labels: { team: 'ml' } })
  for (const [name, spec] of Object.entries(credentials))
    put({ kind: 'Credential', namespace: NAMESPACE, name, spec })
  for (const [name, spec] of Object.entries(clusterCredentials))
    put({ kind: 'ClusterCredential', name, spec })
  for (const { name, credentials, enforcement, selects } of policies) {
    const podSelector = selects ? undefined : { matchLabels: { workload: 'training' } }
    put({
      kind: 'CredentialPolicy',
      name,
      spec: { namespaceSelector: {}, podSelector, credentials, enforcement },
    })
  }
  for (const [name, values] of Object.entries(content.secrets)) {
    const isCopy = name === 'credential-k1'
    const place = isCopy
      ? { namespace: 'credential-injector', name: 'shared' }
      : { namespace: NAMESPACE, name }
    put({ kind: 'Secret', ...place, type: 'Opaque', keys: Object.keys(values) })
  }
  return store
}
