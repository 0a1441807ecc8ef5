/**
 * Other mutating webhooks around ours: one adds a sidecar after us, one gives the pod another name. The API server asks us
 * a second time, and what came late gets its credentials, with nothing twice.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { testCertificates } from '../support/server.ts'
import { installCrds } from './install-crds.ts'
import { sharedCluster } from './kit/shared.ts'
import { addsSidecar, type FakeWebhook, register, renames, startFakeWebhook } from './kit/webhooks.ts'
import { apply, collection, ensureNamespace, type Manifest } from './support/objects.ts'
import { type Process, startWebhook } from './support/processes.ts'

const NAMESPACE = 'neighbours'
const cluster = sharedCluster()
const { client: kube, kubeconfig } = cluster

let ours: Process
const others: FakeWebhook[] = []
const registrations: (() => Promise<void>)[] = []

beforeAll(async () => {
  await installCrds(kube)
  await ensureNamespace(kube, NAMESPACE)
  for (const manifest of CATALOG) await apply(kube, manifest)
  ours = await startWebhook(kubeconfig)
  const { ca } = await testCertificates()
  const sidecar = await startFakeWebhook(addsSidecar('late'))
  const rename = await startFakeWebhook(renames('renamed-'))
  others.push(sidecar, rename)
  // API servers ask in the order of the names.
  for (const [name, url] of [
    ['neighbours-1-ours', ours.url],
    ['neighbours-2-sidecar', sidecar.url],
    ['neighbours-3-rename', rename.url],
  ] as const)
    registrations.push(await register(cluster, { name, url, ca, namespaces: [NAMESPACE] }))
})
afterAll(async () => {
  for (const unregister of registrations) await unregister()
  await ours?.stop()
  for (const other of others) await other.stop()
})

test('a sidecar that comes after us gets its credentials, and nothing comes twice', async () => {
  const pod = await kube.create<StoredPod>(`${collection('Pod', NAMESPACE)}?dryRun=All`, POD)
  expect(pod.metadata.name).toBe('renamed-train')
  expect(pod.spec.containers.map(({ name }) => name)).toEqual(['main', 'late'])
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
