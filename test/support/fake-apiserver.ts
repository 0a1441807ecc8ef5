/**
 * An API server in this process, over real sockets: objects with resource versions, lists in pages, watches, and whatever a test
 * wants to go wrong. It knows nothing of schemas and permissions.
 */
import { once } from 'node:events'
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo } from 'node:net'
import { json as jsonOf } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'
import type { KubeObject } from '../../src/kube/client.ts'

export interface FakeObject extends Omit<KubeObject, 'metadata'> {
  readonly metadata: Partial<KubeObject['metadata']> & {
    readonly name: string
    readonly [field: string]: unknown
  }
  readonly [field: string]: unknown
}

export type Verb = 'list' | 'watch' | 'get' | 'create' | 'replace' | 'patch' | 'delete'

/** What was asked. */
export interface FakeRequest {
  readonly verb: Verb
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly hasCertificate: boolean
  readonly body: any
}

/** Answers in place of the server; a watch's own `goOn` lets it answer after all. */
export type Fault = (answer: ServerResponse, request: FakeRequest, goOn: () => void) => void

export interface FakeApiServer {
  /** `http://127.0.0.1:PORT`, or https with `tls`. */
  readonly url: string
  /** Everything that was asked so far, in order. */
  readonly requests: FakeRequest[]
  /** Open watches. */
  readonly watches: ReadonlySet<ServerResponse>
  /** The version of the latest change. */
  readonly version: () => string
  /**
   * Creates an object, or replaces the one of that name. `resource` is `GROUP/VERSION/PLURAL`, such as `run.ai/v1/credentials`,
   * and `v1/namespaces` for the core group.
   */
  put(resource: string, object: FakeObject): FakeObject
  remove(resource: string, name: string, namespace?: string): void
  objects(resource: string): FakeObject[]
  /** Sends a bookmark to every watch. */
  bookmark(): void
  /** Forgets what happened: watches from before get 410, by status or as an event; page tokens from before expire. */
  compact(as?: 'status' | 'event'): void
  /** The next request of that kind gets this instead. Several wait in line. `path` limits it to requests with that beginning. */
  fault(verb: Verb, fault: Fault, path?: string): void
  /** Faults that have not happened are forgotten. */
  clearFaults(): void
  /** Breaks the connection of every open watch. */
  cutWatches(): void
  /** Resolves with the next request that the check takes, or one that was there already. */
  received(check: (request: FakeRequest) => boolean, limit?: number): Promise<FakeRequest>
  close(): Promise<void>
}

interface Change {
  readonly version: number
  readonly resource: string
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly object: FakeObject
}

interface Watch {
  readonly target: Target
  readonly answer: ServerResponse
  readonly isMetadataOnly: boolean
}

interface Target {
  readonly resource: string
  readonly namespace: string | undefined
  readonly name: string | undefined
}

export interface FakeOptions {
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Of the clients, whoever signed them. */
  readonly asksForCertificates?: boolean
  /** Only requests with this bearer token are answered. */
  readonly token?: () => string
}

export async function startFakeApiServer({
  tls,
  asksForCertificates,
  token,
}: FakeOptions = {}): Promise<FakeApiServer> {
  const stored = new Map<string, FakeObject>()
  const changes: Change[] = []
  const requests: FakeRequest[] = []
  const open = new Map<ServerResponse, Watch>()
  const watches = new Set<ServerResponse>()
  const waiting = new Set<() => void>()
  let faults: { verb: Verb; fault: Fault; path: string }[] = []
  let version = 1000
  let compacted = 0
  let goneAs: 'status' | 'event' = 'status'
  const pages = new Map<string, { version: number; rest: FakeObject[] }>()

  const server = tls
    ? createHttps({ ...tls, requestCert: asksForCertificates, rejectUnauthorized: false }, handle)
    : createHttp(handle)
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    requests,
    watches,
    version: () => String(version),
    put,
    remove: removeObject,
    objects: (resource) =>
      [...stored].filter(([key]) => key.startsWith(`${resource} `)).map(([, object]) => object),
    bookmark() {
      for (const { answer, target } of open.values())
        send(answer, 'BOOKMARK', {
          kind: target.resource,
          metadata: { resourceVersion: String(version) } as never,
        })
    },
    compact(as = 'status') {
      compacted = ++version
      goneAs = as
      pages.clear()
      changes.length = 0
    },
    fault: (verb, fault, path = '/') => void faults.push({ verb, fault, path }),
    clearFaults() {
      faults = []
    },
    cutWatches() {
      for (const answer of open.keys()) answer.socket?.destroy()
    },
    async received(check, limit = 15_000) {
      const signal = AbortSignal.timeout(limit)
      for (;;) {
        const found = requests.find(check)
        if (found) return found
        await new Promise<void>((resolve, reject) => {
          waiting.add(resolve)
          signal.addEventListener('abort', () => reject(new Error(`it was never asked: ${check}`)), {
            once: true,
          })
        })
      }
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }

  // ---- Objects ----

  function put(resource: string, object: FakeObject): FakeObject {
    const key = keyOf(resource, object.metadata.namespace, object.metadata.name)
    const before = stored.get(key)
    version++
    const made = {
      ...object,
      metadata: {
        uid: `uid-${version}`,
        ...(before && { uid: before.metadata.uid }),
        ...object.metadata,
        resourceVersion: String(version),
      },
    }
    stored.set(key, made)
    publish({ version, resource, type: before ? 'MODIFIED' : 'ADDED', object: made })
    return made
  }

  function removeObject(resource: string, name: string, namespace?: string): void {
    const key = keyOf(resource, namespace, name)
    const found = stored.get(key)
    if (!found) return
    version++
    stored.delete(key)
    const object = { ...found, metadata: { ...found.metadata, resourceVersion: String(version) } }
    publish({ version, resource, type: 'DELETED', object })
  }

  function publish(change: Change): void {
    changes.push(change)
    for (const watch of open.values()) tell(watch, change)
  }

  function tell({ target, answer, isMetadataOnly }: Watch, { resource, type, object }: Change): void {
    if (resource === target.resource && isIn(target, object))
      send(answer, type, shown(object, isMetadataOnly))
  }

  // ---- Requests ----

  async function handle(message: IncomingMessage, answer: ServerResponse): Promise<unknown> {
    answer.on('error', () => {})
    const { pathname: path, searchParams: query } = new URL(message.url as string, 'http://fake')
    const method = message.method as string
    const body = method === 'GET' ? undefined : await jsonOf(message).catch(() => undefined)
    const target = targetOf(path)
    const verb = verbOf(method, target, query)
    const hasCertificate = (message.socket as Partial<TLSSocket>).getPeerX509Certificate?.() !== undefined
    const request = { verb, method, path, query, headers: message.headers, hasCertificate, body }
    requests.push(request)
    for (const wake of waiting) wake()
    waiting.clear()
    if (token && message.headers.authorization !== `Bearer ${token()}`)
      return refuse(answer, 401, 'Unauthorized')
    const goOn = () => respond(request, target, answer)
    const index = faults.findIndex((fault) => fault.verb === verb && path.startsWith(fault.path))
    if (index < 0) return goOn()
    const [next] = faults.splice(index, 1)
    return next?.fault(answer, request, goOn)
  }

  function respond(request: FakeRequest, target: Target, answer: ServerResponse): unknown {
    const { verb, query, headers, body } = request
    const isMetadataOnly = String(headers.accept).includes('as=PartialObjectMetadata')
    if (verb === 'list') return list(target, query, isMetadataOnly, answer)
    if (verb === 'watch') return watch(target, query, isMetadataOnly, answer)
    const found = stored.get(keyOf(target.resource, target.namespace, target.name ?? body?.metadata?.name))
    if (verb === 'create') return create(target, body, found, answer)
    const isApply = verb === 'patch' && String(headers['content-type']).includes('apply-patch')
    if (!found && !isApply)
      return refuse(answer, 404, 'NotFound', `${target.resource} "${target.name}" not found`)
    if (verb === 'get') return reply(answer, 200, shown(found as FakeObject, isMetadataOnly))
    if (verb === 'delete') {
      removeObject(target.resource, target.name as string, target.namespace)
      return reply(answer, 200, { kind: 'Status', status: 'Success' })
    }
    return change(request, target, found, answer)
  }

  function create(target: Target, body: any, found: FakeObject | undefined, answer: ServerResponse): unknown {
    if (found) return refuse(answer, 409, 'AlreadyExists', `"${body.metadata.name}" already exists`)
    const metadata = { ...body.metadata, ...(target.namespace && { namespace: target.namespace }) }
    return reply(answer, 201, put(target.resource, { ...body, metadata }))
  }

  /** The status changes only by its own path, and nothing else does by that. */
  function change(
    { verb, path, body }: FakeRequest,
    target: Target,
    found: FakeObject | undefined,
    answer: ServerResponse,
  ): unknown {
    const wanted = body?.metadata?.resourceVersion
    if (found && wanted !== undefined && wanted !== found.metadata.resourceVersion)
      return refuse(answer, 409, 'Conflict', 'the object has been modified')
    const wish = verb === 'replace' ? body : merge(found ?? {}, body)
    const next = path.endsWith('/status')
      ? { ...found, status: wish.status }
      : { ...wish, ...(found && 'status' in found && { status: found.status }) }
    const home = target.namespace && { namespace: target.namespace }
    return reply(
      answer,
      200,
      put(target.resource, { ...next, metadata: { ...next.metadata, name: target.name, ...home } }),
    )
  }

  function list(
    target: Target,
    query: URLSearchParams,
    isMetadataOnly: boolean,
    answer: ServerResponse,
  ): unknown {
    const token = query.get('continue')
    const page = token === null ? firstPage(target) : pages.get(token)
    if (page === undefined)
      return refuse(answer, 410, 'Expired', 'The provided continue parameter is too old')
    const limit = Number(query.get('limit') ?? Infinity)
    const items = page.rest.slice(0, limit).map((object) => shown(object, isMetadataOnly))
    const rest = page.rest.slice(limit)
    const next = rest.length > 0 ? `token-${page.version}-${rest.length}-${pages.size}` : undefined
    if (next) pages.set(next, { version: page.version, rest })
    reply(answer, 200, {
      kind: 'List',
      metadata: { resourceVersion: String(page.version), ...(next && { continue: next }) },
      items: items.length === 0 ? null : items,
    })
  }

  function firstPage(target: Target): { version: number; rest: FakeObject[] } {
    const rest = [...stored]
      .filter(([key, object]) => key.startsWith(`${target.resource} `) && isIn(target, object))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object)
    return { version, rest }
  }

  function watch(
    target: Target,
    query: URLSearchParams,
    isMetadataOnly: boolean,
    answer: ServerResponse,
  ): unknown {
    const from = Number(query.get('resourceVersion'))
    if (from < compacted && goneAs === 'status')
      return refuse(answer, 410, 'Expired', 'too old resource version')
    answer.writeHead(200, { 'content-type': 'application/json' })
    answer.flushHeaders()
    if (from < compacted) {
      send(answer, 'ERROR', {
        kind: 'Status',
        code: 410,
        reason: 'Expired',
        message: 'too old resource version',
      } as never)
      answer.end()
      return
    }
    const watching = { target, answer, isMetadataOnly }
    for (const change of changes) if (change.version > from) tell(watching, change)
    open.set(answer, watching)
    watches.add(answer)
    answer.on('close', () => {
      open.delete(answer)
      watches.delete(answer)
    })
  }
}

// ---- What can go wrong -----------------------------------------------------------------------------------------------

export const faults = {
  /** The connection ends without an answer. */
  cut: (): Fault => (answer) => void answer.socket?.destroy(),
  /** An answer with this status, as an API server words it. */
  status:
    (
      code: number,
      reason: string,
      { retryAfter, message }: { retryAfter?: number; message?: string } = {},
    ): Fault =>
    (answer) => {
      if (retryAfter !== undefined) answer.setHeader('retry-after', String(retryAfter))
      refuse(answer, code, reason, message)
    },
  /** An answer with this text, after which the connection stays open if there is no end. */
  text:
    (text: string, end: 'end' | 'cut' | 'open' = 'end'): Fault =>
    (answer) => {
      answer.writeHead(200, { 'content-type': 'application/json' })
      answer.write(text, () => {
        if (end === 'end') answer.end()
        else if (end === 'cut') answer.socket?.destroy()
      })
    },
  /** The answer begins and nothing more comes. */
  silence: (): Fault => (answer) => {
    answer.writeHead(200, { 'content-type': 'application/json' })
    answer.flushHeaders()
  },
  /** Not even a beginning. */
  nothing: (): Fault => () => {},
} as const

// ---- Helpers ---------------------------------------------------------------------------------------------------------

function keyOf(resource: string, namespace: string | undefined, name: string): string {
  return `${resource} ${namespace ?? ''}/${name}`
}

function isIn({ namespace, name }: Target, { metadata }: FakeObject): boolean {
  return (
    (namespace === undefined || metadata.namespace === namespace) &&
    (name === undefined || metadata.name === name)
  )
}

/** `/apis/run.ai/v1/namespaces/team/credentials/wandb/status` and its shorter forms. */
function targetOf(path: string): Target {
  const [root, ...parts] = path.split('/').slice(1)
  const group = parts.splice(0, root === 'api' ? 1 : 2).join('/')
  const isInNamespace = parts[0] === 'namespaces' && parts.length > 2
  const namespace = isInNamespace ? parts.splice(0, 2)[1] : undefined
  const [plural, name] = parts
  return { resource: `${group}/${plural}`, namespace, name }
}

function verbOf(method: string, { name }: Target, query: URLSearchParams): Verb {
  if (method === 'GET') return query.get('watch') === 'true' ? 'watch' : name === undefined ? 'list' : 'get'
  return ({ POST: 'create', PUT: 'replace', PATCH: 'patch', DELETE: 'delete' } as const)[method] ?? 'get'
}

function shown(object: FakeObject, isMetadataOnly: boolean): FakeObject {
  if (!isMetadataOnly) return object
  return { apiVersion: 'meta.k8s.io/v1', kind: 'PartialObjectMetadata', metadata: object.metadata }
}

function send(answer: ServerResponse, type: string, object: FakeObject): void {
  answer.write(`${JSON.stringify({ type, object })}\n`)
}

function reply(answer: ServerResponse, code: number, body: object): void {
  answer.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function refuse(answer: ServerResponse, code: number, reason: string, message = reason): void {
  reply(answer, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message })
}

/** RFC 7386. */
function merge(target: any, patch: any): any {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = merge(result[key], value)
  }
  return result
}
