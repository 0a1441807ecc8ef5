/** The program as a process, under steady load: what may change beneath it, and its end, without a failed request. */
import { appendFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { makeCertificates, writeCertificates } from '../../certs/make.ts'
import { type ApiServerClient, apiServerClient, podAsking, reviewOf } from '../support/client.ts'
import { type RunningServer, startServer, writeFolder } from '../support/server.ts'
import { openSocket } from '../support/socket.ts'
import { eventually } from '../support/webhook.ts'

const credential = (name: string, key: string) => `apiVersion: run.ai/v1
kind: Credential
metadata: { name: ${name}, namespace: default }
spec: { secretRef: { name: ${name}-secret }, type: environment, variables: [{ name: ${key} }] }
---
apiVersion: v1
kind: Secret
metadata: { name: ${name}-secret, namespace: default }
stringData: { ${key}: invented-value }
`
const CATALOG = { 'steady.yaml': credential('steady', 'STEADY') }

const opened: { stop(): unknown }[] = []
afterEach(async () => {
  for (const one of opened.splice(0)) await one.stop()
})

async function start(catalog: string, flags: string[] = []): Promise<RunningServer> {
  const server = await startServer(catalog, ['--shutdown-delay', '1', ...flags])
  opened.push({ stop: () => server.signal('SIGKILL') })
  return server
}

function clientOf(server: RunningServer, ca = server.ca): ApiServerClient {
  const client = apiServerClient({ url: server.url, ca })
  opened.push({ stop: () => client.close() })
  return client
}

/** As many pods at a time as an API server has connections, one after the other, until it is stopped. */
function steadyLoad(client: ApiServerClient) {
  const body = JSON.stringify(reviewOf(podAsking('steady')))
  const load = { injected: 0, toldToClose: 0, failures: [] as string[] }
  let isRunning = true
  const lane = async () => {
    while (isRunning) {
      try {
        const answer = await client.post(body)
        if (answer.headers.connection === 'close') load.toldToClose++
        if (answer.status === 200 && answer.json().response.patch) load.injected++
        else load.failures.push(`${answer.status} ${answer.text}`)
      } catch (error) {
        load.failures.push(String(error))
      }
    }
  }
  const lanes = Promise.all(Array.from({ length: 25 }, lane))
  return {
    load,
    async stop() {
      isRunning = false
      await lanes
      expect(load.failures.slice(0, 3)).toEqual([])
      expect(load.injected).toBeGreaterThan(25)
    },
  }
}

const metricsOf = async ({ metricsUrl }: RunningServer) => (await fetch(metricsUrl)).text()
const readiness = async ({ metricsUrl }: RunningServer) => {
  // As a kubelet's probe: a connection of its own.
  const answer = await fetch(new URL('/readyz', metricsUrl), { headers: { connection: 'close' } })
  return answer.status
}

describe('the end', () => {
  test('SIGTERM: unready first, every review answered and told to go elsewhere, then exit code 0', async () => {
    const server = await start(writeFolder(CATALOG), ['--shutdown-delay', '5'])
    const { load, stop } = steadyLoad(clientOf(server))
    await eventually('load', () => load.injected > 200)
    expect(await readiness(server)).toBe(200)
    server.signal('SIGTERM')
    await eventually('not ready', async () => (await readiness(server)) === 503)
    const told = load.toldToClose
    await eventually('answers that say goodbye', () => load.toldToClose > told + 50)
    await stop()
    await eventually(
      'no new connections',
      async () =>
        await openSocket(server).then(
          (late) => void late.destroy(),
          () => true,
        ),
    )
    // It has waited its delay once, and does not wait for it again on its other port.
    const again = sleep(4000, 'still there', { ref: false })
    expect(await Promise.race([server.exited, again])).toEqual({ code: 0, signal: null })
  })

  test('a review whose body is still coming when the time is up is finished', async () => {
    const server = await start(writeFolder(CATALOG), ['--shutdown-delay', '0'])
    const body = JSON.stringify(reviewOf(podAsking('steady')))
    const socket = await openSocket(server)
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    socket.write(
      `POST /mutate/pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 50)}`,
    )
    // Another one on another connection has been answered, so the first bytes of this one have arrived.
    await clientOf(server).createPod(podAsking('steady'))
    server.signal('SIGTERM')
    await eventually(
      'no new connections',
      async () =>
        await openSocket(server).then(
          (late) => void late.destroy(),
          () => true,
        ),
    )
    socket.write(body.slice(50))
    await server.exited
    expect(text).toMatch(/^HTTP\/1\.1 200 [\s\S]*connection: close[\s\S]*"allowed":true/i)
  })

  test('SIGINT ends without a delay, and so does a second signal', async () => {
    const server = await start(writeFolder(CATALOG), ['--shutdown-delay', '3600'])
    server.signal('SIGINT')
    expect(await server.exited).toEqual({ code: 0, signal: null })

    const another = await start(writeFolder(CATALOG), ['--shutdown-delay', '3600'])
    another.signal('SIGTERM')
    await eventually('not ready', async () => (await readiness(another)) === 503)
    const again = setInterval(() => another.signal('SIGTERM'), 100)
    expect(await another.exited).toEqual({ code: 143, signal: null })
    clearInterval(again)
  })
})

describe('certificates', () => {
  const pairIn = (folder: string) => [
    '--tls-cert',
    join(folder, 'tls.crt'),
    '--tls-key',
    join(folder, 'tls.key'),
  ]
  const expiryIn = (metrics: string) =>
    Number(/^credential_injector_certificate_expiry_timestamp_seconds (\S+)/m.exec(metrics)?.[1])
  const servedBy = async (server: RunningServer, ca: string) => {
    const socket = await openSocket({ url: server.url, ca })
    const { fingerprint256 } = socket.getPeerCertificate()
    socket.destroy()
    return fingerprint256
  }

  test('a new pair of another authority is in use for new connections, and nothing fails', async () => {
    const folder = writeFolder({})
    const first = await makeCertificates(Date.now() - 24 * 3_600_000)
    await writeCertificates(folder, first)
    const server = await start(writeFolder(CATALOG), pairIn(folder))
    const second = await makeCertificates()
    const both = `${first.ca}\n${second.ca}`
    const before = await servedBy(server, both)
    const expiry = expiryIn(await metricsOf(server))
    const { stop } = steadyLoad(clientOf(server, both))

    await writeCertificates(folder, second)
    await eventually('the new certificate', async () => (await servedBy(server, both)) !== before)
    await eventually('its expiry', async () => expiryIn(await metricsOf(server)) > expiry)
    await stop()
    expect(server.log()).toContainEqual(
      expect.objectContaining({ msg: expect.stringMatching(/certificate has changed/) }),
    )
  })

  test('what is no pair changes nothing, and is said once', async () => {
    const folder = writeFolder({})
    const first = await makeCertificates()
    await writeCertificates(folder, first)
    const server = await start(writeFolder(CATALOG), pairIn(folder))
    const before = await servedBy(server, first.ca)

    writeFileSync(join(folder, 'tls.key'), (await makeCertificates()).key)
    const refusals = () =>
      server.log().filter(({ msg }) => /cannot be used; the old one stays/.test(String(msg)))
    await eventually('the refusal', () => refusals().length > 0)
    expect(String(refusals()[0]?.problem)).toContain('is not the private key of')
    expect(await servedBy(server, first.ca)).toBe(before)
    expect(await metricsOf(server)).toContain(
      'credential_injector_certificate_reads_total{result="failure"} 1',
    )
  })
})

describe('the catalogue', () => {
  test('what is added, changed, removed and broken comes into effect, and nothing fails', async () => {
    const folder = writeFolder(CATALOG)
    const server = await start(folder)
    const client = clientOf(server)
    const { stop } = steadyLoad(clientOf(server))
    const patchFor = async (names: string) => {
      const { patch } = await client.createPod(podAsking(names))
      return patch && Buffer.from(patch, 'base64').toString()
    }
    const file = join(folder, 'late.yaml')
    expect(await patchFor('late')).toBeUndefined()

    writeFileSync(file, credential('late', 'FIRST_KEY'))
    await eventually('a new credential', async () => (await patchFor('late'))?.includes('FIRST_KEY'))
    writeFileSync(file, credential('late', 'SECOND_KEY'))
    await eventually('a changed one', async () => (await patchFor('late'))?.includes('SECOND_KEY'))

    appendFileSync(file, '---\nkind: [Credential\n')
    const named = () =>
      server.log().find(({ problem }) => JSON.stringify(problem ?? '').includes('late.yaml'))
    const line = await eventually('the broken file in the log', named)
    expect(line).toMatchObject({ level: 'error', problem: { file: 'late.yaml', line: expect.any(Number) } })
    expect(await patchFor('late')).toContain('SECOND_KEY')
    expect(await metricsOf(server)).toMatch(/credential_injector_catalog_problems [1-9]/)

    rmSync(file)
    await eventually('a removed one', async () => (await patchFor('late')) === undefined)
    await stop()
    expect(server.stdout() + server.stderr() + (await metricsOf(server))).not.toContain('invented-value')
  })

  test('a file that takes the place of another, as editors save, is read', async () => {
    const folder = writeFolder({ ...CATALOG, 'edited.yaml': credential('edited', 'BEFORE') })
    const server = await start(folder)
    const client = clientOf(server)
    writeFileSync(join(folder, '.edited.tmp'), credential('edited', 'AFTER'))
    renameSync(join(folder, '.edited.tmp'), join(folder, 'edited.yaml'))
    await eventually('the saved file', async () => {
      const { patch } = await client.createPod(podAsking('edited'))
      return Buffer.from(patch, 'base64').includes('AFTER')
    })
  })
})
