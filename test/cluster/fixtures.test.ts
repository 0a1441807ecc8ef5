/**
 * Every case of fixtures/inject once more, in a real cluster: its catalogue in the API server, the controller and the
 * webhook as processes, and the pod created there. What is stored is compared, so that the API server's own defaults,
 * checks and admission plugins have had their say.
 */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { KubeError } from '../../src/kube/client.ts'
import { readManifests } from '../../src/store/manifests.ts'
import {
  type Case,
  caseNames,
  effectOf,
  expectedEffect,
  golden,
  loadCase,
  secretValues,
} from '../support/fixtures.ts'
import { everyContainer, type PodObject } from '../support/kubelet.ts'
import { testCertificates } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import { sharedCluster } from './kit/shared.ts'
import { register } from './kit/webhooks.ts'
import {
  apply,
  collection,
  ensureNamespace,
  ensureServiceAccount,
  type Manifest,
  remove,
} from './support/objects.ts'
import { type Process, startController, startWebhook } from './support/processes.ts'

const cluster = sharedCluster()
const { client: kube, kubeconfig } = cluster
const OWNER_NAMESPACE = 'credential-injector'
/** Pods of this namespace never meet the webhook: what the API server alone makes of a pod is seen there. */
const PLAIN_NAMESPACE = 'without-injector'

const cases = caseNames()
  .map((name) => loadCase(name))
  .filter(canBeInACluster)

/** Not: pods and manifests that no API server takes, and operations other than creation. They go through the other doors. */
function canBeInACluster({ request, catalog }: Case): boolean {
  const isBroken = Object.values(catalog).some((text) => readManifests(text).problems.length > 0)
  return request.apiValidation && request.operation === 'CREATE' && !isBroken
}

let webhook: Process
let controller: Process
let unregister: (() => Promise<void>) | undefined

beforeAll(async () => {
  await installCrds(kube)
  await ensureNamespace(kube, OWNER_NAMESPACE)
  await ensureNamespace(kube, PLAIN_NAMESPACE)
  controller = await startController(kubeconfig)
  webhook = await startWebhook(kubeconfig)
  const { ca } = await testCertificates()
  const namespaces = [...new Set(cases.map(({ request }) => request.namespace))]
  for (const name of namespaces) await ensureNamespace(kube, name)
  // Policies select pods without an annotation, so all pods of these namespaces are sent.
  unregister = await register(cluster, { name: 'fixtures', url: webhook.url, ca, namespaces })
})
afterAll(async () => {
  await unregister?.()
  await Promise.all([webhook?.stop(), controller?.stop()])
})

test('nearly every case can be in a cluster', () => {
  expect(cases.length).toBeGreaterThan(caseNames().length - 15)
})

describe.each(cases.map((fixture) => [fixture.name, fixture] as const))('%s', (_, fixture) => {
  const manifests = manifestsOf(fixture)
  const { namespace } = fixture.request

  beforeAll(async () => {
    await prepareNamespaces(fixture, manifests)
    for (const manifest of manifests) if (manifest.kind !== 'Namespace') await apply(kube, manifest)
  })
  afterAll(async () => {
    for (const manifest of manifests) if (manifest.kind !== 'Namespace') await remove(kube, manifest)
  })

  test('what is stored', async () => {
    const pod = clusterPod(fixture, fixture.pod)
    const wanted =
      fixture.effect.outcome === 'Denied' ? undefined : await plain(clusterPod(fixture, expectedPod(fixture)))
    await settled(fixture, () => create(pod, namespace, '?dryRun=All'), wanted)
    if (!wanted) return

    const stored = (await create(pod, namespace)) as PodObject
    try {
      expect(comparable(stored)).toEqual(comparable(wanted))
      const seen = effectOf(withoutToken(stored), fixture)
      if (fixture.effect.containers) expect(seen).toEqual(withoutTokenFiles(expectedEffect(fixture, seen)))
      for (const value of secretValues(fixture)) expect(JSON.stringify(stored)).not.toContain(value)
    } finally {
      const metadata = { name: String(stored.metadata?.name), namespace }
      await remove(kube, { apiVersion: 'v1', kind: 'Pod', metadata })
    }
  })
})

test('no value of any Secret is in the audit log, in a log, metric, event or status', async () => {
  const canaries = secretsOfAllCases()
  expect(canaries.length).toBeGreaterThan(100)
  const texts = {
    'the audit log': readFileSync(cluster.auditLog, 'utf8'),
    'what the webhook writes': webhook.stdout() + webhook.stderr(),
    'what the controller writes': controller.stdout() + controller.stderr(),
    'the metrics of the webhook': await (await fetch(webhook.metricsUrl)).text(),
    'the metrics of the controller': await (await fetch(controller.metricsUrl)).text(),
    'the events': JSON.stringify(await kube.get('/api/v1/events')),
    'what is stored of credentials': JSON.stringify([
      await kube.get('/apis/run.ai/v1/credentials'),
      await kube.get('/apis/run.ai/v1/clustercredentials'),
    ]),
  }
  // The oracle can see: the log has the pods, whole.
  expect(texts['the audit log']).toContain('credentials.run.ai/injected')
  for (const [where, text] of Object.entries(texts))
    expect({ where, found: canaries.filter((value) => text.includes(value)) }).toEqual({ where, found: [] })
})

/** Values that stand in Secrets and nowhere else, so that finding one means that it came from a Secret. */
function secretsOfAllCases(): string[] {
  const elsewhere = cases
    .map((fixture) =>
      JSON.stringify([fixture.pod, manifestsOf(fixture).filter(({ kind }) => kind !== 'Secret')]),
    )
    .join()
  const escaped = (value: string) => JSON.stringify(value).slice(1, -1)
  const values = new Set(cases.flatMap(secretValues).map(escaped))
  return [...values].filter((value) => value.length >= 8 && !elsewhere.includes(value))
}

/** Waits until the answer is the one that is wanted: controller and webhook hear of a catalogue a moment after the API server has it. */
async function settled(
  fixture: Case,
  ask: () => Promise<PodObject | KubeError>,
  wanted: PodObject | undefined,
): Promise<void> {
  let answer: PodObject | KubeError | undefined
  const isWanted = () =>
    answer instanceof KubeError
      ? wanted === undefined && saysAll(answer, fixture)
      : wanted !== undefined && isDeepStrictEqual(comparable(answer as PodObject), comparable(wanted))
  await eventually('the answer is as wanted', async () => {
    answer = await ask()
    return isWanted()
  }).catch(() => {})
  if (isWanted()) return
  if (answer instanceof KubeError)
    expect(answer.message).toBe(wanted ? 'nothing to refuse' : fixture.effect.problems)
  else expect(comparable(answer as PodObject)).toEqual(wanted && comparable(wanted))
}

/** A denial that names every problem that the case expects. */
function saysAll({ status, message }: KubeError, { effect }: Case): boolean {
  const parts = (effect.problems ?? []).flatMap((problem) => Object.entries(problem).flat(2))
  return status === 403 && parts.every((part) => message.includes(part))
}

// ---- Manifests -------------------------------------------------------------------------------------------------------

/** The catalogue's objects, secrets first; times are moved so that they lie as far from now as from the case's own time. */
function manifestsOf({ catalog, request }: Case): Manifest[] {
  const shift = Date.now() - Date.parse(request.now)
  const manifests = Object.values(catalog)
    .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Manifest | null))
    .filter((manifest) => manifest !== null)
  for (const { spec } of manifests as { spec?: { expiresAt?: string } }[]) {
    if (spec?.expiresAt) spec.expiresAt = new Date(Date.parse(spec.expiresAt) + shift).toISOString()
  }
  return manifests.sort((a, b) => rank(a) - rank(b))
}

const rank = ({ kind }: Manifest) => ['Namespace', 'Secret', 'ConfigMap'].indexOf(kind) >>> 0

async function prepareNamespaces({ request, pod }: Case, manifests: Manifest[]): Promise<void> {
  const declared = new Map(
    manifests
      .filter(({ kind }) => kind === 'Namespace')
      .map(({ metadata }) => [metadata.name, metadata.labels]),
  )
  const names = manifests.flatMap(({ kind, metadata }) =>
    kind === 'Namespace' ? metadata.name : (metadata.namespace ?? []),
  )
  for (const name of new Set([...names, request.namespace]))
    await ensureNamespace(kube, name, declared.get(name))
  const account = pod.spec.serviceAccountName ?? pod.spec.serviceAccount
  if (typeof account === 'string')
    for (const place of [request.namespace, PLAIN_NAMESPACE]) await ensureServiceAccount(kube, place, account)
}

// ---- Pods ------------------------------------------------------------------------------------------------------------

function expectedPod(fixture: Case): PodObject {
  const expected = golden(fixture, 'expected.yaml')
  return expected === undefined ? fixture.pod : parse(expected)
}

/** Of the namespace that the request is for, whatever the pod says itself; and with nothing that a cluster would have to have. */
function clusterPod({ name }: Case, pod: PodObject): PodObject {
  const metadata = { ...pod.metadata, name: pod.metadata?.name ?? name }
  delete (metadata as Record<string, unknown>).namespace
  return { apiVersion: 'v1', kind: 'Pod', ...pod, metadata }
}

/** What the API server makes of the pod when no webhook is asked. */
async function plain(pod: PodObject): Promise<PodObject> {
  const made = await create(pod, PLAIN_NAMESPACE, '?dryRun=All')
  if (made instanceof KubeError) throw new Error(`no API server would take this pod: ${made.message}`)
  return made
}

async function create(pod: PodObject, namespace: string, query = ''): Promise<PodObject | KubeError> {
  try {
    return await kube.create<PodObject>(`${collection('Pod', namespace)}${query}`, pod)
  } catch (error) {
    if (error instanceof KubeError) return error
    throw error
  }
}

/** What two creations of one pod have in common. Revisions are the cluster's own. */
function comparable(pod: PodObject): unknown {
  const { metadata, spec } = withoutToken(pod)
  const annotations = { ...metadata?.annotations }
  const record = annotations['credentials.run.ai/injected']
  if (record) annotations['credentials.run.ai/injected'] = record.replaceAll(/@[0-9a-f]+/g, '')
  return { annotations, labels: metadata?.labels ?? {}, spec }
}

/** Without the token of the service account that the API server mounts into every pod, under a random name. */
function withoutToken(pod: PodObject): PodObject {
  const copy = structuredClone(pod)
  const isToken = ({ name }: { name: string }) => name.startsWith('kube-api-access-')
  copy.spec.volumes = copy.spec.volumes?.filter((volume) => !isToken(volume)) ?? []
  for (const container of everyContainer(copy))
    container.volumeMounts = container.volumeMounts?.filter((mount) => !isToken(mount)) ?? []
  return copy
}

function withoutTokenFiles(effect: ReturnType<typeof effectOf>): ReturnType<typeof effectOf> {
  for (const { files = {} } of Object.values(effect.containers ?? {}))
    for (const path of Object.keys(files))
      if (path.startsWith('/var/run/secrets/kubernetes.io/')) delete files[path]
  return effect
}
