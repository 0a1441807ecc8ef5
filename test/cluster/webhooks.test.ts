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
