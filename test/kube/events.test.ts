import { afterEach, beforeEach, expect, test } from 'vitest'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import { createEvents, type EventContent, type EventSubject } from '../../src/kube/events.ts'
import { type FakeApiServer, faults, startFakeApiServer } from '../support/fake-apiserver.ts'

let server: FakeApiServer
let client: KubeClient

beforeEach(async () => {
  server = await startFakeApiServer()
  client = createKubeClient({ server: server.url })
})

afterEach(async () => {
  client.close()
  await server.close()
})

const WANDB: EventSubject = {
  apiVersion: 'run.ai/v1',
  kind: 'Credential',
  namespace: 'team-a',
  name: 'wandb',
  uid: 'uid-1',
}
const MISSING: EventContent = { type: 'Warning', reason: 'SecretNotFound', message: 'It is not there.' }
const NOW = Date.parse('2026-11-24T12:00:00Z')

function events(lost: string[] = [], now = () => NOW) {
  return createEvents({
    client,
    component: 'credential-injector-controller',
    instance: 'pod-1',
    now,
    onLost: (error) => lost.push(error.message),
  })
}

test('an event says all that kubectl describe shows', async () => {
  const sender = events()
  sender.send(WANDB, MISSING)
  await sender.flush()
  expect(server.objects('v1/events')).toMatchObject([
    {
      kind: 'Event',
      metadata: { namespace: 'team-a', name: expect.stringMatching(/^wandb\.[0-9a-f]{16}$/) },
      involvedObject: WANDB,
      ...MISSING,
      source: { component: 'credential-injector-controller' },
      reportingComponent: 'credential-injector-controller',
      reportingInstance: 'pod-1',
      firstTimestamp: '2026-11-24T12:00:00Z',
      lastTimestamp: '2026-11-24T12:00:00Z',
      count: 1,
    },
  ])
})

test('the same again counts up, also when another process says it', async () => {
  let now = NOW
  for (const sender of [events([], () => now), events([], () => now)]) {
    sender.send(WANDB, MISSING)
    sender.send(WANDB, MISSING)
    await sender.flush()
    now += 60_000
  }
  const [event, ...others] = server.objects('v1/events')
  expect(others).toEqual([])
  expect(event).toMatchObject({
    count: 4,
    firstTimestamp: '2026-11-24T12:00:00Z',
    lastTimestamp: '2026-11-24T12:01:00Z',
  })
  // There is no right to read events.
  expect(server.requests.map(({ method }) => method)).not.toContain('GET')
})

test('another reason, message or object is another event', async () => {
  const sender = events()
  sender.send(WANDB, MISSING)
  sender.send(WANDB, { ...MISSING, reason: 'KeyMissing' })
  sender.send(WANDB, { ...MISSING, message: 'other' })
  sender.send({ ...WANDB, uid: 'uid-2' }, MISSING)
  await sender.flush()
  expect(server.objects('v1/events')).toHaveLength(4)
})

test('of what belongs to the cluster it is in the namespace default', async () => {
  const sender = events()
  sender.send({ apiVersion: 'run.ai/v1', kind: 'ClusterCredential', name: 'dockerhub' }, MISSING)
  await sender.flush()
  const [event] = server.objects('v1/events') as any[]
  expect(event.metadata.namespace).toBe('default')
  expect(event.involvedObject).not.toHaveProperty('namespace')
})

test('long names and messages are cut to what the API takes', async () => {
  const sender = events()
  sender.send(
    { ...WANDB, name: `${'a'.repeat(235)}.${'b'.repeat(17)}` },
    { ...MISSING, message: 'm'.repeat(5000) },
  )
  await sender.flush()
  const [event] = server.objects('v1/events') as any[]
  expect(event.metadata.name).toMatch(/^a{235}\.[0-9a-f]{16}$/)
  expect(event.message).toHaveLength(1024)
})

test('what cannot be sent is lost, counted, and holds nobody up', async () => {
  const lost: string[] = []
  const sender = events(lost)
  server.fault('create', faults.status(403, 'Forbidden', { message: 'the namespace is being terminated' }))
  server.fault('create', faults.cut())
  for (let index = 0; index < 3; index++) sender.send(WANDB, { ...MISSING, message: `${index}` })
  await sender.flush()
  expect(lost).toEqual([expect.stringContaining('being terminated'), expect.any(String)])
  expect(server.objects('v1/events')).toHaveLength(1)
})

test('more than anybody reads are lost rather than memory', async () => {
  const lost: string[] = []
  const sender = events(lost)
  for (let index = 0; index < 1_010; index++) sender.send(WANDB, { ...MISSING, message: `${index}` })
  expect(lost).toHaveLength(10)
  expect(lost[0]).toBe('1000 events are waiting already')
  await sender.flush()
  sender.send(WANDB, MISSING)
  await sender.flush()
  expect(server.objects('v1/events')).toHaveLength(1_001)
})
