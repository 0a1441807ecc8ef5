/**
 * The check of finished pods and the engine agree: random namespaces, policies and pods go through the engine, and what it lets
 * through is never refused; what somebody takes away afterwards is.
 */
import fc from 'fast-check'
import { apply_patch as applyPatch } from 'jsonpatch'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Pod } from '../../src/api/pod.ts'
import { inject } from '../../src/inject/index.ts'
import { KubeError } from '../../src/kube/client.ts'
import { excludedNamespaces } from '../../src/store/memory.ts'
import type { PodObject } from '../support/kubelet.ts'
import { isOffered, NAMESPACE, type Spec, storeOf, type World, world } from '../support/worlds.ts'
import { installCrds } from './install-crds.ts'
import { sharedCluster } from './kit/shared.ts'
import { type Check, type EnforcedBy, installCheck } from './support/enforcement.ts'
import { ensureNamespace, type Manifest, remove } from './support/objects.ts'
import { sendable, tryPod } from './support/pods.ts'

const WORLDS = 150
const SEED = Number(process.env.FC_SEED ?? Date.now() % 2 ** 31)

const cluster = sharedCluster()
const { client: kube } = cluster

interface Given {
  readonly number: number
  readonly namespace: string
  readonly world: World
  /** As the engine leaves it, with the world's cluster credential under its own name in this cluster. */
  readonly pod: PodObject
}

let check: Check
let given: Given[]

beforeAll(async () => {
  await installCrds(kube)
  check = await installCheck(cluster, 'worlds')
  given = worlds()
  for (const each of given) await put(each)
  await check.whenSeen()
})
afterAll(async () => {
  await check?.remove()
  for (const { credential } of given?.flatMap(credentialsOf) ?? []) await remove(kube, credential)
})

test(`of ${WORLDS} random pods that the engine gives enforced credentials to, none is refused`, async () => {
  const seen = { taken: 0, invalid: 0 }
  for (const { namespace, pod, world: it } of given) {
    const answer = await tryPod(kube, namespace, pod)
    if (!(answer instanceof KubeError)) seen.taken++
    else if (answer.status === 422) seen.invalid++
    else
      expect(
        `${answer.message}\n${JSON.stringify({ seed: SEED, policies: it.policies, credentials: it.credentials, cluster: it.clusterCredentials, pod })}`,
      ).toBe('taken')
  }
  expect(seen.taken, JSON.stringify(seen)).toBeGreaterThan(WORLDS * 0.8)
})

test('without what they were given they are refused', async () => {
  let refused = 0
  for (const { namespace, pod, world: it } of given) {
    const bare = await tryPod(kube, namespace, sendable({ ...it.pod, metadata: pod.metadata }))
    if (bare instanceof KubeError && bare.message.includes('ValidatingAdmissionPolicy')) refused++
  }
  expect(refused).toBeGreaterThan(WORLDS * 0.7)
})

// ---- Worlds ----------------------------------------------------------------------------------------------------------

/** Worlds in which an enforced policy holds for the pod, and the engine lets it through. */
function worlds(): Given[] {
  const made: Given[] = []
  for (let seed = SEED; made.length < WORLDS; seed++)
    for (const each of fc.sample(world, { numRuns: 200, seed })) {
      const pod = injected(each)
      if (!pod || made.length === WORLDS || !each.policies.some((policy) => enforces(policy, pod))) continue
      const number = made.length
      made.push({ number, namespace: `world-${number}`, world: each, pod: renamed(pod, number) })
    }
  return made
}

function enforces({ enforcement, selects }: World['policies'][number], pod: PodObject): boolean {
  return enforcement === 'Enforce' && (selects || pod.metadata?.labels?.workload === 'training')
}

function injected(each: World): PodObject | undefined {
  const pod = sendable(each.pod)
  const outcome = inject({
    pod: pod as Pod,
    view: storeOf(each).view(NAMESPACE),
    excludedNamespaces: excludedNamespaces('credential-injector'),
    now: 0,
  })
  if (outcome.kind === 'Denied') return undefined
  return outcome.kind === 'Injected' ? (applyPatch(structuredClone(pod), outcome.patch) as PodObject) : pod
}

/** Cluster credentials of all worlds are in one cluster. */
function renamed<T>(value: T, number: number): T {
  return JSON.parse(JSON.stringify(value).replaceAll(/\bk1\b/g, `k${number}x`))
}

async function put(each: Given): Promise<void> {
  await ensureNamespace(kube, each.namespace, { team: 'ml' })
  for (const { credential, status } of credentialsOf(each)) await check.put(credential, status)
}

function credentialsOf({ number, namespace, world: it }: Given) {
  const { credentials, clusterCredentials, policies, content } = it
  const keys = (secret: string) => content.secrets[secret] && { keys: Object.keys(content.secrets[secret]) }
  const own = Object.entries(credentials).map(([name, spec]) => ({
    credential: manifest('Credential', { name, namespace }, spec),
    status: { ...keys(spec.secretRef.name), enforcedBy: enforcedBy(policies, [name]) },
  }))
  const shared = Object.entries(clusterCredentials)
    .filter(([, spec]) => isOffered(spec))
    .map(([name, spec]) => ({
      credential: manifest('ClusterCredential', { name: renamed(name, number) }, spec),
      status: {
        ...keys(`credential-${name}`),
        enforcedBy: enforcedBy(policies, [`cluster/${name}`, ...(credentials[name] ? [] : [name])]).map(
          (entry) => ({
            ...entry,
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
          }),
        ),
      },
    }))
  return [...own, ...shared]
}

const manifest = (kind: string, metadata: Manifest['metadata'], spec: Spec): Manifest => ({
  apiVersion: 'run.ai/v1',
  kind,
  metadata,
  spec: JSON.parse(JSON.stringify(spec)),
})

function enforcedBy(policies: World['policies'], names: string[]): EnforcedBy[] {
  return policies
    .filter(
      ({ enforcement, credentials }) =>
        enforcement === 'Enforce' && credentials.some((name) => names.includes(name)),
    )
    .map(({ name, selects }) => ({
      policy: name,
      namespaceSelector: {},
      ...(!selects && { podSelector: { matchLabels: { workload: 'training' } } }),
    }))
}
