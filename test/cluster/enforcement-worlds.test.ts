/**
 * The check of finished pods and the engine agree: random namespaces, policies and pods go through the engine, and what it lets
 * through is never refused; what somebody takes away afterwards is.
 */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { apply_patch as applyPatch } from 'jsonpatch'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import type { Pod } from '../../src/api/pod.ts'
import { inject } from '../../src/inject/index.ts'
import { KubeError } from '../../src/kube/client.ts'
import { readManifests } from '../../src/store/manifests.ts'
import { excludedNamespaces } from '../../src/store/memory.ts'
import { type Case, caseNames, golden, loadCase } from '../support/fixtures.ts'
import {
  type ContainerObject,
  everyContainer,
  type PodObject,
  type VolumeObject,
} from '../support/kubelet.ts'
import { enforcedPromisesBroken } from '../support/promises.ts'
import { isOffered, NAMESPACE, type Spec, storeOf, type World, world } from '../support/worlds.ts'
import { installCrds } from './install-crds.ts'
import { sharedCluster } from './kit/shared.ts'
import { type Check, type EnforcedBy, type EnforcedStatus, installCheck } from './support/enforcement.ts'
import { ensureNamespace, ensureServiceAccount, type Manifest, remove } from './support/objects.ts'
import { sendable, tryPod } from './support/pods.ts'

const WORLDS = 90
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
let fixtures: Fixture[]

beforeAll(async () => {
  await installCrds(kube)
  check = await installCheck(cluster, 'worlds')
  given = worlds()
  for (const each of given) await put(each)
  fixtures = caseNames().flatMap((name, number) => enforcedFixture(loadCase(name), number) ?? [])
  for (const fixture of fixtures) await putFixture(fixture)
  await check.whenSeen()
})
afterAll(async () => {
  await check?.remove()
  for (const { credential } of given?.flatMap(credentialsOf) ?? []) await remove(kube, credential)
  for (const { credentials } of fixtures ?? [])
    for (const { credential } of credentials) await remove(kube, credential)
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

test('no pod of a fixture with an enforced policy is refused, and each is without what it was given', async () => {
  expect(fixtures.length).toBeGreaterThan(20)
  for (const { name, namespace, pod, bare } of fixtures) {
    const answer = await tryPod(kube, namespace, pod)
    expect({ name, answer: answer instanceof KubeError ? answer.message : 'taken' }).toEqual({
      name,
      answer: 'taken',
    })
    if (isDeepStrictEqual(pod.spec, bare.spec) || isGap(bare)) continue
    const without = await tryPod(kube, namespace, bare)
    expect({ name, answer: String(without) }).toEqual({
      name,
      answer: expect.stringMatching(/policy \S+ enforces/),
    })
  }
})

test('of pods that somebody changes afterwards, none is taken that has lost anything', async () => {
  const seen = { unharmed: 0, refused: 0, invalid: 0, gap: 0 }
  for (const each of given) {
    expect(lost(each, each.pod)).toEqual([])
    for (const [name, tampered] of tamperings(each)) {
      const harm = lost(each, tampered)
      const answer = await tryPod(kube, each.namespace, tampered)
      if (answer instanceof KubeError) seen[answer.status === 422 ? 'invalid' : 'refused']++
      else if (harm.length === 0) seen.unharmed++
      else if (isGap(tampered)) seen.gap++
      else expect({ seed: SEED, name, harm, tampered, ...each.world }).toBe('refused')
    }
  }
  expect(seen.refused, JSON.stringify(seen)).toBeGreaterThan(WORLDS / 2)
  expect(seen.unharmed, JSON.stringify(seen)).toBeGreaterThan(WORLDS)
  expect(seen.gap, JSON.stringify(seen)).toBeLessThan(seen.refused / 10)
})

// ---- What others may do to a pod -----------------------------------------------------------------------------------------

function lost({ number, world: it }: Given, pod: PodObject): string[] {
  const own = JSON.parse(JSON.stringify(pod).replaceAll(`k${number}x`, 'k1')) as PodObject
  return enforcedPromisesBroken(it, own)
}

/**
 * What the check cannot see: the keys of a secret that comes after an enforced one. The webhook lets secrets of other credentials
 * follow, and which these are is not known to the API server.
 */
function isGap(pod: PodObject): boolean {
  const follows = (words: (string | undefined)[]) => words.filter((word) => word !== undefined).length > 1
  return (
    everyContainer(pod).some(({ envFrom }) =>
      follows((envFrom ?? []).map(({ secretRef }) => secretRef?.name)),
    ) ||
    (pod.spec.volumes ?? []).some(({ projected }) =>
      follows((projected?.sources ?? []).map(({ secret }) => (secret?.items ? undefined : secret?.name))),
    )
  )
}

type Change = (container: ContainerObject, pod: PodObject) => void

/** Each is made in all containers. */
const CHANGES: Record<string, Change> = {
  'takes the last variable': ({ env }) => env?.pop(),
  'takes the first variable': ({ env }) => env?.shift(),
  'adds variables in front': (container) => (container.env = [...EVIL, ...(container.env ?? [])]),
  'adds variables at the end': (container) => (container.env = [...(container.env ?? []), ...EVIL]),
  'makes variables plain': ({ env }) => {
    for (const entry of env ?? []) Object.assign(entry, { value: 'evil', valueFrom: undefined })
  },
  'takes the last source': ({ envFrom }) => envFrom?.pop(),
  'takes the first source': ({ envFrom }) => envFrom?.shift(),
  'adds a ConfigMap in front': (container) => (container.envFrom = [MAP, ...(container.envFrom ?? [])]),
  'adds a ConfigMap at the end': (container) => (container.envFrom = [...(container.envFrom ?? []), MAP]),
  'adds a secret at the end': (container) =>
    (container.envFrom = [...(container.envFrom ?? []), { secretRef: { name: 'own' } }]),
  'makes variables optional': ({ env }) => {
    for (const { valueFrom } of env ?? []) if (valueFrom?.secretKeyRef) valueFrom.secretKeyRef.optional = true
  },
  'makes sources optional': ({ envFrom }) => {
    for (const { secretRef } of envFrom ?? []) if (secretRef) secretRef.optional = true
  },
  'gives sources a prefix': ({ envFrom }) => {
    for (const source of envFrom ?? []) source.prefix = 'X_'
  },
  'turns sources around': ({ envFrom }) => envFrom?.reverse(),
  'takes the last mount': ({ volumeMounts }) => volumeMounts?.pop(),
  'mounts elsewhere': ({ volumeMounts }) => {
    for (const mount of volumeMounts ?? []) mount.mountPath = `/else${mount.mountPath}`
  },
  'mounts parts': ({ volumeMounts }) => {
    for (const mount of volumeMounts ?? []) mount.subPath = 'd'
  },
  'mounts another volume': ({ volumeMounts }) => {
    for (const mount of volumeMounts ?? []) mount.name = 'v1'
  },
  ...Object.fromEntries(
    [
      '/creds',
      '/creds//',
      '/creds/f',
      '/creds/d',
      '/creds/d/g',
      '/creds/A',
      '/creds/..data',
      '/creds/..data/f',
      '/root/.ssh/..data/id_rsa',
      '/root/.ssh/.',
      '/root/.ssh/id_rsa',
      '/other/./x/B',
      '/root',
      '/',
    ].map((mountPath) => [
      `mounts something at ${mountPath}`,
      (container: ContainerObject) =>
        (container.volumeMounts = [...(container.volumeMounts ?? []), { name: 'v2', mountPath }]),
    ]),
  ),
  'empties volumes': (_, { spec }) => {
    spec.volumes = spec.volumes?.map(({ name }) => ({ name, emptyDir: {} }))
  },
  'adds a ConfigMap to volumes': (_, pod) => sources(pod, (all) => [...all, { configMap: { name: 'm1' } }]),
  'adds a secret to volumes': (_, pod) => sources(pod, (all) => [...all, { secret: { name: 'own' } }]),
  'adds a file to volumes': (_, pod) =>
    sources(pod, (all) => [...all, { secret: { name: 'own', items: [{ key: 'A', path: 'A' }] } }]),
  'takes sources from volumes': (_, pod) => sources(pod, (all) => all.slice(1)),
  'turns the sources of volumes around': (_, pod) => sources(pod, (all) => all.toReversed()),
  'takes files from volumes': (_, pod) =>
    sources(pod, (all) =>
      all.map(({ secret, ...other }) => ({
        ...other,
        secret: secret && { ...secret, items: secret.items?.slice(1) },
      })),
    ),
  'takes the pull secrets': (_, { spec }) => {
    spec.imagePullSecrets = undefined
  },
  'adds a container': (_, { spec }) => spec.containers.push({ name: 'evil', image: 'evil' }),
  'changes nothing': () => {},
}

const EVIL = ['A', 'B', 'C', 'D'].map((name) => ({ name, value: 'evil' }))
const MAP = { configMapRef: { name: 'm1' } }

type Sources = NonNullable<NonNullable<VolumeObject['projected']>['sources']>

function sources({ spec }: PodObject, change: (sources: Sources) => Sources): void {
  for (const { projected } of spec.volumes ?? [])
    if (projected) projected.sources = change(projected.sources ?? [])
}

/** Some of them for each pod. */
function tamperings({ pod, number }: Given): [string, PodObject][] {
  const some = Object.entries(CHANGES).filter((_, index) => index % 6 === number % 6)
  return some.map(([name, change]) => {
    const copy = structuredClone(pod)
    const containers = everyContainer(copy)
    // What belongs to the pod is changed once.
    for (const container of change.length > 1 ? containers.slice(0, 1) : containers) change(container, copy)
    return [name, copy]
  })
}

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

// ---- Fixtures ----------------------------------------------------------------------------------------------------------

interface Fixture {
  readonly name: string
  readonly namespace: string
  readonly labels: Record<string, string> | undefined
  readonly credentials: readonly { credential: Manifest; status: EnforcedStatus }[]
  /** As the webhook leaves it, and as it was sent. */
  readonly pod: PodObject
  readonly bare: PodObject
}

/** The fixture in a namespace of its own, its cluster credentials under names of their own; undefined if it is about something else. */
function enforcedFixture(fixture: Case, number: number): Fixture | undefined {
  const { name, catalog, request, effect } = fixture
  const namespace = `fixture-${number}`
  const expected = golden(fixture, 'expected.yaml')
  const isBroken = Object.values(catalog).some((text) => readManifests(text).problems.length > 0)
  const text = Object.values(catalog).join('\n---\n')
  if (isBroken || effect.outcome === 'Denied' || !request.apiValidation || !/enforcement: Enforce/.test(text))
    return undefined
  const manifests = parseAllDocuments(text.replaceAll(request.namespace, namespace))
    .map((document) => document.toJS() as Manifest & { spec: any; data?: object; stringData?: object })
    .filter((manifest) => manifest !== null)
  const of = (kind: string, place?: string) =>
    manifests.filter(
      (each) => each.kind === kind && (place === undefined || each.metadata.namespace === place),
    )
  const keysOf = (secret: string, place: string) =>
    of('Secret', place)
      .filter(({ metadata }) => metadata.name === secret)
      .map(({ data, stringData }) => ({ keys: Object.keys({ ...data, ...stringData }) }))[0]
  const policies = of('CredentialPolicy').filter(({ spec }) => spec.enforcement === 'Enforce')
  const by = (...names: string[]) =>
    policies
      .filter(({ spec }) => spec.credentials.some((each: string) => names.includes(each)))
      .map(({ metadata, spec: { namespaceSelector, podSelector } }) => ({
        policy: metadata.name,
        namespaceSelector,
        podSelector,
      }))
  const own = of('Credential', namespace).map((credential) => ({
    credential,
    status: {
      ...keysOf(credential.spec.secretRef.name, namespace),
      enforcedBy: by(credential.metadata.name),
    },
  }))
  const isOwn = (name: string) => own.some(({ credential }) => credential.metadata.name === name)
  const rename = (name: string) => `${name}-${number}`
  const shared = of('ClusterCredential').map((credential) => ({
    credential: {
      ...credential,
      metadata: { ...credential.metadata, name: rename(credential.metadata.name) },
    },
    status: {
      ...keysOf(credential.spec.secretRef.name, 'credential-injector'),
      // Without what other fixtures have in this cluster.
      enforcedBy: by(
        `cluster/${credential.metadata.name}`,
        ...(isOwn(credential.metadata.name) ? [] : [credential.metadata.name]),
      ).map((entry) => ({ ...entry, namespaceSelector: onlyIn(namespace, entry.namespaceSelector) })),
    },
  }))
  const inCluster = (pod: PodObject) => {
    const copies = of('ClusterCredential').map(({ metadata }) => `credential-${metadata.name}`)
    const renamed = copies.reduce(
      (all, copy) => all.replaceAll(`"${copy}"`, `"${rename(copy)}"`),
      JSON.stringify(pod),
    )
    return { ...JSON.parse(renamed), metadata: { ...pod.metadata, name, namespace } } as PodObject
  }
  return {
    name,
    namespace,
    labels: of('Namespace').find(({ metadata }) => metadata.name === namespace)?.metadata.labels,
    credentials: [...own, ...shared],
    pod: inCluster(expected === undefined ? fixture.pod : parse(expected)),
    bare: inCluster(fixture.pod),
  }
}

function onlyIn(namespace: string, { matchExpressions = [], ...selector }: any): object {
  const here = { key: 'kubernetes.io/metadata.name', operator: 'In', values: [namespace] }
  return { ...selector, matchExpressions: [...matchExpressions, here] }
}

async function putFixture({ namespace, labels, credentials, pod }: Fixture): Promise<void> {
  await ensureNamespace(kube, namespace, labels)
  const account = pod.spec.serviceAccountName
  if (typeof account === 'string') await ensureServiceAccount(kube, namespace, account)
  for (const { credential, status } of credentials) await check.put(credential, status)
}
