/** Manifests of the three kinds that are right, or wrong in one or a few places: as people and programs get them wrong. */
import fc from 'fast-check'

/** Texts at the edges of what some field takes. */
const TEXTS = [
  '',
  'a',
  'A',
  'a-b.c',
  '-',
  '..',
  '../a',
  './a',
  '/',
  '//a',
  '/a/../b',
  '/proc',
  '/var/run/secrets/kubernetes.io/x',
  '/root/.ssh/',
  'C:\\keys',
  'c:/',
  'a:b',
  'a b',
  'ä',
  '\u2028',
  '\n',
  '"',
  'cluster/a',
  'a/b',
  'a/b/c',
  '0400',
  '400',
  '0999',
  '00400',
  '2027-01-01T00:00:00Z',
  '2027-13-01T00:00:00Z',
  '2027-01-01',
  'environment',
  'file',
  'dockerRegistry',
  'Never',
  'Automatic',
  'Enforce',
  'Default',
  'Fail',
  'In',
  'Exists',
  'wandb',
  'x'.repeat(63),
  'x'.repeat(64),
  'x'.repeat(254),
]

const text = fc.constantFrom(...TEXTS)
const odd = fc.constantFrom<unknown>(null, 5, -1, 1.5, true, [], {}, [null], ['a'], { a: 'b' }, [{}], [[]])
/** Mostly a text; now and then something of another type. */
const value = fc.oneof({ arbitrary: text, weight: 6 }, { arbitrary: odd, weight: 1 })

const some = (fields: Record<string, fc.Arbitrary<unknown>>) => fc.record(fields, { requiredKeys: [] })
const list = (item: fc.Arbitrary<unknown>) =>
  fc.oneof({ arbitrary: fc.array(item, { maxLength: 3 }), weight: 8 }, { arbitrary: odd, weight: 1 })
const rarely = (usual: fc.Arbitrary<unknown>, rare = value) =>
  fc.oneof({ arbitrary: usual, weight: 5 }, { arbitrary: rare, weight: 1 })

const selector = rarely(
  some({
    matchLabels: rarely(fc.dictionary(text, value, { maxKeys: 3 })),
    matchExpressions: list(
      some({
        key: rarely(fc.constant('team')),
        operator: rarely(fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist')),
        values: list(text),
      }),
    ),
  }),
)

const credentialFields = {
  secretRef: rarely(some({ name: rarely(fc.constant('secret')), namespace: fc.constant('a') })),
  type: rarely(fc.constantFrom('environment', 'file', 'dockerRegistry')),
  description: value,
  service: rarely(fc.constantFrom('wandb', 'generic')),
  variables: list(some({ name: rarely(fc.constantFrom('A', 'B')), key: value, value })),
  mountPath: value,
  files: list(some({ key: rarely(fc.constantFrom('a', 'b')), path: value, mode: value })),
  mode: value,
  registry: value,
  // No lists: an API server takes them for a time, by a fault of its own.
  expiresAt: fc.oneof(
    { arbitrary: text, weight: 6 },
    { arbitrary: fc.constantFrom(5, 1.5, true, null), weight: 1 },
  ),
  rotation: rarely(some({ restart: rarely(fc.constantFrom('Never', 'Automatic')), a: value })),
  allowedServiceAccounts: list(value),
}

/** A few fields at a time: with all of them nothing would ever be right. */
function few(fields: Record<string, fc.Arbitrary<unknown>>, always: Record<string, fc.Arbitrary<unknown>>) {
  return fc
    .subarray(Object.keys(fields), { maxLength: 3 })
    .chain((names) =>
      fc.record({ ...always, ...Object.fromEntries(names.map((name) => [name, fields[name] as never])) }),
    )
}

const USUAL = {
  secretRef: fc.constant({ name: 'secret' }),
  type: fc.constantFrom('environment', 'file', 'dockerRegistry'),
}
const POLICY = {
  namespaceSelector: fc.constant({}),
  credentials: fc.constant(['a']),
  enforcement: fc.constant('Enforce'),
}

const manifest = (kind: string, spec: fc.Arbitrary<object>) =>
  fc.record({
    apiVersion: fc.constant('run.ai/v1'),
    kind: fc.constant(kind),
    metadata: fc.constant({ name: 'any' }),
    spec,
  })

export const manifests = fc.oneof(
  manifest('Credential', few(credentialFields, USUAL)),
  manifest('ClusterCredential', few({ ...credentialFields, namespaceSelector: selector }, USUAL)),
  manifest(
    'CredentialPolicy',
    few(
      {
        namespaceSelector: selector,
        podSelector: selector,
        credentials: list(value),
        enforcement: value,
        failurePolicy: value,
        a: value,
      },
      POLICY,
    ),
  ),
)
