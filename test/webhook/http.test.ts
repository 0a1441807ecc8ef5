/** What the webhook answers, with status, headers and body, to everything that may arrive. */
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMemoryStore } from '../../src/store/memory.ts'
import { type Answer, type PostOptions, podAsking, reviewOf } from '../support/client.ts'
import { openSocket } from '../support/socket.ts'
import { type OpenWebhook, openWebhook } from '../support/webhook.ts'

const memory = createMemoryStore()
memory.put({
  kind: 'Credential',
  namespace: 'team',
  name: 'wandb',
  spec: { secretRef: { name: 'wandb-secret' }, type: 'environment' },
})
memory.put({
  kind: 'Secret',
  namespace: 'team',
  name: 'wandb-secret',
  type: 'Opaque',
  keys: ['WANDB_API_KEY'],
})

const FAULTY = 'a-namespace-that-makes-the-engine-fail'
const store: typeof memory = {
  ...memory,
  view(namespace) {
    if (namespace === FAULTY) throw new Error('invented fault')
    return memory.view(namespace)
  },
}

let webhook: OpenWebhook
beforeAll(async () => {
  webhook = await openWebhook({ store })
})
afterAll(() => webhook.close())

const GOOD = JSON.stringify(reviewOf(podAsking('wandb'), 'team'))
const reviewWith = (request: object, review: object = {}) => {
  const whole = reviewOf(podAsking('wandb'), 'team')
  return JSON.stringify({ ...whole, ...review, request: { ...whole.request, ...request } })
}

async function expectStillGood(client = webhook.client): Promise<void> {
  const answer = await client.post(GOOD)
  expect(answer.status).toBe(200)
  expect(answer.json().response).toMatchObject({ allowed: true, patchType: 'JSONPatch' })
}

function expectStatus(answer: Answer, status: number, reason: string, message: RegExp): void {
  expect(answer.status).toBe(status)
  expect(answer.headers['content-type']).toMatch(/^application\/json/)
  const body = answer.json()
  expect(body).toEqual({
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code: status,
    reason,
    message: expect.stringMatching(message),
  })
}

describe('what is no review is refused with a Status that says what was expected', () => {
  type Refusal = [what: string, body: string, PostOptions, status: number, reason: string, message: RegExp]
  const BAD = ['BadRequest', /^Expected an AdmissionReview of admission\.k8s\.io\/v1 or v1beta1/] as const
  const refusals: Refusal[] = [
    [
      'another path',
      GOOD,
      { path: '/mutate/nodes' },
      404,
      'NotFound',
      /^There is nothing at \/mutate\/nodes\. Expected POST \/mutate\/pods/,
    ],
    [
      'another method',
      '',
      { method: 'GET' },
      405,
      'MethodNotAllowed',
      /^\/mutate\/pods takes POST, not GET\.$/,
    ],
    [
      'a body for /healthz',
      GOOD,
      { path: '/healthz' },
      405,
      'MethodNotAllowed',
      /takes GET or HEAD, not POST/,
    ],
    [
      'a path that cannot be decoded',
      GOOD,
      { path: '/%zz' },
      400,
      'BadRequest',
      /its path cannot be decoded/,
    ],
    [
      'YAML',
      GOOD,
      { headers: { 'content-type': 'application/yaml' } },
      415,
      'UnsupportedMediaType',
      /got application\/yaml/,
    ],
    [
      'JSON of another kind',
      GOOD,
      { headers: { 'content-type': 'application/jsonlines' } },
      415,
      'UnsupportedMediaType',
      /application\/json;/,
    ],
    [
      'a compressed body',
      GOOD,
      { headers: { 'content-encoding': 'gzip' } },
      415,
      'UnsupportedMediaType',
      /content encoding gzip/,
    ],
    ['nothing', '', {}, 400, 'BadRequest', /the body, 0 bytes, is not JSON/],
    ['no JSON', '{"kind":', {}, 400, 'BadRequest', /the body, 8 bytes, is not JSON/],
    ['a list', '[]', {}, 400, ...BAD],
    ['null', 'null', {}, 400, ...BAD],
    ['another kind', reviewWith({}, { kind: 'TokenReview' }), {}, 400, ...BAD],
    ['another version', reviewWith({}, { apiVersion: 'admission.k8s.io/v2' }), {}, 400, ...BAD],
    ['no request', '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', {}, 400, ...BAD],
    ['no uid', reviewWith({ uid: '' }), {}, 400, ...BAD],
    ['no pod', reviewWith({ object: null }), {}, 400, ...BAD],
    ['no namespace', reviewWith({ namespace: '' }), {}, 400, ...BAD],
    [
      'a namespace that can be none, of something else',
      reviewWith({ namespace: 'x'.repeat(5000), operation: 'UPDATE' }),
      {},
      400,
      ...BAD,
    ],
    ['a namespace that can be none', reviewWith({ namespace: 'x'.repeat(5000) }), {}, 400, ...BAD],
    [
      'a pod whose containers are a text',
      reviewWith({ object: { spec: { containers: 'x' } } }),
      {},
      400,
      'BadRequest',
      /^Expected a pod that follows the Kubernetes API/,
    ],
    [
      'a pod whose annotations are numbers',
      reviewWith({ object: { metadata: { annotations: { a: 1 } }, spec: {} } }),
      {},
      400,
      'BadRequest',
      /^Expected a pod that follows/,
    ],
  ]
  test.each(refusals)('%s', async (_, body, options, status, reason, message) => {
    expectStatus(await webhook.client.post(body, options), status, reason, message)
    await expectStillGood()
  })

  test('405 names the methods that there are', async () => {
    expect((await webhook.client.post('', { method: 'PUT' })).headers.allow).toBe('POST')
    expect((await webhook.client.post('', { method: 'DELETE', path: '/readyz' })).headers.allow).toBe(
      'GET, HEAD',
    )
  })

  test('nothing of a body is repeated', async () => {
    const answer = await webhook.client.post('{"stringData":{"key":"invented-value"')
    expect(answer.status).toBe(400)
    expect(answer.text).not.toContain('invented-value')
  })

  test('a content type with parameters is taken, none at all is not', async () => {
    const options = { headers: { 'content-type': 'application/json; charset=utf-8' } }
    expect((await webhook.client.post(GOOD, options)).status).toBe(200)
    const socket = await openSocket(webhook)
    socket.write('POST /mutate/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}')
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 415 [\s\S]*none was given/)
  })
})

async function bytesInFlight({ metrics }: OpenWebhook): Promise<number> {
  return Number(/large_reviews_in_flight_bytes (\d+)/.exec(await metrics.text())?.[1])
}

describe('too large and too much', () => {
  const SEVEN_MIB = 7 * 1024 * 1024

  test('more than 7 MiB by its own account', async () => {
    const answer = await webhook.client.post(Buffer.alloc(SEVEN_MIB + 1, ' '))
    expectStatus(answer, 413, 'RequestEntityTooLarge', /at most 7 MiB/)
    await expectStillGood()
  })

  test('more than 7 MiB in pieces of unknown number', async () => {
    const socket = await openSocket(webhook)
    socket.write(
      'POST /mutate/pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n',
    )
    const mebibyte = `100000\r\n${' '.repeat(1024 * 1024)}\r\n`
    for (let count = 0; count < 8; count++) socket.write(mebibyte)
    socket.write('0\r\n\r\n')
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 413 /)
    await expectStillGood()
  })

  test('7 MiB exactly are judged', async () => {
    const padded = GOOD + ' '.repeat(SEVEN_MIB - GOOD.length)
    expect((await webhook.client.post(padded)).json().response.allowed).toBe(true)
  })

  test('large reviews beyond the limit wait a second, small ones pass, and what was taken is given back', async () => {
    const small = await openWebhook({ store, largeBodiesInFlight: 150_000 })
    const padding = ' '.repeat(100_000)
    const socket = await openSocket(small)
    const length = GOOD.length + padding.length
    socket.write(
      `POST /mutate/pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n${padding}`,
    )
    while ((await bytesInFlight(small)) < padding.length) await new Promise(setImmediate)

    const refused = await small.client.post(GOOD + padding)
    expectStatus(refused, 503, 'ServiceUnavailable', /^Too many large reviews at once/)
    expect(refused.headers['retry-after']).toBe('1')
    await expectStillGood(small.client)

    socket.write(GOOD)
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /)
    expect((await small.client.post(GOOD + padding)).status).toBe(200)
    expect(await bytesInFlight(small)).toBe(0)
    await small.close()
  })

  test('a client that goes away in the middle gives back what it took', async () => {
    const small = await openWebhook({ store, largeBodiesInFlight: 150_000 })
    const socket = await openSocket(small)
    socket.write(
      `POST /mutate/pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 140000\r\n\r\n${' '.repeat(100_000)}`,
    )
    while ((await bytesInFlight(small)) < 100_000) await new Promise(setImmediate)
    socket.destroy()
    while ((await bytesInFlight(small)) > 0) await new Promise(setImmediate)
    await small.close()
  })
})

test.each(['TLSv1', 'TLSv1.1'] as const)('older TLS is refused: %s', async (maxVersion) => {
  const { hostname, port } = new URL(webhook.url)
  // The client would speak it: without this, its own library refuses.
  const ciphers = 'DEFAULT@SECLEVEL=0'
  const old = connect({
    host: hostname,
    port: Number(port),
    ca: webhook.ca,
    minVersion: 'TLSv1',
    maxVersion,
    ciphers,
  })
  await expect(once(old, 'secureConnect')).rejects.toThrow(/alert protocol version/)
  await expectStillGood()
})

describe('what is not HTTP', () => {
  test.each([
    ['words', 'hello\r\n\r\n', 400],
    ['a plain body', `${GOOD}\r\n\r\n`, 400],
    ['endless headers', `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    [
      'two lengths',
      'POST /mutate/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}',
      400,
    ],
  ])('%s', async (_, bytes, status) => {
    const socket = await openSocket(webhook)
    socket.write(bytes)
    const answer = await text(socket)
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(JSON.parse(answer.split('\r\n\r\n')[1] as string)).toMatchObject({ kind: 'Status', code: status })
    await expectStillGood()
  })
})

describe('reviews', () => {
  test.each(['admission.k8s.io/v1', 'admission.k8s.io/v1beta1'])(
    '%s is answered in kind',
    async (apiVersion) => {
      const uid = 'an-uid-with-"quotes"'
      const answer = await webhook.client.post(reviewWith({ uid }, { apiVersion }))
      const body = answer.json()
      expect(Object.keys(body)).toEqual(['kind', 'apiVersion', 'response'])
      expect(body).toMatchObject({
        kind: 'AdmissionReview',
        apiVersion,
        response: { uid, allowed: true, patchType: 'JSONPatch' },
      })
      expect(JSON.parse(Buffer.from(body.response.patch, 'base64').toString())).toContainEqual({
        op: 'add',
        path: '/spec/containers/0/envFrom',
        value: [{ secretRef: { name: 'wandb-secret' } }],
      })
      expect(body.response.auditAnnotations).toEqual({ credentials: 'Credential/wandb', outcome: 'Injected' })
    },
  )

  test('a refusal lists everything that is wrong, for people and for programs', async () => {
    const answer = await webhook.client.post(reviewWith({ object: podAsking('wandbb, nope') }))
    const { response } = answer.json()
    expect(answer.status).toBe(200)
    expect(response).toMatchObject({
      allowed: false,
      status: { status: 'Failure', code: 403, reason: 'Forbidden' },
    })
    expect(response.status.message).toContain('2 problems')
    expect(response.status.message).toContain('did you mean "wandb"?')
    expect(response.status.details.causes).toHaveLength(2)
    expect(response).not.toHaveProperty('patch')
    expect(response.auditAnnotations.outcome).toBe('Denied')
  })

  test.each([
    ['an update', { operation: 'UPDATE' }],
    ['a deletion without a pod', { operation: 'DELETE', object: null }],
    ['a sub-resource', { subResource: 'status' }],
    ['a pod of another group', { resource: { group: 'other.example', version: 'v1', resource: 'pods' } }],
    ['another kind', { kind: { group: 'apps', version: 'v1', kind: 'Deployment' } }],
  ])('%s is let through', async (_, request) => {
    const { response } = (await webhook.client.post(reviewWith(request))).json()
    expect(response).toEqual({
      uid: expect.any(String),
      allowed: true,
      auditAnnotations: { outcome: 'NotAPodCreate' },
    })
  })

  test('the namespace is the request’s, whatever the pod says', async () => {
    const elsewhere = { object: podAsking('wandb', { namespace: 'team' }), namespace: 'other' }
    expect((await webhook.client.post(reviewWith(elsewhere))).json().response.allowed).toBe(false)
  })
})

describe('an engine that fails', () => {
  test('fails one review, alone among those that came with it, and is counted and logged', async () => {
    const bodies = Array.from({ length: 20 }, (_, index) =>
      index % 5 === 2 ? reviewWith({ namespace: FAULTY, uid: `uid-${index}` }) : GOOD,
    )
    const answers = await Promise.all(bodies.map((body) => webhook.client.post(body)))
    for (const [index, answer] of answers.entries()) {
      if (index % 5 !== 2) expect(answer.json().response.allowed).toBe(true)
      else expectStatus(answer, 500, 'InternalError', new RegExp(`its log tells why, at uid uid-${index}\\.`))
    }
    expect(await webhook.metrics.text()).toContain('credential_injector_crashes_total 4')
    const lines = webhook.log().filter(({ level }) => level === 'error')
    expect(lines).toHaveLength(4)
    expect(lines[0]).toMatchObject({ problem: 'invented fault', msg: expect.stringMatching(/^BUG/) })
  })
})

describe('connections', () => {
  test('are kept, and given up after a thousand reviews so that a new replica has its share', async () => {
    const fresh = await openWebhook({ store })
    let closes = 0
    for (let count = 0; count < 1100; count++) {
      const answer = await fresh.client.post(GOOD)
      expect(answer.status).toBe(200)
      if (answer.headers.connection === 'close') closes++
    }
    expect(closes).toBe(1)
    await fresh.close()
  })

  test('are said to end, while reviews are answered as before, once the end is near', async () => {
    const lifecycle = { phase: 'ready' as 'ready' | 'closing', lameDuck: 300 }
    const ending = await openWebhook({ store, lifecycle })
    expect((await ending.client.post('', { method: 'GET', path: '/readyz' })).status).toBe(200)
    lifecycle.phase = 'closing'
    const closed = ending.close()
    const late = await openSocket(ending)
    late.write('GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await text(late)).toMatch(/^HTTP\/1\.1 503 [\s\S]*connection: close/i)
    const review = await openSocket(ending)
    review.write(
      `POST /mutate/pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${GOOD.length}\r\n\r\n${GOOD}`,
    )
    expect(await text(review)).toMatch(/^HTTP\/1\.1 200 [\s\S]*connection: close[\s\S]*"allowed":true/i)
    await closed
  })
})

describe('what is told', () => {
  test('the log has one line for each pod that is injected or denied, with names and nothing of the pod’s own', async () => {
    const told = await openWebhook({ store })
    const pod = podAsking('wandb', { ownerReferences: [{ kind: 'Job', name: 'nightly', controller: true }] })
    pod.spec.containers[0] = {
      ...pod.spec.containers[0],
      env: [{ name: 'TOKEN', value: 'invented-value' }],
    } as never
    await told.client.post(reviewWith({ object: pod }))
    await told.client.post(reviewWith({ object: podAsking('nope') }))
    await told.client.post(reviewWith({ object: { ...podAsking(''), metadata: {} } }))
    expect(told.log()).toEqual([
      expect.objectContaining({
        level: 'info',
        msg: 'injected',
        namespace: 'team',
        name: 'train',
        owner: 'Job/nightly',
        credentials: ['Credential/wandb: environment'],
      }),
      expect.objectContaining({
        level: 'info',
        msg: 'denied',
        namespace: 'team',
        name: 'train',
        reasons: ['CredentialNotFound'],
      }),
    ])
    expect(JSON.stringify(told.log())).not.toContain('invented-value')
    const metrics = await told.metrics.text()
    for (const [outcome, count] of [
      ['Injected', 1],
      ['Denied', 1],
      ['NotAnnotated', 1],
      ['PatchDropped', 0],
    ])
      expect(metrics).toContain(`credential_injector_reviews_total{outcome="${outcome}"} ${count}`)
    expect(metrics).toContain('credential_injector_denials_total{reason="CredentialNotFound"} 1')
    expect(metrics).toContain('credential_injector_review_duration_seconds_count 3')
    await told.close()
  })
})
