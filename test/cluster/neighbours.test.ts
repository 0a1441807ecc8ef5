/**
 * Other mutating webhooks around ours: one adds a sidecar after us, one gives the pod another name. The API server asks us
 * a second time, and what came late gets its credentials, with nothing twice.
 */

import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testCertificates } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import { sharedCluster } from './kit/shared.ts'
import { apply, collection, ensureNamespace, type Manifest, remove } from './support/objects.ts'
import { type Process, register, startWebhook } from './support/processes.ts'

const NAMESPACE = 'neighbours'
const { client: kube, kubeconfig } = sharedCluster()

let ours: Process
const others: Neighbour[] = []
const registrations: Manifest[] = []

beforeAll(async () => {
  await installCrds(kube)
  await ensureNamespace(kube, NAMESPACE)
  for (const manifest of CATALOG) await apply(kube, manifest)
  ours = await startWebhook(kubeconfig)
  others.push(await startNeighbour(addSidecar), await startNeighbour(renamePod))
  const [sidecar, rename] = others as [Neighbour, Neighbour]
  const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': NAMESPACE } }
  // API servers ask in the order of the names.
  for (const [name, url] of [
    ['neighbours-1-ours', ours.url],
    ['neighbours-2-sidecar', sidecar.url],
    ['neighbours-3-rename', rename.url],
  ] as const)
    registrations.push(await register(kube, { name, url, namespaceSelector }))
})
afterAll(async () => {
  for (const registration of registrations) await remove(kube, registration)
  await ours?.stop()
  for (const { server } of others) {
    server.closeAllConnections()
    server.close()
  }
})

test('a sidecar that comes after us gets its credentials, and nothing comes twice', async () => {
  const pod = await eventually('all three webhooks take part', async () => {
    const made = await kube
      .create<StoredPod>(`${collection('Pod', NAMESPACE)}?dryRun=All`, POD)
      .catch(() => undefined)
    return made?.spec.containers.length === 2 && made.metadata.name === 'renamed' ? made : undefined
  })
  const [main, late] = pod.spec.containers as [StoredContainer, StoredContainer]
  for (const container of [main, late]) {
    expect(container.envFrom, container.name).toEqual([{ secretRef: { name: 'wandb-secret' } }])
    const mounts = container.volumeMounts.filter(({ name }) => name.startsWith('credential-'))
    expect(mounts, container.name).toEqual([
      { name: expect.any(String), mountPath: '/root/.ssh', readOnly: true },
    ])
  }
  const volumes = pod.spec.volumes.filter(({ name }) => name.startsWith('credential-'))
  expect(volumes).toHaveLength(1)
  expect(pod.metadata.annotations['credentials.run.ai/injected']).toMatch(
    /^Credential\/wandb(@\w+)?,Credential\/git(@\w+)?$/,
  )
})

test('a pod whose name is made by the API server is injected like any other', async () => {
  const { name: _, ...metadata } = POD.metadata
  const generated = { ...POD, metadata: { ...metadata, generateName: 'train-' } }
  const pod = await kube.create<StoredPod>(`${collection('Pod', NAMESPACE)}?dryRun=All`, generated)
  expect(pod.spec.containers.map(({ envFrom }) => envFrom)).toEqual([
    [{ secretRef: { name: 'wandb-secret' } }],
    [{ secretRef: { name: 'wandb-secret' } }],
  ])
})

const credential = (name: string, spec: object): Manifest => ({
  apiVersion: 'run.ai/v1',
  kind: 'Credential',
  metadata: { name, namespace: NAMESPACE },
  spec,
})

const CATALOG = [
  credential('wandb', { secretRef: { name: 'wandb-secret' }, type: 'environment' }),
  credential('git', { secretRef: { name: 'git-secret' }, type: 'file', mountPath: '/root/.ssh' }),
]

const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'train', annotations: { 'credentials.run.ai/inject': 'wandb, git' } },
  spec: { containers: [{ name: 'main', image: 'registry.example/train:1' }] },
}

interface StoredContainer {
  name: string
  envFrom?: object[]
  volumeMounts: { name: string; mountPath: string }[]
}

interface StoredPod {
  metadata: { name: string; annotations: Record<string, string> }
  spec: { containers: StoredContainer[]; volumes: { name: string }[] }
}

// ---- The others ------------------------------------------------------------------------------------------------------

interface Neighbour {
  readonly url: string
  readonly server: Server
}

type Change = (pod: StoredPod) => object[]

/** As service meshes do. */
const addSidecar: Change = ({ spec }) =>
  spec.containers.some(({ name }) => name === 'late')
    ? []
    : [{ op: 'add', path: '/spec/containers/-', value: { name: 'late', image: 'registry.example/proxy:1' } }]

const renamePod: Change = ({ metadata }) =>
  metadata.name === 'train' ? [{ op: 'replace', path: '/metadata/name', value: 'renamed' }] : []

async function startNeighbour(change: Change): Promise<Neighbour> {
  const { folder } = await testCertificates()
  const read = (file: string) => readFileSync(join(folder, file))
  const server = createServer({ cert: read('tls.crt'), key: read('tls.key') }, async (request, response) => {
    const review = (await json(request)) as { request: { uid: string; object: StoredPod } }
    const { uid, object } = review.request
    const operations = change(object)
    const patch = Buffer.from(JSON.stringify(operations)).toString('base64')
    const decision = operations.length > 0 ? { patchType: 'JSONPatch', patch } : {}
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({ ...review, request: undefined, response: { uid, allowed: true, ...decision } }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`, server }
}
