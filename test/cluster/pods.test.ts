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
import type { PodObject } from '../support/kubelet.ts'
import { whatWasLost } from '../support/preserved.ts'
import { NAMESPACE, storeOf, type World, world } from '../support/worlds.ts'
import { sharedCluster } from './kit/shared.ts'
import { ensureNamespace } from './support/objects.ts'
import { fresh, sendable, tryPod } from './support/pods.ts'

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

const created = (pod: PodObject) => tryPod(kube, NAMESPACE, pod)

/** Without what differs between two creations of one pod. */
function comparable(pod: PodObject): PodObject {
  const copy = fresh(pod)
  delete (copy.metadata as Record<string, unknown>).generation
  return copy
}
