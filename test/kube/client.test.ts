/** The client against a server that does everything wrong that a server, or what is between, can do wrong. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeCertificates } from '../../certs/make.ts'
import { createKubeClient, type KubeClient, KubeError, KubeProtocolError } from '../../src/kube/client.ts'
import { type FakeApiServer, faults, startFakeApiServer } from '../support/fake-apiserver.ts'

const NAMESPACES = '/api/v1/namespaces'
const WATCH = `${NAMESPACES}?watch=true&resourceVersion=1000`

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

async function collect(stream: AsyncGenerator<unknown>): Promise<unknown[]> {
  const events: unknown[] = []
  for await (const event of stream) events.push(event)
  return events
}

async function caught(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    (value) => Promise.reject(new Error(`it did not fail: ${JSON.stringify(value)}`)),
    (error) => error as Error,
  )
}

describe('requests', () => {
  test('create, get, replace, patch and delete', async () => {
    const made = await client.create<any>(NAMESPACES, { metadata: { name: 'a' } })
    expect(made.metadata).toMatchObject({ name: 'a', resourceVersion: '1001' })
    expect(await client.get(`${NAMESPACES}/a`)).toEqual(made)
    const replaced = await client.replace<any>(`${NAMESPACES}/a`, { ...made, spec: { x: 1 } })
    expect(replaced.spec).toEqual({ x: 1 })
    const patched = await client.patch<any>(`${NAMESPACES}/a`, 'application/merge-patch+json', {
      spec: { y: 2 },
    })
    expect(patched.spec).toEqual({ x: 1, y: 2 })
    await client.delete(`${NAMESPACES}/a`)
    expect(server.objects('v1/namespaces')).toEqual([])
  })

  test('an error is the API server’s own sentence, with its reason and the wait that it asks for', async () => {
    expect(await caught(client.get(`${NAMESPACES}/missing`))).toMatchObject({
      status: 404,
      reason: 'NotFound',
      message: 'v1/namespaces "missing" not found',
    })
    server.fault('get', faults.status(429, 'TooManyRequests', { retryAfter: 7 }))
    expect(await caught(client.get(`${NAMESPACES}/a`))).toMatchObject({ status: 429, retryAfter: 7 })
  })

  test('an error of something that is no API server is told by its beginning', async () => {
    server.fault('get', (answer) => answer.writeHead(502).end(`<html>${'x'.repeat(2000)}`))
    const error = await caught(client.get(`${NAMESPACES}/a`))
    expect(error).toMatchObject({ status: 502, reason: '' })
    expect(error.message).toHaveLength(500)
  })

  test('an answer that is not JSON is a protocol error that does not repeat it', async () => {
    server.fault('get', faults.text('{"data":"s3cr'))
    const error = await caught(client.get(`${NAMESPACES}/a`))
    expect(error).toBeInstanceOf(KubeProtocolError)
    expect(error.message).not.toContain('s3cr')
  })

  test.each([
    ['no answer', faults.nothing()],
    ['an answer without a body', faults.silence()],
    ['an answer without an end', faults.text('{"metadata":', 'open')],
  ])('%s is given up in time', async (_what, fault) => {
    server.fault('get', fault)
    expect((await caught(client.get(`${NAMESPACES}/a`, { timeout: 50 }))).message).toBe(
      'no answer from the API server in 50 ms',
    )
  })

  test.each([
    ['before the answer', faults.cut()],
    ['within the answer', faults.text('{"metadata":', 'cut')],
  ])('a connection that breaks %s rejects', async (_what, fault) => {
    server.fault('get', fault)
    expect(await caught(client.get(`${NAMESPACES}/a`))).toMatchObject({ code: 'ECONNRESET' })
  })

  test('a connection that the server closed while it was idle costs nothing', async () => {
    server.put('v1/namespaces', { metadata: { name: 'a' } })
    await client.get(`${NAMESPACES}/a`)
    // The server ends the connection when the next question is on its way.
    server.fault('get', faults.cut())
    expect(await client.get(`${NAMESPACES}/a`)).toMatchObject({ metadata: { name: 'a' } })
  })

  test('what changes something is not sent twice', async () => {
    await client.create(NAMESPACES, { metadata: { name: 'a' } })
    server.fault('create', faults.cut())
    expect(await caught(client.create(NAMESPACES, { metadata: { name: 'b' } }))).toMatchObject({
      code: 'ECONNRESET',
    })
    expect(server.requests.filter(({ verb }) => verb === 'create')).toHaveLength(2)
  })

  test('the path of the server stays in front of the API’s own', async () => {
    const below = createKubeClient({ server: `${server.url}/k8s/clusters/one/` })
    await caught(below.get(`${NAMESPACES}/a?x=1`))
    expect(server.requests[0]?.path).toBe(`/k8s/clusters/one${NAMESPACES}/a`)
    expect(server.requests[0]?.query.get('x')).toBe('1')
    below.close()
  })

  test('a signal ends it', async () => {
    const end = new AbortController()
    server.fault('get', () => end.abort())
    expect(await caught(client.get(`${NAMESPACES}/a`, { signal: end.signal }))).toMatchObject({
      name: 'AbortError',
    })
  })
})

describe('streams', () => {
  test('lines are events, however they are cut into pieces', async () => {
    server.fault('watch', (answer) => {
      answer.write('{"type":"ADDED","object":{"na')
      setImmediate(() => {
        answer.write(Buffer.from('me":"ä').subarray(0, 6))
        setImmediate(() =>
          answer.end(Buffer.concat([Buffer.from('ä').subarray(1), Buffer.from('"}}\r\n\n{"type":"X"}\n')])),
        )
      })
    })
    expect(await collect(client.stream(WATCH))).toEqual([
      { type: 'ADDED', object: { name: 'ä' } },
      { type: 'X' },
    ])
  })

  test('an ERROR event is thrown like an answer with that status', async () => {
    server.compact('event')
    const error = await caught(collect(client.stream(WATCH)))
    expect(error).toBeInstanceOf(KubeError)
    expect(error).toMatchObject({ status: 410, reason: 'Expired', message: 'too old resource version' })
  })

  test.each([
    ['between two lines', '{"type":"X"}\n'],
    ['within a line', '{"type":'],
  ])('a connection that breaks %s throws', async (_what, text) => {
    server.fault('watch', faults.text(text, 'cut'))
    expect(await caught(collect(client.stream(WATCH)))).toMatchObject({ code: 'ECONNRESET' })
  })

  test('half a line at the end throws', async () => {
    server.fault('watch', faults.text('{"type":"X"}\n{"type":"Y"}'))
    expect((await caught(collect(client.stream(WATCH)))).message).toBe('the connection ended within an event')
  })

  test('a line that is not JSON is a protocol error', async () => {
    server.fault('watch', faults.text('{"type":\n'))
    expect(await caught(collect(client.stream(WATCH)))).toBeInstanceOf(KubeProtocolError)
  })

  test('a line without an end is given up', async () => {
    const piece = 'x'.repeat(1024 * 1024)
    server.fault('watch', (answer) => {
      answer.writeHead(200)
      const more = (error?: Error | null) => {
        if (!error) answer.write(piece, more)
      }
      more()
    })
    expect((await caught(collect(client.stream(WATCH)))).message).toContain('characters')
  })

  test('leaving the loop closes the connection', async () => {
    server.put('v1/namespaces', { metadata: { name: 'a' } })
    for await (const event of client.stream(WATCH)) {
      expect(event).toMatchObject({ type: 'ADDED' })
      break
    }
    for (const watch of server.watches)
      if (!watch.closed) await new Promise((resolve) => watch.once('close', resolve))
    expect(server.watches.size).toBe(0)
  })
})

describe('over TLS', () => {
  test('the server must be known, unless any will do', async () => {
    const { ca, cert, key } = await makeCertificates()
    const secure = await startFakeApiServer({ tls: { cert, key } })
    const ask = async (access: object) => {
      const one = createKubeClient({ server: secure.url, ...access })
      try {
        return await one.get<any>(NAMESPACES)
      } finally {
        one.close()
      }
    }
    expect(await ask({ ca })).toMatchObject({ kind: 'List' })
    expect(await ask({ insecure: true })).toMatchObject({ kind: 'List' })
    expect(await ask({ ca, serverName: 'localhost' })).toMatchObject({ kind: 'List' })
    expect((await caught(ask({}))).message).toMatch(/certificate/)
    expect((await caught(ask({ ca, serverName: 'elsewhere' }))).message).toMatch(/altname/)
    await secure.close()
  })

  test('a client certificate is shown', async () => {
    const { ca, cert, key } = await makeCertificates()
    const secure = await startFakeApiServer({ tls: { cert, key }, asksForCertificates: true })
    const one = createKubeClient({ server: secure.url, ca, cert, key })
    const nobody = createKubeClient({ server: secure.url, ca })
    await one.get(NAMESPACES)
    await nobody.get(NAMESPACES)
    expect(secure.requests.map(({ hasCertificate }) => hasCertificate)).toEqual([true, false])
    one.close()
    nobody.close()
    await secure.close()
  })
})
