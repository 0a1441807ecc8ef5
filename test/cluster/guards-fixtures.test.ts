/**
 * What the webhook lets through, the guards let through: the pods of all cases of fixtures/inject as they must be after injection,
 * and random ones, past all guards and without a webhook. The same pods as they are before are refused.
 */
import fc from 'fast-check'
import { apply_patch as applyPatch } from 'jsonpatch'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import type { Pod } from '../../src/api/pod.ts'
import { inject } from '../../src/inject/index.ts'
import { readManifests } from '../../src/store/manifests.ts'
import { excludedNamespaces } from '../../src/store/memory.ts'
import { type Case, caseNames, golden, loadCase } from '../support/fixtures.ts'
import type { PodObject } from '../support/kubelet.ts'
import { NAMESPACE, type Spec, storeOf, type World, world } from '../support/worlds.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { guardsKnow, installGuards, tryPod } from './support/guards.ts'
import { apply, ensureNamespace, ensureServiceAccount, type Manifest, remove } from './support/objects.ts'
import { sendable as ofToday } from './support/pods.ts'

const INJECT = 'credentials.run.ai/inject'
/** Nothing is guarded there: what the API server alone thinks of a pod. */
const UNGUARDED = 'kube-system'

let cluster: Cluster
let kube: Cluster['client']

beforeAll(async () => {
  cluster = await startCluster({ name: 'guards' })
  kube = cluster.client
  await installGuards(cluster)
  await ensureServiceAccount(kube, UNGUARDED, 'default')
})
afterAll(() => cluster?.stop())

describe('the fixtures', () => {
  const cases = caseNames()
    .map((name) => loadCase(name))
    .filter(({ request, catalog }) => {
      const isBroken = Object.values(catalog).some((text) => readManifests(text).problems.length > 0)
      return request.apiValidation && request.operation === 'CREATE' && !isBroken
    })
  const groups = [...Map.groupBy(cases, sharedCredentials)].map(([text, members], index) => ({
    name: `group ${index}`,
    shared: JSON.parse(text) as Manifest[],
    members,
  }))
  const seen = { passed: 0, refused: [] as string[], unseen: [] as string[] }

  // Cases have namespaces of their own; those with one set of the cluster's credentials are there at the same time.
  describe.each(groups)('$name', ({ name, shared, members }) => {
    beforeAll(async () => {
      await Promise.all(members.map(prepare))
      for (const object of shared) await apply(kube, object)
      await ensureNamespace(kube, name.replace(' ', '-'))
      await guardsKnow(cluster, name.replace(' ', '-'))
    })
    afterAll(async () => {
      for (const object of shared) await remove(kube, object)
    })

    test.each(members.map((member) => [member.name, member] as const))('%s', async (_, fixture) => {
      const { outcome } = fixture.effect
      if (outcome !== 'Denied') {
        const injected = golden(fixture, 'expected.yaml')
        const pod = sendable(injected === undefined ? fixture.pod : parse(injected), fixture.name)
        expect(await tryPod(kube, spaceOf(fixture), pod)).toBe('')
        seen.passed += 1
      }
      // What policies add is another guard's business.
      if (outcome !== 'Injected' || !isForTheAnnotation(fixture)) return
      const message = await tryPod(kube, spaceOf(fixture), sendable(fixture.pod, fixture.name))
      if (message === '') seen.unseen.push(fixture.name)
      else {
        expect(message).toContain('-guard-injected')
        seen.refused.push(fixture.name)
      }
    })
  })

  test('nearly all of those that are injected are refused as they are before', () => {
    expect(seen.passed).toBeGreaterThan(cases.length / 2)
    expect(seen.refused.length).toBeGreaterThan(cases.length / 3)
    expect(seen.unseen.sort()).toEqual(Object.keys(NOT_SEEN).sort())
  })
})

/** Cases whose pod could be one that was injected, as far as CEL can tell. */
const NOT_SEEN: Readonly<Record<string, string>> = {
  'env-file-key-credential-wins': 'the pod sets the variable itself, and only its source is to change',
  'env-plain-value-credential-wins': 'the pod sets the variable itself, and only its value is to change',
  'envfrom-known-listed-credential-wins': 'the pod loads a Secret that may give the variable',
  'envfrom-same-secret-then-known-credential-wins':
    'the pod loads the Secret itself, and only the order is to change',
}

const manifestsIn = ({ catalog }: Case): Manifest[] =>
  Object.values(catalog)
    .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Manifest | null))
    .filter((object) => object !== null)

const sharedCredentials = (fixture: Case): string =>
  JSON.stringify(manifestsIn(fixture).filter(({ kind }) => kind === 'ClusterCredential'))

function isForTheAnnotation({ pod }: Case): boolean {
  return /[^\s,]/.test(pod.metadata?.annotations?.[INJECT] ?? '')
}

/** A namespace for each case, unless it is about the namespace itself. */
function spaceOf(fixture: Case): string {
  const { namespace } = fixture.request
  const isAbout =
    excludedNamespaces('credential-injector').has(namespace) ||
    sharedCredentials(fixture).includes(`"${namespace}/`)
  return isAbout ? namespace : `case-${fixture.name}`
}

async function prepare(fixture: Case): Promise<void> {
  const { request, pod } = fixture
  const space = spaceOf(fixture)
  const objects = manifestsIn(fixture)
  const declared = objects.find(
    ({ kind, metadata }) => kind === 'Namespace' && metadata.name === request.namespace,
  )
  await ensureNamespace(kube, space, declared?.metadata.labels)
  const account = pod.spec.serviceAccountName || pod.spec.serviceAccount
  if (typeof account === 'string') await ensureServiceAccount(kube, space, account)
  for (const object of objects)
    if (object.kind === 'Credential' && object.metadata.namespace === request.namespace)
      await apply(kube, { ...object, metadata: { ...object.metadata, namespace: space } })
}

/** Of the namespace that the request is for, whatever the pod says itself. */
function sendable(pod: PodObject, name: string): PodObject {
  const metadata = { ...pod.metadata, name: pod.metadata?.name ?? name }
  delete (metadata as Record<string, unknown>).namespace
  return { apiVersion: 'v1', kind: 'Pod', ...pod, metadata }
}

describe('random pods', () => {
  const CATALOGUES = 15
  const PODS = 20
  const sample = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number) =>
    fc.sample(arbitrary, { numRuns, ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }) })

  beforeAll(() => ensureNamespace(kube, NAMESPACE, { team: 'ml' }))

  test(`of ${CATALOGUES} catalogues without restrictions: every pod that the webhook lets through passes`, async () => {
    const seen = { injected: 0, alone: 0, denied: 0, refused: 0, refusedBefore: 0 }
    for (const catalogue of sample(world, CATALOGUES)) {
      const objects = manifestsOf(catalogue)
      for (const object of objects) await apply(kube, object)
      await guardsKnow(cluster, NAMESPACE)
      for (const { pod } of sample(world, PODS)) {
        const outcome = await check({ ...catalogue, pod })
        seen[outcome.kind]++
        if (outcome.isRefusedBefore) seen.refusedBefore++
      }
      for (const object of objects) await remove(kube, object)
    }
    const all = CATALOGUES * PODS
    expect(seen.injected, JSON.stringify(seen)).toBeGreaterThan(all / 6)
    expect(seen.refusedBefore, JSON.stringify(seen)).toBeGreaterThan(all / 12)
    expect(seen.refused, JSON.stringify(seen)).toBe(0)
  })

  interface Outcome {
    kind: 'injected' | 'alone' | 'denied' | 'refused'
    isRefusedBefore?: boolean
  }

  async function check(given: World): Promise<Outcome> {
    const pod = ofToday(given.pod)
    if ((await tryPod(kube, UNGUARDED, pod)) !== '') return { kind: 'refused' }
    const outcome = inject({
      pod: pod as Pod,
      view: storeOf(given).view(NAMESPACE),
      excludedNamespaces: excludedNamespaces('credential-injector'),
      now: 0,
    })
    if (outcome.kind === 'Denied') return { kind: 'denied' }
    const before = await tryPod(kube, NAMESPACE, pod)
    if (outcome.kind === 'LeftAlone') {
      expect(before, JSON.stringify({ ...given, content: undefined })).toBe('')
      return { kind: 'alone' }
    }
    const injected = applyPatch(structuredClone(pod), outcome.patch) as PodObject
    expect(await tryPod(kube, NAMESPACE, injected), JSON.stringify({ ...given, content: undefined })).toBe('')
    return { kind: 'injected', isRefusedBefore: before !== '' }
  }
})

function manifestsOf({ credentials, clusterCredentials }: World): Manifest[] {
  const apiVersion = 'run.ai/v1'
  const own = Object.entries(credentials).map(([name, spec]: [string, Spec]) => ({
    apiVersion,
    kind: 'Credential',
    metadata: { name, namespace: NAMESPACE },
    spec,
  }))
  const shared = Object.entries(clusterCredentials).map(([name, spec]: [string, Spec]) => ({
    apiVersion,
    kind: 'ClusterCredential',
    metadata: { name },
    spec,
  }))
  return JSON.parse(JSON.stringify([...own, ...shared]))
}
