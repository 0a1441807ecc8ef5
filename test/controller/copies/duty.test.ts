/** The duty against an API server in this process: what is written, how often, and what is said of it. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createCopiesDuty } from '../../../src/controller/copies/duty.ts'
import { createCopyMetrics } from '../../../src/controller/copies/metrics.ts'
import type { Duty, DutyParts, StatusSource } from '../../../src/controller/duties.ts'
import { createControllerMetrics } from '../../../src/controller/metrics.ts'
import { watchCluster } from '../../../src/controller/watched/index.ts'
import { createKubeClient } from '../../../src/kube/client.ts'
import { loggerOn } from '../../../src/process/log.ts'
import { type FakeApiServer, startFakeApiServer } from '../../support/fake-apiserver.ts'
import { base64, CANARY } from '../../support/secrets.ts'
import { eventually } from '../../support/webhook.ts'

const OWN = 'credential-injector'
const SECRETS = 'v1/secrets'

let server: FakeApiServer
let log: string[]
let end: AbortController
let stop: () => Promise<void>
let duty: Duty & StatusSource

beforeEach(async () => {
  server = await startFakeApiServer()
  for (const name of [OWN, 'team', 'other'])
    server.put('v1/namespaces', { metadata: { name, labels: { 'kubernetes.io/metadata.name': name } } })
  server.put(SECRETS, {
    metadata: { name: 'source', namespace: OWN },
    type: 'Opaque',
    data: { TOKEN: base64(CANARY) },
  })
  server.put('run.ai/v1/clustercredentials', {
    metadata: { name: 'hub', generation: 1 },
    spec: {
      secretRef: { name: 'source' },
      type: 'environment',
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'team' } },
    },
  })
  log = []
})

afterEach(async () => {
  end.abort()
  await stop()
  await server.close()
})

async function start(client = createKubeClient({ server: server.url })): Promise<void> {
  end = new AbortController()
  const metrics = createControllerMetrics()
  const watched = watchCluster({ client, ownNamespace: OWN })
  const parts: DutyParts = {
    client,
    watched,
    events: { send() {}, flush: async () => {} },
    metrics,
    log: loggerOn({ stream: { write: (line) => void log.push(line) }, flush() {} }, 'info'),
    ownNamespace: OWN,
    isLeading: () => true,
    revisionKey: async () => Buffer.alloc(32, 1),
  }
  await watched.synced
  duty = createCopiesDuty({ ...parts, copyMetrics: createCopyMetrics(metrics.registers), onNews() {} })
  const running = duty.run(end.signal)
  stop = async () => {
    await running
    await watched.stop()
    client.close()
  }
}

const hub = () =>
  ({ kind: 'ClusterCredential', ...server.objects('run.ai/v1/clustercredentials')[0] }) as never
const writes = () =>
  server.requests.filter(({ method, path }) => method !== 'GET' && path.includes('/secrets'))

test('a copy is made with one request, and the content of its source is in nothing but that', async () => {
  await start()
  await eventually('the copy is counted', () => duty.factsOf(hub()).namespaces === 1)
  expect(writes().map(({ method, path }) => `${method} ${path}`)).toEqual([
    'POST /api/v1/namespaces/team/secrets',
  ])
  expect(log.join('')).not.toContain(CANARY)
  expect(log.join('')).not.toContain(base64(CANARY))
})

test('a copy that is changed while it is written is told of, and not written over and over', async () => {
  let count = 0
  // What a mutating webhook adds is there as soon as the object is.
  const meddle = <T>(body: object): T => {
    count++
    const secret = body as any
    return server.put(SECRETS, { ...secret, data: { ...secret.data, ADDED: base64('by a webhook') } }) as T
  }
  await start({
    ...createKubeClient({ server: server.url }),
    create: async (_path, body) => meddle(body),
    replace: async (_path, body) => meddle(body),
  })
  await eventually('it is told of', () => duty.factsOf(hub()).failedNamespaces !== undefined)
  expect(duty.factsOf(hub())).toMatchObject({
    namespaces: 0,
    failedNamespaces: [{ namespace: 'team', reason: 'CopyChanged' }],
  })
  // The watch brings what became of it, which is no reason to write it again.
  server.put('v1/namespaces', {
    metadata: { name: 'team', labels: { 'kubernetes.io/metadata.name': 'team', a: 'b' } },
  })
  server.bookmark()
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(count).toBe(1)
})
