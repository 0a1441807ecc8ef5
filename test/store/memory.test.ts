import { expect, test } from 'vitest'
import type { NamespaceView } from '../../src/api/catalog.ts'
import type { LabelSelector } from '../../src/api/schema.ts'
import { createMemoryStore, DEFAULT_OWNER_NAMESPACE, excludedNamespaces } from '../../src/store/memory.ts'
import type { CatalogObject } from '../../src/store/objects.ts'

function storeOf(...objects: CatalogObject[]) {
  const store = createMemoryStore()
  for (const object of objects) store.put(object)
  return store
}

function credential(name: string, secret = `${name}-secret`, namespace = 'team'): CatalogObject {
  return { kind: 'Credential', namespace, name, spec: { secretRef: { name: secret }, type: 'environment' } }
}

function clusterCredential(name: string, namespaceSelector?: LabelSelector): CatalogObject {
  const spec = { secretRef: { name: `${name}-source` }, type: 'environment' as const, namespaceSelector }
  return { kind: 'ClusterCredential', name, spec }
}

function secret(name: string, keys: string[], namespace = 'team'): CatalogObject {
  return { kind: 'Secret', namespace, name, type: 'Opaque', keys }
}

function namespace(name: string, labels: Record<string, string>): CatalogObject {
  return { kind: 'Namespace', name, labels }
}

function policy(name: string, namespaceSelector: LabelSelector): CatalogObject {
  return {
    kind: 'CredentialPolicy',
    name,
    spec: { namespaceSelector, credentials: ['a'], enforcement: 'Enforce' },
  }
}

/** All that a view says, in a form that can be compared. */
function contentOf(view: NamespaceView) {
  const found = view.names().map((name) => {
    const [, shared] = /^cluster\/(.*)/.exec(name) ?? []
    return [name, shared === undefined ? view.credential(name) : view.clusterCredential(shared)]
  })
  return structuredClone({ found, policies: view.policies.map(({ name }) => name) })
}

test('a credential is that of its namespace, with the keys of its secret', () => {
  const view = storeOf(credential('a'), secret('a-secret', ['A', 'B'])).view('team')
  expect(view.credential('a')).toEqual({
    kind: 'Credential',
    name: 'a',
    spec: { secretRef: { name: 'a-secret' }, type: 'environment' },
    secretName: 'a-secret',
    keys: ['A', 'B'],
  })
  expect(view.credential('b')).toBeUndefined()
})

test('a credential of another namespace, or a secret there, does not exist', () => {
  const store = storeOf(credential('a'), secret('a-secret', ['A'], 'other'))
  expect(store.view('other').credential('a')).toBeUndefined()
  expect(store.view('team').credential('a')).toMatchObject({
    keys: undefined,
    notReady: 'Secret a-secret does not exist yet',
  })
})

test('a ClusterCredential is offered where its selector matches, by the copy of its secret', () => {
  const store = storeOf(
    clusterCredential('shared', { matchLabels: { team: 'ml' } }),
    secret('shared-source', ['A'], DEFAULT_OWNER_NAMESPACE),
    namespace('team', { team: 'ml' }),
    namespace('other', { team: 'data' }),
  )
  expect(store.view('team').clusterCredential('shared')).toMatchObject({
    kind: 'ClusterCredential',
    secretName: 'credential-shared',
    keys: ['A'],
  })
  expect(store.view('team').credential('shared')).toBeUndefined()
  expect(store.view('team').knownSecret('credential-shared')).toMatchObject({ keys: ['A'] })
  expect(store.view('team').knownSecret('shared-source')).toBeUndefined()
  // Just as if it did not exist.
  expect(contentOf(store.view('other'))).toEqual(contentOf(storeOf().view('other')))
  expect(store.view('other').clusterCredential('shared')).toBeUndefined()
  expect(store.view('other').knownSecret('credential-shared')).toBeUndefined()
})

test.each<[string, LabelSelector | undefined, boolean]>([
  ['no selector: to none', undefined, false],
  ['an empty selector: to all', {}, true],
  ['the name of a namespace is its label', { matchLabels: { 'kubernetes.io/metadata.name': 'team' } }, true],
  ['another name', { matchLabels: { 'kubernetes.io/metadata.name': 'other' } }, false],
])('a ClusterCredential is offered to a namespace without manifest: %s', (_title, selector, expected) => {
  const view = storeOf(clusterCredential('shared', selector)).view('team')
  expect(view.clusterCredential('shared') !== undefined).toBe(expected)
})

test('a manifest cannot give a namespace the name of another', () => {
  const selector = { matchLabels: { 'kubernetes.io/metadata.name': 'other' } }
  const store = storeOf(clusterCredential('shared', selector), namespace('team', selector.matchLabels))
  expect(store.view('team').clusterCredential('shared')).toBeUndefined()
})

test('the secrets of ClusterCredentials are where the store is told', () => {
  const store = createMemoryStore({ ownerNamespace: 'platform' })
  store.put(clusterCredential('shared', {}))
  store.put(secret('shared-source', ['WRONG'], DEFAULT_OWNER_NAMESPACE))
  expect(store.view('team').clusterCredential('shared')).toMatchObject({ keys: undefined })
  store.put(secret('shared-source', ['A'], 'platform'))
  expect(store.view('team').clusterCredential('shared')).toMatchObject({ keys: ['A'] })
})

test('only secrets that a credential names are known', () => {
  const view = storeOf(
    credential('b', 's'),
    credential('a', 's'),
    secret('s', ['A']),
    secret('t', ['B']),
  ).view('team')
  expect(view.knownSecret('s')).toMatchObject({ credential: { name: 'a' }, keys: ['A'] })
  expect(view.knownSecret('t')).toBeUndefined()
})

test('a broken credential says so to whom it is offered, and to anyone who names it where that cannot be read', () => {
  const broken = 'its manifest in a.yaml line 3 is broken: spec.type: Required value'
  const store = storeOf(
    { kind: 'Credential', namespace: 'team', name: 'a', broken },
    { kind: 'ClusterCredential', name: 'b', broken },
    { kind: 'ClusterCredential', name: 'for-ml', broken, namespaceSelector: { matchLabels: { team: 'ml' } } },
    { kind: 'ClusterCredential', name: 'for-nobody', broken, namespaceSelector: null },
    namespace('team', { team: 'ml' }),
    credential('c'),
  )
  expect(store.view('team').credential('a')).toEqual({ broken })
  expect(store.view('other').clusterCredential('b')).toEqual({ broken })
  expect(store.view('team').clusterCredential('for-ml')).toEqual({ broken })
  expect(store.view('other').clusterCredential('for-ml')).toBeUndefined()
  expect(store.view('team').clusterCredential('for-nobody')).toBeUndefined()
  expect(store.view('team').names()).toEqual(['a', 'c', 'cluster/for-ml'])
  expect(store.view('other').names()).toEqual([])
  expect(store.counts()).toEqual({ credentials: 1, clusterCredentials: 0, policies: 0, namespaces: 1 })
  store.put(credential('a'))
  expect(store.view('team').credential('a')).toMatchObject({ name: 'a' })
})

test('policies hold where their selector matches, by name, but never in namespaces of the system', () => {
  const store = storeOf(
    policy('z', {}),
    policy('b', { matchLabels: { team: 'ml' } }),
    policy('a', {}),
    namespace('team', { team: 'ml' }),
  )
  const policiesOf = (name: string) => store.view(name).policies.map((found) => found.name)
  expect(policiesOf('team')).toEqual(['a', 'b', 'z'])
  expect(policiesOf('other')).toEqual(['a', 'z'])
  for (const name of excludedNamespaces(DEFAULT_OWNER_NAMESPACE)) expect(policiesOf(name)).toEqual([])
  expect([...excludedNamespaces('x')]).toEqual(['kube-system', 'kube-node-lease', 'kube-public', 'x'])
})

test('names that every object inherits are not found', () => {
  const view = storeOf(credential('a')).view('constructor')
  expect([
    view.credential('toString'),
    view.clusterCredential('__proto__'),
    view.knownSecret('constructor'),
  ]).toEqual([undefined, undefined, undefined])
})

const CHANGES: [string, CatalogObject][] = [
  ['a credential', credential('added')],
  ['its secret', secret('a-secret', ['A', 'B'])],
  ['labels of the namespace', namespace('team', { team: 'ml', gpu: 'yes' })],
  ['a ClusterCredential', clusterCredential('added', {})],
  ['the secret of a ClusterCredential', secret('shared-source', ['X'], DEFAULT_OWNER_NAMESPACE)],
  ['a policy', policy('added', {})],
  [
    'something broken',
    { kind: 'Credential', namespace: 'team', name: 'added', broken: 'its manifest is broken' },
  ],
]

test.each(CHANGES)(
  'a view is a snapshot, the next one knows the change, and its removal undoes it: %s',
  (_title, change) => {
    const objects = [
      credential('a'),
      clusterCredential('shared', {}),
      clusterCredential('gpu', { matchLabels: { gpu: 'yes' } }),
      policy('p', { matchLabels: { team: 'ml' } }),
    ]
    const store = storeOf(...objects)
    const first = store.view('team')
    const before = contentOf(first)
    expect(store.view('team')).toBe(first)
    store.put(change)
    const changed = contentOf(store.view('team'))
    expect(changed).not.toEqual(before)
    expect(contentOf(first)).toEqual(before)
    // Whoever asks for the first time sees the same as who has asked before.
    expect(contentOf(storeOf(...objects, change).view('team'))).toEqual(changed)
    store.remove(change)
    expect(contentOf(store.view('team'))).toEqual(before)
  },
)

test('a change elsewhere leaves a view as it is', () => {
  const store = storeOf(credential('a'))
  const view = store.view('team')
  store.put(credential('a', 's', 'other'))
  store.put(secret('s', ['A'], 'other'))
  store.put(namespace('other', { team: 'ml' }))
  expect(store.view('team')).toBe(view)
})

test('removing what is not there changes nothing', () => {
  const store = storeOf(credential('a'))
  for (const object of [
    credential('b', 's', 'none'),
    secret('x', []),
    policy('p', {}),
    clusterCredential('c'),
    namespace('n', {}),
  ]) {
    store.remove(object)
  }
  expect(store.view('team').names()).toEqual(['a'])
})
