/**
 * Load as an API server makes it: HTTP/1.1 over TLS, 25 connections, each with one request at a time, and a new connection where
 * the server says `Connection: close`. (Load generators at hand count that as an error, or know less than milliseconds.)
 *
 *     node bench/load.ts URL BODY_FILE SECONDS CA_FILE     prints a `LoadResult`
 */
import { readFileSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { socketTo } from '../test/support/socket.ts'

export interface LoadResult {
  /** Answers, and how many a second. */
  readonly answers: number
  readonly rate: number
  /** Other than 200 with a full body, and connections that failed. */
  readonly errors: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
}

const CONNECTIONS = 25

const [url, bodyFile, seconds, caFile] = process.argv.slice(2) as [string, string, string, string]
const { hostname, port, pathname } = new URL(url)
const ca = readFileSync(caFile, 'utf8')
const request = requestFor(readFileSync(bodyFile))

const latencies: number[] = []
let errors = 0
let running = true

const started = performance.now()
for (let index = 0; index < CONNECTIONS; index++) openConnection()
setTimeout(finish, Number(seconds) * 1000)

function requestFor(body: Buffer): Buffer {
  const head = [
    `POST ${pathname}?timeout=5s HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'User-Agent: kube-apiserver-admission',
    `Content-Length: ${body.length}`,
    'Accept: application/json, */*',
    'Content-Type: application/json',
    'Accept-Encoding: gzip',
  ]
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body])
}

function openConnection(): void {
  const socket = socketTo({ url, ca })
  let sent = 0
  let received: Buffer | undefined
  const send = () => {
    sent = performance.now()
    socket.write(request)
  }
  const onData = (chunk: Buffer) => {
    received = received === undefined ? chunk : Buffer.concat([received, chunk])
    const answer = answerIn(received)
    if (answer === undefined) return
    received = undefined
    latencies.push(performance.now() - sent)
    if (!answer.ok) errors++
    if (answer.closes) replace(socket)
    else if (running) send()
  }
  socket.on('secureConnect', send).on('data', onData)
  socket.on('error', () => errors++)
  socket.on('close', () => {
    if (!running) return
    errors++
    openConnection()
  })
}

function replace(socket: TLSSocket): void {
  socket.removeAllListeners()
  socket.on('error', () => {})
  socket.end()
  if (running) openConnection()
}

function answerIn(bytes: Buffer): { ok: boolean; closes: boolean } | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = bytes.toString('latin1', 0, end)
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
  if (bytes.length < end + 4 + length) return undefined
  return { ok: head.startsWith('HTTP/1.1 200 '), closes: /connection: close/i.test(head) }
}

function finish(): void {
  const elapsed = (performance.now() - started) / 1000
  running = false
  latencies.sort((a, b) => a - b)
  const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)] ?? 0
  const result: LoadResult = {
    answers: latencies.length,
    rate: latencies.length / elapsed,
    errors,
    p50: at(0.5),
    p99: at(0.99),
  }
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}
