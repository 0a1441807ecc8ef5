/*
 * Stands between a program and the API server, and does to its requests what networks and busy servers do:
 *
 *     controller ──HTTP──► proxy ──HTTPS──► API server
 *                            │
 *                            └ asks a plan for each request: pass it on, answer it with an error, hold it back, or cut it off
 *
 * Over HTTP on loopback: a kubeconfig may name such a server, and no certificate has to be made. Whoever asks is known by its
 * own token, which is passed on as it is.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import { Agent, request } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../kit/cluster.ts'
import { writeKubeconfig } from '../kit/kubeconfig.ts'
import { paths } from '../kit/layout.ts'

/** What becomes of a request that is not simply passed on. */
export type Fault =
  /** The proxy answers in the API server's place, which never sees the request. */
  | { readonly status: 409 | 429 | 500 | 503; readonly retryAfter?: number }
  /** The connection breaks before the API server has seen the request. */
  | 'cut'
  /** The API server has done what it was asked to; the answer does not get through. */
  | 'cutAfterWrite'
  /** It is passed on after so many milliseconds. */
  | { readonly delay: number }

/** A request as a plan sees it. */
export interface Asked {
  /** `GET`, `POST`, …; `WATCH` for a watch. */
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: URLSearchParams
  /** As rules of RBAC name it: `secrets`, `credentials/status`; empty where the path names none. */
  readonly resource: string
  /** How many requests with this method and path there have been, this one included. */
  readonly count: number
}

/** Undefined passes the request on. */
export type Plan = (request: Asked) => Fault | undefined

export interface FaultyProxy {
  /** Path of a kubeconfig for the caller, by way of the proxy. */
  readonly kubeconfig: string
  /** From now on; passes everything on at first. */
  plan: Plan
  /** Requests that came here, by method and resource: `PATCH credentials/status`, `WATCH secrets`. */
  readonly calls: ReadonlyMap<string, number>
  /** The same of those that something was done to. */
  readonly faults: ReadonlyMap<string, number>
  /** Breaks all watches that are open, and says how many there were. */
  cutWatches(): number
  stop(): Promise<void>
}

/** For whoever has the token, such as a service account's (`cluster.tokenFor`). */
export async function startFaultyProxy(cluster: Cluster, token: string): Promise<FaultyProxy> {
  const agent = new Agent({ keepAlive: true, ca: cluster.caData, timeout: IDLE_MS })
  const [calls, faults] = [new Map<string, number>(), new Map<string, number>()]
  const perPath = new Map<string, number>()
  const [open, watches] = [new Set<Socket>(), new Set<Socket>()]

  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (question, answer) => {
    // Whatever ends a connection at one side ends it at the other; there is nobody here to be told.
    handle(question, answer).catch(() => question.socket.destroy())
  })
  server.on('connection', (socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const kubeconfig = join(paths(cluster.folder).kubeconfigs, `faulty-proxy-${port}`)
  writeKubeconfig(kubeconfig, { url: `http://127.0.0.1:${port}`, caFile: paths(cluster.folder).ca, token })

  const proxy: FaultyProxy = {
    kubeconfig,
    plan: () => undefined,
    calls,
    faults,
    cutWatches() {
      for (const socket of watches) socket.resetAndDestroy()
      return watches.size
    },
    async stop() {
      server.close()
      for (const socket of open) socket.destroy()
      await once(server, 'close')
      agent.destroy()
    },
  }
  return proxy

  async function handle(question: IncomingMessage, answer: ServerResponse): Promise<void> {
    const asked = read(question, perPath)
    const name = `${asked.method} ${asked.resource}`
    add(calls, name)
    const fault = proxy.plan(asked)
    if (fault !== undefined) add(faults, name)
    if (fault === 'cut') return void question.socket.resetAndDestroy()
    if (typeof fault === 'object' && 'status' in fault) return refuse(question, answer, fault)
    if (typeof fault === 'object') await sleep(fault.delay)
    await passOn(question, answer, asked, fault === 'cutAfterWrite')
  }

  async function passOn(question: IncomingMessage, answer: ServerResponse, asked: Asked, cut: boolean) {
    const onward = request(new URL(question.url as string, cluster.url), {
      agent,
      method: question.method,
      headers: ownHeaders(question.headers),
    })
    // Who does not wait for the answer any more does not want it: a watch would go on for minutes.
    answer.on('close', () => onward.destroy())
    const [[reply]] = (await Promise.all([once(onward, 'response'), pipeline(question, onward)])) as [
      [IncomingMessage],
      unknown,
    ]
    if (cut) {
      if (asked.method !== 'WATCH') for await (const _ of reply);
      return void question.socket.resetAndDestroy()
    }
    if (asked.method === 'WATCH') {
      watches.add(question.socket)
      answer.on('close', () => watches.delete(question.socket))
    }
    answer.writeHead(reply.statusCode as number, ownHeaders(reply.headers))
    // A watch has begun when its head is there, which may be long before its first event.
    answer.flushHeaders()
    await pipeline(reply, answer)
  }
}

/** Shorter than the API server keeps a connection that is idle. */
const IDLE_MS = 30_000

/** Any fault that a client has to get over. */
const ANY: readonly Fault[] = [
  { status: 409 },
  { status: 429, retryAfter: 0 },
  { status: 500 },
  { status: 503 },
  'cut',
  'cutAfterWrite',
  { delay: 50 },
]

/**
 * A share of all requests (`rate`, from 0 to 1) meets a fault. Which one and which fault follows from the seed and from the
 * request: the third PATCH of an object has the same fate in every run, whatever else is under way. 409 is for writes only, as an
 * API server does it. Leases are let through: a leader that cannot renew ends its process, and that is a test of its own.
 */
export function randomly(seed: number, rate: number, faults: readonly Fault[] = ANY): Plan {
  return ({ method, path, resource, count }) => {
    if (resource === 'leases') return undefined
    const dice = createHash('sha256').update(`${seed} ${method} ${path} ${count}`).digest()
    if (dice.readUInt32BE(0) / 2 ** 32 >= rate) return undefined
    const isWrite = !['GET', 'WATCH'].includes(method)
    const possible = faults.filter((fault) => isWrite || !isConflict(fault))
    return possible[dice.readUInt32BE(4) % possible.length]
  }
}

function isConflict(fault: Fault): boolean {
  return typeof fault === 'object' && 'status' in fault && fault.status === 409
}

// ---- Requests --------------------------------------------------------------------------------------------------------

function read({ method = 'GET', url = '/' }: IncomingMessage, perPath: Map<string, number>): Asked {
  const { pathname: path, searchParams: query } = new URL(url, 'http://proxy')
  const verb = query.get('watch') === 'true' || query.get('watch') === '1' ? 'WATCH' : method
  return { method: verb, path, query, resource: resourceOf(path), count: add(perPath, `${verb} ${path}`) }
}

/** `/api/v1/…` or `/apis/GROUP/VERSION/…`, then `[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]`. */
function resourceOf(path: string): string {
  const [, rest = ''] = /^\/(?:api\/[^/]+|apis\/[^/]+\/[^/]+)\/(.+)$/.exec(path) ?? []
  const parts = rest.split('/')
  const isOfNamespace =
    parts[0] === 'namespaces' && parts.length > 2 && !OF_NAMESPACES.has(parts[2] as string)
  const [resource = '', , subresource] = isOfNamespace ? parts.slice(2) : parts
  return subresource ? `${resource}/${subresource}` : resource
}

const OF_NAMESPACES: ReadonlySet<string> = new Set(['status', 'finalize'])

function add(counts: Map<string, number>, name: string): number {
  const count = (counts.get(name) ?? 0) + 1
  counts.set(name, count)
  return count
}

/** Those that are about the message, and not about the connection that it came by. */
function ownHeaders(headers: IncomingMessage['headers']): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_CONNECTIONS.has(name)))
}

const OF_CONNECTIONS: ReadonlySet<string> = new Set(['host', 'connection', 'keep-alive', 'transfer-encoding'])

// ---- Answers ---------------------------------------------------------------------------------------------------------

const REASONS = {
  409: 'Conflict',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
} as const

/** As the API server says it. */
async function refuse(
  question: IncomingMessage,
  answer: ServerResponse,
  { status, retryAfter }: Extract<Fault, { status: number }>,
): Promise<void> {
  for await (const _ of question);
  const wait = retryAfter !== undefined && { 'retry-after': `${retryAfter}` }
  answer.writeHead(status, { 'content-type': 'application/json', ...wait })
  const message = `the faulty proxy answers ${status}`
  const body = { apiVersion: 'v1', kind: 'Status', status: 'Failure', code: status, reason: REASONS[status] }
  answer.end(JSON.stringify({ ...body, message }))
}
