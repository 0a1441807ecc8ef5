/** In whatever order the index hears of the world, it knows what can be worked out from the world itself, at every moment. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isStale } from '../../../src/controller/usage/freshness.ts'
import { createUsageIndex, type Usage, type UsageIndex } from '../../../src/controller/usage/usage-index.ts'
import { type CredentialObject, keyOf } from '../../../src/controller/watched/credentials.ts'
import { type OwnerReference, workloadOf } from '../../../src/controller/watched/owners.ts'
import type { PodFacts, SecretUse } from '../../../src/controller/watched/pods.ts'
import { clusterCredential, credential, owner, pod, ROTATED, seconds } from './objects.ts'

const NAMESPACES = ['team-a', 'team-b'] as const
/** Few, so that they meet. */
const CREDENTIALS = ['one', 'two']
const SECRETS = ['secret', 'credential-shared', 'credential-hidden']
const SHARED = ['shared', 'hidden']

/** The world as it is, changed step by step. */
interface World {
  readonly credentials: Map<string, CredentialObject>
  readonly pods: Map<string, PodFacts>
  /** Owners of ReplicaSets, by `NAMESPACE/NAME`. */
  readonly owners: Map<string, OwnerReference>
  /** `CREDENTIAL in NAMESPACE` */
  readonly offers: Set<string>
  readonly copies: Map<string, number>
}

const status = fc.option(fc.constantFrom({ revision: 'new' }, { revision: 'new', lastRotated: ROTATED }), {
  nil: undefined,
})
const aCredential = fc.oneof(
  fc
    .record({
      name: fc.constantFrom(...CREDENTIALS),
      namespace: fc.constantFrom(...NAMESPACES),
      secret: fc.constantFrom(...SECRETS),
      status,
    })
    .map(({ name, namespace, secret, status: its }) => {
      const made = credential(name, secret, its)
      return { ...made, metadata: { ...made.metadata, namespace } }
    }),
  fc
    .record({ name: fc.constantFrom(...SHARED), status })
    .map(({ name, status: its }) => clusterCredential(name, its)),
)
const aUse: fc.Arbitrary<SecretUse> = fc.record({
  secret: fc.constantFrom(...SECRETS),
  as: fc.constantFrom('variables', 'files', 'login'),
  since: fc.option(fc.constantFrom(seconds(-10), seconds(10), seconds(60)), { nil: undefined }),
})
const aRecord = fc.record({
  kind: fc.constantFrom('Credential', 'ClusterCredential'),
  name: fc.constantFrom(...CREDENTIALS, ...SHARED),
  revision: fc.constantFrom('old', 'new', undefined),
})
const aPod: fc.Arbitrary<PodFacts> = fc
  .record({
    name: fc.constantFrom('p', 'q', 'r'),
    namespace: fc.constantFrom(...NAMESPACES),
    owner: fc.constantFrom(
      undefined,
      owner('ReplicaSet', 'rs-1'),
      owner('ReplicaSet', 'rs-2'),
      owner('StatefulSet', 's'),
    ),
    isOver: fc.boolean(),
    isEnding: fc.boolean(),
    createdAt: fc.constantFrom(seconds(-100), seconds(30)),
    injected: fc.array(aRecord, { maxLength: 2 }),
    uses: fc.uniqueArray(aUse, { maxLength: 3, selector: ({ as, secret }) => `${as} ${secret}` }),
  })
  .map(({ name, ...some }) => pod(name, some))

/** Something that happens to the world, and that the index hears of. */
type Step = (world: World, index: UsageIndex) => void
const placeOf = ({ namespace, name }: PodFacts) => `${namespace}/${name}`

const aStep: fc.Arbitrary<Step> = fc.oneof(
  aCredential.map(
    (it): Step =>
      (world, index) => {
        world.credentials.set(keyOf(it), it)
        index.putCredential(it)
      },
  ),
  aCredential.map(
    (it): Step =>
      (world, index) => {
        world.credentials.delete(keyOf(it))
        index.removeCredential(keyOf(it))
      },
  ),
  aPod.map(
    (it): Step =>
      (world, index) => {
        world.pods.set(placeOf(it), it)
        index.putPod(it)
      },
  ),
  aPod.map(
    (it): Step =>
      (world, index) => {
        world.pods.delete(placeOf(it))
        index.removePod(it)
      },
  ),
  fc.tuple(fc.constantFrom('team-a/rs-1', 'team-b/rs-2'), fc.constantFrom('d-1', 'd-2', undefined)).map(
    ([key, deployment]): Step =>
      (world, index) => {
        if (deployment) world.owners.set(key, owner('Deployment', deployment))
        else world.owners.delete(key)
        index.ownerChanged(`ReplicaSet/${key}`)
      },
  ),
  fc.tuple(fc.constantFrom(...SHARED), fc.constantFrom(...NAMESPACES), fc.boolean()).map(
    ([name, namespace, isOffered]): Step =>
      (world, index) => {
        if (isOffered) world.offers.add(`${name} in ${namespace}`)
        else world.offers.delete(`${name} in ${namespace}`)
        index.namespaceChanged(namespace)
      },
  ),
  fc
    .tuple(
      fc.constantFrom('team-a/credential-shared', 'team-b/credential-hidden'),
      fc.constantFrom(seconds(5), seconds(40)),
    )
    .map(
      ([key, time]): Step =>
        (world, index) => {
          world.copies.set(key, time)
          index.secretChanged(key)
        },
    ),
)

test('in every order of events', () => {
  fc.assert(
    fc.property(fc.array(aStep, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
      const world: World = {
        credentials: new Map(),
        pods: new Map(),
        owners: new Map(),
        offers: new Set(),
        copies: new Map(),
      }
      const known = new Map<string, Usage>()
      const told = new Set<string>()
      const surroundings = {
        workloadOf: (its: PodFacts) => workloadOf(its, (_, key) => world.owners.get(key)),
        isOffered: ({ metadata }: CredentialObject, namespace: string) =>
          world.offers.has(`${metadata.name} in ${namespace}`),
        copiedAt: (key: string) => world.copies.get(key),
      }
      const index = createUsageIndex({ ...surroundings, onChange: (key) => void told.add(key) })
      for (const step of steps) {
        told.clear()
        step(world, index)
        for (const key of known.keys()) if (!world.credentials.has(key)) known.delete(key)
        for (const key of world.credentials.keys()) {
          const now = worked(key)
          expect(index.usageOf(key)).toEqual(now)
          // Whoever heeds what is told knows everything.
          if (!told.has(key) && known.has(key)) expect(known.get(key)).toEqual(now)
          known.set(key, now)
        }
        for (const its of world.pods.values())
          expect(index.missedBy(its).map(keyOf).sort()).toEqual(missed(its))
      }

      // ---- The same in the plainest way: every question is put to everything ----

      function isThrough(its: PodFacts, { kind, metadata, spec }: CredentialObject, secret: string): boolean {
        if (kind === 'Credential')
          return metadata.namespace === its.namespace && spec.secretRef.name === secret
        return (
          `credential-${metadata.name}` === secret && world.offers.has(`${metadata.name} in ${its.namespace}`)
        )
      }

      /** Whether the pod uses it, and whether by hand. */
      function useOf(its: PodFacts, of: CredentialObject): 'recorded' | 'by hand' | undefined {
        const isRecorded = (each: CredentialObject) =>
          its.injected.some(({ kind, name }) => kind === each.kind && name === each.metadata.name)
        const secrets = its.uses.map(({ secret }) => secret).filter((secret) => isThrough(its, of, secret))
        if (secrets.length === 0 || its.isOver) return undefined
        if (isRecorded(of)) return 'recorded'
        const rivals = [...world.credentials.values()].filter((each) =>
          isThrough(its, each, secrets[0] as string),
        )
        return rivals.some(isRecorded) ? undefined : 'by hand'
      }

      function isMissed(its: PodFacts, of: CredentialObject): boolean {
        if (its.isEnding || useOf(its, of) === undefined) return false
        return its.uses.some(
          (use) =>
            isThrough(its, of, use.secret) &&
            isStale(use, its, of, world.copies.get(`${its.namespace}/${use.secret}`)),
        )
      }

      function missed(its: PodFacts): string[] {
        const all = [...world.credentials.values()].filter((each) => isMissed(its, each))
        return all.map(keyOf).sort()
      }

      function worked(key: string): Usage {
        const of = world.credentials.get(key) as CredentialObject
        const users = [...world.pods.values()].filter((its) => useOf(its, of) !== undefined)
        const handmade = users.filter((its) => useOf(its, of) === 'by hand')
        const nameOf = (its: PodFacts) => {
          const { kind, name } = surroundings.workloadOf(its) ?? { kind: 'Pod', name: its.name }
          return `${of.kind === 'ClusterCredential' ? `${its.namespace}/` : ''}${kind}/${name}`
        }
        const subjectOf = ({ namespace, name, uid }: PodFacts) => ({
          apiVersion: 'v1',
          kind: 'Pod',
          ...{ namespace, name, uid },
        })
        const namesByHand = new Set(handmade.map(nameOf))
        const stale = users.filter((its) => isMissed(its, of))
        const subjects = new Map(
          stale.map((its) => [nameOf(its), surroundings.workloadOf(its) ?? subjectOf(its)] as const),
        )
        return {
          pods: users.length,
          byHand: handmade.length,
          workloads: new Set(users.filter(surroundings.workloadOf).map(nameOf)).size,
          names: [...new Set(users.map(nameOf))]
            .sort()
            .map((name) => (namesByHand.has(name) ? `${name} (by hand)` : name)),
          stale: {
            pods: stale.length,
            users: [...subjects.keys()].sort().map((name) => ({ name, subject: subjects.get(name) as any })),
          },
        }
      }
    }),
    { numRuns: 300, ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }) },
  )
})
