import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Policy } from '../../../src/api/catalog.ts'
import type { LabelSelector } from '../../../src/api/schema.ts'
import { matchesSelector } from '../../../src/api/selector.ts'
import {
  canBeChecked,
  enforcedBy,
  labelsOf,
  MOST_ENFORCED_BY,
} from '../../../src/controller/policies/enforced-by.ts'
import type { CredentialObject } from '../../../src/controller/watched/credentials.ts'
import type { NamespaceFacts } from '../../../src/controller/watched/index.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'

const OWN = 'credential-injector'
const EXCLUDED = new Set(['kube-system', 'kube-public', 'kube-node-lease', OWN])
const SPEC = { secretRef: { name: 's' }, type: 'environment' as const }

const policy = (
  name: string,
  credentials: string[],
  namespaceSelector: LabelSelector = {},
  more = {},
): Policy => ({
  name,
  spec: { namespaceSelector, credentials, enforcement: 'Enforce', ...more },
})

const credential = (name: string, namespace?: string): CredentialObject => ({
  kind: namespace === undefined ? 'ClusterCredential' : 'Credential',
  metadata: { name, namespace },
  spec: SPEC,
})

function facts(namespaces: Record<string, Record<string, string>>, homes: Record<string, string[]> = {}) {
  return (policies: Policy[]) => ({
    policies,
    excluded: EXCLUDED,
    namespace: (name: string): NamespaceFacts | undefined => {
      const labels = namespaces[name]
      return labels && { name, labels, isEnding: false }
    },
    namespacesWith: (name: string) => homes[name] ?? [],
  })
}

const not = (...names: string[]) => ({
  key: 'kubernetes.io/metadata.name',
  operator: 'NotIn',
  values: [...EXCLUDED, ...names],
})

test('a Credential is enforced by policies that name it and hold in its namespace', () => {
  const world = facts({ a: { team: 'ml' }, b: {} })([
    policy('all', ['x'], {}, { podSelector: { matchLabels: { gpu: 'yes' } } }),
    policy('cluster', ['cluster/x']),
    policy('ml', ['y', 'x'], { matchLabels: { team: 'ml' } }),
    policy('other', ['y']),
  ])
  const all = {
    policy: 'all',
    namespaceSelector: { matchExpressions: [not()] },
    podSelector: { matchLabels: { gpu: 'yes' } },
  }
  const ml = { policy: 'ml', namespaceSelector: { matchLabels: { team: 'ml' }, matchExpressions: [not()] } }
  expect(enforcedBy(credential('x', 'a'), world)).toEqual([all, ml])
  expect(enforcedBy(credential('x', 'b'), world)).toEqual([all])
  expect(enforcedBy(credential('x', OWN), world)).toBeUndefined()
  expect(enforcedBy(credential('x', 'gone'), world)).toBeUndefined()
})

test('a ClusterCredential is enforced where no Credential of its name is meant', () => {
  const world = facts({ a: { team: 'ml' }, b: {}, c: { team: 'ml' } }, { x: ['c', 'a', 'b'] })
  expect(enforcedBy(credential('x'), world([policy('p', ['x'], { matchLabels: { team: 'ml' } })]))).toEqual([
    { policy: 'p', namespaceSelector: { matchLabels: { team: 'ml' }, matchExpressions: [not('a', 'c')] } },
  ])
  // It is named as what it is: nothing is before it.
  expect(enforcedBy(credential('x'), world([policy('p', ['x', 'cluster/x'])]))).toEqual([
    { policy: 'p', namespaceSelector: { matchExpressions: [not()] } },
  ])
})

test('where too many namespaces have their own, the entry is left out', () => {
  const names = Array.from({ length: 64 * 64 }, (_, index) => `n-${index}`)
  const world = facts(Object.fromEntries(names.map((name) => [name, {}])), { x: names })
  expect(enforcedBy(credential('x'), world([policy('p', ['x'])]))).toBeUndefined()
  const fewer = facts(Object.fromEntries(names.map((name) => [name, {}])), { x: names.slice(0, 4000) })
  expect(enforcedBy(credential('x'), fewer([policy('p', ['x'])]))).toHaveLength(1)
})

test('a policy whose selector has no room for what is left out is not listed, and that is known', () => {
  const expressions = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ key: `k-${index}`, operator: 'DoesNotExist' as const }))
  for (const [count, isListed] of [
    [63, true],
    [64, false],
  ] as const) {
    const its = policy('p', ['x'], { matchExpressions: expressions(count) })
    expect(enforcedBy(credential('x', 'a'), facts({ a: {} })([its])) !== undefined).toBe(isListed)
    expect(canBeChecked(its, EXCLUDED)).toBe(isListed)
  }
})

test('a status has an end', () => {
  const policies = Array.from({ length: 70 }, (_, index) => policy(`p-${index}`, ['x']))
  expect(enforcedBy(credential('x', 'a'), facts({ a: {} })(policies))).toHaveLength(MOST_ENFORCED_BY)
})

/** The store decides whom a policy means; what is published must say the same for every namespace and credential. */
test('says in every world what the webhook’s own catalogue says', () => {
  const labels = fc.record({ team: fc.constantFrom('ml', 'web') }, { requiredKeys: [] })
  const namespace = fc.record({ labels, own: fc.subarray(['x', 'y']) })
  const selector = fc.constantFrom<LabelSelector>(
    {},
    { matchLabels: { team: 'ml' } },
    { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['ml'] }] },
  )
  const policies = fc.array(
    fc.tuple(fc.subarray(['x', 'y', 'cluster/x', 'cluster/y'], { minLength: 1 }), selector),
    { maxLength: 4 },
  )
  let enforced = 0
  fc.assert(
    fc.property(fc.array(namespace, { minLength: 1, maxLength: 4 }), policies, (spaces, given) => {
      const names = spaces.map((_, index) => (index === 3 ? 'kube-system' : `n-${index}`))
      const all = given.map(([credentials, its], index) => policy(`p-${index}`, credentials, its))
      const store = createMemoryStore({ ownerNamespace: OWN })
      const homes: Record<string, string[]> = { x: [], y: [] }
      for (const [index, space] of spaces.entries()) {
        const name = names[index] as string
        store.put({ kind: 'Namespace', name, labels: space.labels as Record<string, string> })
        for (const own of space.own) {
          homes[own]?.push(name)
          store.put({ kind: 'Credential', namespace: name, name: own, spec: SPEC })
        }
      }
      for (const name of ['x', 'y'])
        store.put({ kind: 'ClusterCredential', name, spec: { ...SPEC, namespaceSelector: {} } })
      for (const { name, spec } of all) store.put({ kind: 'CredentialPolicy', name, spec })
      const labelled = Object.fromEntries(
        spaces.map((space, index) => [names[index], space.labels as Record<string, string>]),
      )
      const world = facts(labelled, homes)(all)

      for (const name of names) {
        const place = world.namespace(name) as NamespaceFacts
        const view = store.view(name)
        const meant = new Set(
          view.policies.flatMap((one) =>
            one.spec.credentials.map((written) => {
              const found = written.startsWith('cluster/')
                ? view.clusterCredential(written.slice('cluster/'.length))
                : (view.credential(written) ?? view.clusterCredential(written))
              return `${one.name} ${found && 'kind' in found ? `${found.kind}/${found.name}` : ''}`
            }),
          ),
        )
        const published = new Set(
          [credential('x'), credential('y'), credential('x', name), credential('y', name)]
            .filter(
              ({ kind, metadata }) => kind === 'ClusterCredential' || homes[metadata.name]?.includes(name),
            )
            .flatMap((object) =>
              (enforcedBy(object, world) ?? [])
                .filter(({ namespaceSelector = {} }) => matchesSelector(namespaceSelector, labelsOf(place)))
                .map((entry) => `${entry.policy} ${object.kind}/${object.metadata.name}`),
            ),
        )
        expect(published).toEqual(meant)
        enforced += published.size
      }
    }),
    { numRuns: 500 },
  )
  expect(enforced).toBeGreaterThan(500)
})
