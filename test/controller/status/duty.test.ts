/** The loop against an API server in this process: what it reads, what it writes, and what it leaves alone. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CredentialStatus } from '../../../src/api/status.ts'
import { createControllerMetrics } from '../../../src/controller/metrics.ts'
import { countCredentials, createStatusDuty, type StatusDuty } from '../../../src/controller/status/duty.ts'
import { revisionKey } from '../../../src/controller/status/revision-key.ts'
import { type Watched, watchCluster } from '../../../src/controller/watched/index.ts'
import { createKubeClient, type KubeClient } from '../../../src/kube/client.ts'
import { createEvents } from '../../../src/kube/events.ts'
import { loggerOn } from '../../../src/process/log.ts'
import {
  type FakeApiServer,
  type FakeRequest,
  faults,
  startFakeApiServer,
} from '../../support/fake-apiserver.ts'
import { base64, CANARY } from '../../support/secrets.ts'

const OWN = 'credential-injector'
const TEAM = 'team-a'

let server: FakeApiServer
const instances: Instance[] = []

beforeEach(async () => {
  server = await startFakeApiServer()
})

afterEach(async () => {
  for (const instance of instances.splice(0)) await instance.stop()
  await server.close()
})

interface Instance {
  readonly duty: StatusDuty
  readonly watched: Watched
  readonly log: string[]
  readonly metrics: ReturnType<typeof createControllerMetrics>
  /** Rejects if the duty cannot be done. */
  readonly running: Promise<void>
  flush(): Promise<void>
  stop(): Promise<void>
}

async function start({ isLeading = (): boolean => true, now = Date.now } = {}): Promise<Instance> {
  const client: KubeClient = createKubeClient({ server: server.url })
  const log: string[] = []
  const metrics = createControllerMetrics()
  const logger = loggerOn({ stream: { write: (line) => void log.push(line) }, flush() {} }, 'info')
  const events = createEvents({
    client,
    component: 'c',
    instance: 'i',
    onSent: ({ type }) => metrics.eventSent(type),
  })
  const watched = watchCluster({ client, ownNamespace: OWN })
  const duty = createStatusDuty({
    client,
    watched,
    events,
    metrics,
    log: logger,
    ownNamespace: OWN,
    isLeading,
    revisionKey: (signal) => revisionKey({ client, namespace: OWN, signal, onFailure() {} }),
    now,
  })
  watched.subscribe({ credential: duty.changed })
  metrics.credentials(() => countCredentials(watched.credentials()))
  await watched.synced
  const end = new AbortController()
  const running = duty.run(end.signal)
  running.catch(() => {})
  const instance = {
    duty,
    watched,
    log,
    metrics,
    running,
    flush: () => events.flush(),
    async stop() {
      end.abort()
      await running.catch(() => {})
      await watched.stop()
      client.close()
    },
  }
  instances.push(instance)
  return instance
}

function putCredential(name: string, spec: object = {}, generation = 1) {
  const before = server.objects('run.ai/v1/credentials').find(({ metadata }) => metadata.name === name)
  return server.put('run.ai/v1/credentials', {
    ...before,
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { ...before?.metadata, name, namespace: TEAM, generation },
    spec: { secretRef: { name }, type: 'environment', ...spec },
  })
}

function putSecret(name: string, values: Record<string, string>, namespace = TEAM) {
  const data = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, base64(value)]))
  server.put('v1/secrets', { metadata: { name, namespace }, type: 'Opaque', data })
}

const statusOf = (name: string, kind = 'credentials') =>
  server.objects(`run.ai/v1/${kind}`).find(({ metadata }) => metadata.name === name)?.status as
    | CredentialStatus
    | undefined

const isWrite = ({ verb, path }: FakeRequest) => verb === 'patch' && path.endsWith('/status')
const isContentRead = ({ verb, path, headers }: FakeRequest) =>
  verb === 'get' &&
  path.includes(`/namespaces/${TEAM}/secrets/`) &&
  !String(headers.accept).includes('Partial')
const count = (check: (request: FakeRequest) => boolean) => server.requests.filter(check).length

/** A write whose status has this reason of Ready; those that were there already count. */
const written = (name: string, reason: string, from = 0) =>
  server.received(
    (request) =>
      isWrite(request) &&
      server.requests.indexOf(request) >= from &&
      request.path.includes(`/${name}/`) &&
      request.body.status.conditions?.[0].reason === reason,
  )

test('a credential becomes ready when its secret comes', async () => {
  const { duty } = await start()
  putCredential('wandb')
  await written('wandb', 'SecretNotFound')
  putSecret('wandb', { B: 'b', A: 'a' })
  await written('wandb', 'SecretFound')
  await duty.idle()
  expect(statusOf('wandb')).toMatchObject({ observedGeneration: 1, keys: ['A', 'B'] })
  server.remove('v1/secrets', 'wandb', TEAM)
  await server.received(() => statusOf('wandb')?.conditions?.[0]?.reason === 'SecretNotFound')
  expect(statusOf('wandb')).not.toHaveProperty('keys')
})

test('the secret of a ClusterCredential is in the injector’s own namespace', async () => {
  putSecret('hub', { A: 'a' }, OWN)
  await start()
  server.put('run.ai/v1/clustercredentials', {
    metadata: { name: 'hub', generation: 1 },
    spec: { secretRef: { name: 'hub' }, type: 'environment' },
  })
  await written('hub', 'SecretFound')
  const read = await server.received(({ path }) => path === `/api/v1/namespaces/${OWN}/secrets/hub`)
  expect(read.verb).toBe('get')
})

describe('nothing is written, and no secret read, when nothing has changed', () => {
  test('however often everything is looked at again', async () => {
    for (let index = 0; index < 20; index++) {
      putCredential(`c${index}`)
      if (index % 2 === 0) putSecret(`c${index}`, { A: index % 4 === 0 ? '<api-key>' : 'a' })
    }
    const { duty, watched, flush } = await start()
    await duty.idle()
    await flush()
    const [writes, reads, events] = [count(isWrite), count(isContentRead), server.objects('v1/events').length]
    expect([writes, reads, events]).toEqual([20, 10, 5])
    for (let round = 0; round < 50; round++) {
      for (const key of watched.keys()) duty.changed(key)
      await duty.idle()
    }
    await flush()
    expect([count(isWrite), count(isContentRead), server.objects('v1/events').length]).toEqual([20, 10, 5])
  })

  test('after a new start, though every named secret is read once', async () => {
    putCredential('a')
    putCredential('b')
    putSecret('a', { A: '<api-key>' })
    const first = await start()
    await first.duty.idle()
    await first.flush()
    const before = [statusOf('a'), statusOf('b')]
    await instances.splice(0)[0]?.stop()
    const second = await start()
    await second.duty.idle()
    await second.flush()
    expect([statusOf('a'), statusOf('b')]).toEqual(before)
    expect(count(isWrite)).toBe(2)
    expect(count(isContentRead)).toBe(2)
    expect(server.objects('v1/events')).toMatchObject([{ count: 1 }])
  })
})

describe('secrets', () => {
  test('are watched as metadata only, and read only if a credential names them', async () => {
    putCredential('named')
    for (let index = 0; index < 30; index++) putSecret(`other${index}`, { A: CANARY })
    putSecret('named', { A: CANARY })
    const { duty } = await start()
    await duty.idle()
    const asked = server.requests.filter(({ path }) => path === '/api/v1/secrets')
    expect(asked.length).toBeGreaterThanOrEqual(2)
    for (const { headers } of asked) expect(headers.accept).toMatch(/as=PartialObjectMetadata/)
    expect(server.requests.filter(isContentRead).map(({ path }) => path)).toEqual([
      `/api/v1/namespaces/${TEAM}/secrets/named`,
    ])
  })

  test('are read again when they change, or what is asked of them', async () => {
    putCredential('a')
    putSecret('a', { A: 'a' })
    const { duty } = await start()
    await duty.idle()
    const first = statusOf('a')
    putSecret('a', { A: 'b' })
    await server.received(() => count(isContentRead) === 2)
    await duty.idle()
    expect(statusOf('a')?.revision).not.toBe(first?.revision)
    expect(statusOf('a')?.lastRotated).toBeDefined()
    putCredential('a', { variables: [{ name: 'B' }] }, 2)
    await written('a', 'KeyMissing')
    expect(count(isContentRead)).toBe(3)
  })

  test('that two credentials name concern both', async () => {
    putCredential('a', { secretRef: { name: 'shared' } })
    putCredential('b', { secretRef: { name: 'shared' } })
    const { duty } = await start()
    await duty.idle()
    putSecret('shared', { A: 'a' })
    await written('a', 'SecretFound')
    await written('b', 'SecretFound')
  })

  test('that a credential does not name any more are forgotten', async () => {
    putCredential('a')
    putSecret('a', { A: 'a' })
    const { duty } = await start()
    await duty.idle()
    putCredential('a', { secretRef: { name: 'b' } }, 2)
    await written('a', 'SecretNotFound')
    const reads = count(isContentRead)
    putSecret('a', { A: 'c' })
    putSecret('b', { A: 'b' })
    await written('a', 'SecretFound', server.requests.length)
    expect(count(isContentRead)).toBe(reads + 1)
  })
})

describe('what goes wrong', () => {
  test('a conflict: what is there now is looked at', async () => {
    putSecret('a', { A: 'a' })
    const { duty, metrics, log } = await start()
    server.fault('patch', faults.status(409, 'Conflict'))
    putCredential('a')
    await server.received(() => count(isWrite) === 2)
    await duty.idle()
    expect(statusOf('a')?.conditions?.[0]?.reason).toBe('SecretFound')
    expect(await metrics.text()).toContain('controller_reconciles_total{result="conflict"} 1\n')
    expect(log).toEqual([])
  })

  test('a status that somebody wrote meanwhile is not written over', async () => {
    putSecret('a', { A: 'a' })
    const { duty } = await start()
    server.fault('patch', (_answer, _request, goOn) => {
      const found = server.objects('run.ai/v1/credentials')[0] as never as {
        status?: object
        metadata: never
      }
      server.put('run.ai/v1/credentials', { ...found, status: { usedBy: { pods: 3, workloads: 1 } } })
      goOn()
    })
    putCredential('a')
    await server.received(() => count(isWrite) === 2)
    await duty.idle()
    expect(statusOf('a')).toMatchObject({ usedBy: { pods: 3 }, keys: ['A'] })
  })

  test('an error is tried again, named in the log and counted', async () => {
    putSecret('a', { A: CANARY })
    const { duty, metrics, log } = await start()
    server.fault(
      'get',
      faults.status(403, 'Forbidden', { message: 'no right' }),
      '/api/v1/namespaces/team-a/secrets',
    )
    putCredential('a')
    await written('a', 'SecretFound')
    await duty.idle()
    expect(log.map((line) => JSON.parse(line))).toMatchObject([
      { credential: 'Credential/team-a/a', problem: 'no right' },
    ])
    expect(await metrics.text()).toContain('controller_api_errors_total{during="reconcile"} 1\n')
  })

  test('a credential that goes while it is looked at', async () => {
    putSecret('a', { A: 'a' })
    const { duty, metrics } = await start()
    server.fault('patch', (_answer, _request, goOn) => {
      server.remove('run.ai/v1/credentials', 'a', TEAM)
      goOn()
    })
    putCredential('a')
    await server.received(isWrite)
    await duty.idle()
    expect(await metrics.text()).toContain('controller_reconciles_total{result="error"} 0\n')
  })

  test('who does not lead writes nothing', async () => {
    putCredential('a')
    let leads = false
    const { metrics } = await start({ isLeading: () => leads })
    const errors = async () => /reconciles_total\{result="error"\} (\d+)/.exec(await metrics.text())?.[1]
    while ((await errors()) === '0') await new Promise((resolve) => setImmediate(resolve))
    expect(count(isWrite)).toBe(0)
    leads = true
    await written('a', 'SecretNotFound')
  })

  test('a key of revisions that cannot be used ends the duty with a sentence', async () => {
    server.put('v1/secrets', {
      metadata: { name: 'credential-injector-revision-key', namespace: OWN },
      data: { key: base64('short') },
    })
    const { running } = await start()
    await expect(running).rejects.toThrow(/has no key of 32 bytes under "key": put the old one back/)
    expect(count(isWrite)).toBe(0)
  })
})

describe('the key of revisions', () => {
  test('is made once, and the same for all', async () => {
    putCredential('a')
    putSecret('a', { A: 'a' })
    const both = await Promise.all([start(), start()])
    for (const { duty } of both) await duty.idle()
    const keys = server.objects('v1/secrets').filter(({ metadata }) => metadata.namespace === OWN)
    expect(keys).toHaveLength(1)
    const { data } = keys[0] as never as { data: { key: string } }
    expect(Buffer.from(data.key, 'base64')).toHaveLength(32)
    const revision = statusOf('a')?.revision
    for (const instance of instances.splice(0)) await instance.stop()
    const { duty } = await start()
    await duty.idle()
    expect(statusOf('a')?.revision).toBe(revision)
  })
})

test('time alone: a missing secret is missed aloud after its grace, and a credential expires', async () => {
  let now = Date.parse('2026-11-24T12:00:00Z')
  const { duty, flush } = await start({ now: () => now })
  putCredential('missing')
  putSecret('expiring', { A: 'a' })
  putCredential('expiring', { expiresAt: '2026-11-24T12:00:01Z' })
  await written('missing', 'SecretNotFound')
  await written('expiring', 'SecretFound')
  await duty.idle()
  // Timers run on real time: half a second before both.
  now += 60_000
  await written('expiring', 'Expired')
  duty.changed('Credential/team-a/missing')
  await duty.idle()
  await flush()
  const reasons = server.objects('v1/events').map((event) => (event as never as { reason: string }).reason)
  expect(reasons.sort()).toEqual(['Expired', 'ExpiresSoon', 'SecretNotFound'])
})

test('metrics say how many credentials are in which state, with few labels', async () => {
  putCredential('a')
  putCredential('b')
  putSecret('b', { A: '' })
  server.put('run.ai/v1/credentials', {
    ...putCredential('odd'),
    status: { conditions: [{ type: 'Ready', status: 'False', reason: CANARY }] },
  })
  const { duty, metrics } = await start()
  await duty.idle()
  const text = await metrics.text()
  expect(text).toContain(
    'controller_credentials{kind="Credential",ready="SecretNotFound",healthy="Unknown"} 2\n',
  )
  expect(text).toContain('controller_credentials{kind="Credential",ready="SecretFound",healthy="False"} 1\n')
  expect(text).not.toContain(CANARY)
})
