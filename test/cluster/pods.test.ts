/**
 * What a real API server thinks of injected pods: random pods as in the property tests, patched by the engine, and sent
 * to real defaulting, validation and admission by a server-side dry run.
 */
import fc from 'fast-check'
import { apply_patch as applyPatch } from 'jsonpatch'
import { beforeAll, expect, test } from 'vitest'
import type { Pod } from '../../src/api/pod.ts'
import { inject } from '../../src/inject/index.ts'
import { KubeError } from '../../src/kube/client.ts'
import { excludedNamespaces } from '../../src/store/memory.ts'
import { everyContainer, type PodObject } from '../support/kubelet.ts'
import { whatWasLost } from '../support/preserved.ts'
import { NAMESPACE, storeOf, type World, world } from '../support/worlds.ts'
import { sharedCluster } from './kit/shared.ts'
import { collection, ensureNamespace } from './support/objects.ts'

const PODS = 300
const { client: kube } = sharedCluster()

beforeAll(() => ensureNamespace(kube, NAMESPACE, { team: 'ml' }))

test(`${PODS} random pods: whatever the API server takes, it takes injected, and keeps what it kept before`, async () => {
  const worlds = fc.sample(world, {
    numRuns: PODS,
    ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }),
  })
  const seen = { injected: 0, alone: 0, denied: 0, refused: 0 }
  for (const given of worlds) seen[await check(given)]++
  // The worlds are made so that most pods are ones that get something; if they do not, nothing has been shown.
  expect(seen.injected, JSON.stringify(seen)).toBeGreaterThan(PODS / 4)
  expect(seen.refused, JSON.stringify(seen)).toBe(0)
})

async function check(given: World): Promise<'injected' | 'alone' | 'denied' | 'refused'> {
  const pod = sendable(given.pod)
  const before = await created(pod)
  if (before instanceof KubeError) return 'refused'
  const outcome = inject({
    pod: before as Pod,
    view: storeOf(given).view(NAMESPACE),
    excludedNamespaces: excludedNamespaces('credential-injector'),
    now: 0,
  })
  if (outcome.kind !== 'Injected') return outcome.kind === 'Denied' ? 'denied' : 'alone'
  const wanted = applyPatch(structuredClone(before), outcome.patch) as PodObject
  const after = await created(fresh(wanted))
  if (after instanceof KubeError) throw new Error(`${after.message}\n${JSON.stringify(outcome.patch)}`)
  const replaces = pod.metadata?.annotations?.['credentials.run.ai/on-conflict'] === 'CredentialWins'
  expect(whatWasLost(comparable(before), comparable(after), () => replaces)).toEqual([])
  const again = inject({
    pod: after as Pod,
    view: storeOf(given).view(NAMESPACE),
    excludedNamespaces: excludedNamespaces('credential-injector'),
    now: 0,
  })
  expect(again).toMatchObject({ kind: 'LeftAlone', credentials: outcome.credentials })
  return 'injected'
}

async function created(pod: PodObject): Promise<PodObject | KubeError> {
  try {
    return await kube.create<PodObject>(`${collection('Pod', NAMESPACE)}?dryRun=All`, pod)
  } catch (error) {
    if (error instanceof KubeError && error.status >= 400 && error.status < 500) return error
    throw error
  }
}

/** Without fields that are not in today's API: real servers prune them, and the properties have them for tomorrow's. */
function sendable(pod: PodObject): PodObject {
  const copy = structuredClone(pod)
  delete copy.metadata?.futureMeta
  delete copy.spec.futureSpec
  for (const container of everyContainer(copy)) {
    delete container.futureContainer
    // The model does not mind, but servers want an emptyDir there.
    for (const { valueFrom } of container.env ?? [])
      if (valueFrom?.fileKeyRef) valueFrom.fileKeyRef.volumeName = 'files'
  }
  copy.spec.volumes = [...(copy.spec.volumes ?? []), { name: 'files', emptyDir: {} }]
  return copy
}

/** As a client would send it: without what the server made for the first one. */
function fresh(pod: PodObject): PodObject {
  const copy = structuredClone(pod)
  for (const field of ['uid', 'resourceVersion', 'creationTimestamp', 'managedFields'])
    delete (copy.metadata as Record<string, unknown>)[field]
  delete copy.status
  return copy
}

/** Without what differs between two creations of one pod. */
function comparable(pod: PodObject): PodObject {
  const copy = fresh(pod)
  delete (copy.metadata as Record<string, unknown>).generation
  return copy
}
