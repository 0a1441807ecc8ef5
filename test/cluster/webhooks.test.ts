import { afterEach, expect, test } from 'vitest'
import { sharedCluster } from './kit/shared.ts'
import { addsSidecar, register, renames, startFakeWebhook } from './kit/webhooks.ts'

const cluster = sharedCluster()
const PODS = '/api/v1/namespaces/other-webhooks/pods'

const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0)) await clean()
})

test('webhooks of others change pods one after the other, and are asked again about what later ones did', async () => {
  await cluster.createNamespace('other-webhooks')
  const [renamer, mesh] = await Promise.all([
    startFakeWebhook(renames('team-')),
    startFakeWebhook(addsSidecar('proxy')),
  ])
  const namespaces = ['other-webhooks']
  // In this order, by their names.
  cleanups.push(
    await register(cluster, { name: 'a-renamer', url: renamer.url, ca: renamer.ca, namespaces }),
    renamer.stop,
  )
  cleanups.push(
    await register(cluster, { name: 'b-mesh', url: mesh.url, ca: mesh.ca, namespaces }),
    mesh.stop,
  )
  const before = renamer.pods.length

  const stored = await cluster.client.create<any>(PODS, {
    metadata: { generateName: 'web-' },
    spec: { containers: [{ name: 'main', image: 'none' }] },
  })

  expect(stored.metadata.generateName).toBe('team-web-')
  expect(stored.spec.containers.map(({ name }: any) => name)).toEqual(['main', 'proxy'])
  const asked = renamer.pods.slice(before).map(({ spec }) => spec.containers.length)
  expect(asked).toEqual([1, 2])
})

test('a server that the registered authority does not know is told nothing and not believed: the pod is refused', async () => {
  const namespace = 'impostor'
  await cluster.createNamespace(namespace)
  const impostor = await startFakeWebhook(addsSidecar('evil'))
  const configurations = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
  const configuration = {
    metadata: { name: namespace },
    webhooks: [
      {
        name: 'impostor.test.run.ai',
        // Somebody's traffic to the webhook arrives elsewhere, where there is no certificate of that authority.
        clientConfig: { url: impostor.url, caBundle: Buffer.from(cluster.caData).toString('base64') },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        failurePolicy: 'Fail',
      },
    ],
  }
  await cluster.client.create(configurations, configuration)
  cleanups.push(() => cluster.client.delete(`${configurations}/${namespace}`), impostor.stop)
  cleanups.push(() => cluster.client.delete(`/api/v1/namespaces/${namespace}`))

  // The API server hears of the registration a moment later.
  const create = () =>
    cluster.client
      .create(`/api/v1/namespaces/${namespace}/pods?dryRun=All`, {
        metadata: { name: 'web' },
        spec: { containers: [{ name: 'main', image: 'none' }] },
      })
      .then(() => 'created', String)
  await expect
    .poll(create, { timeout: 30_000 })
    .toMatch(/failed calling webhook.*x509: certificate signed by unknown/)
  expect(impostor.pods).toEqual([])
})
