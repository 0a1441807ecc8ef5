/*
 * The part of the Kubernetes API that this project needs, over Node's own HTTPS client: JSON requests and watch streams.
 * What the public client does more costs a process twenty times the memory, and its watches need what `reflector.ts` does.
 */
import { once } from 'node:events'
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

/** Where the API server is, and who asks. */
export interface KubeAccess {
  /** `https://10.96.0.1:443`, with the path in front of the API's own where there is one. */
  readonly server: string
  /** PEM; undefined trusts the system's authorities. */
  readonly ca?: string | Buffer
  /** PEM certificate and key of a client that is known by them. */
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  /** The name that the server's certificate is for, where it is another than the one in `server`. */
  readonly serverName?: string
  /** True takes any certificate; only because a kubeconfig says so. */
  readonly insecure?: boolean
  /** The bearer token as it is now: tokens of service accounts are renewed while the process runs. */
  readonly token?: () => string
  /** The namespace that the access belongs to, where it says one. */
  readonly namespace?: string
}

/** What all objects have in common (meta/v1 ObjectMeta, shortened). */
export interface KubeObject {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata: ObjectMeta
}

export interface ObjectMeta {
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
  readonly resourceVersion?: string
  readonly generation?: number
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

export interface RequestOptions {
  /** Milliseconds until the whole answer must be there, of a stream its beginning; 30 s when absent. */
  readonly timeout?: number
  readonly signal?: AbortSignal
  /** What the answer should be, such as metadata only; JSON when absent. */
  readonly accept?: string
  /** A longer answer is not read to its end: `TooLargeError`. 768 MiB when absent. */
  readonly mostBytes?: number
}

/** What `stream` may be told besides. */
export interface StreamOptions extends RequestOptions {
  /** Called when the server has begun its answer, which may be long before the first line. */
  readonly onOpen?: () => void
}

export type PatchType =
  | 'application/merge-patch+json'
  | 'application/json-patch+json'
  | 'application/apply-patch+yaml'

/**
 * Paths are those of the API with their query, such as `/api/v1/namespaces?limit=500`. Every call rejects with `KubeError`
 * for an answer other than 2xx, and with an error of the connection if there is no answer or half of one.
 */
export interface KubeClient {
  get<T>(path: string, options?: RequestOptions): Promise<T>
  create<T>(path: string, body: object, options?: RequestOptions): Promise<T>
  /** PUT: the whole object, with its `resourceVersion`. */
  replace<T>(path: string, body: object, options?: RequestOptions): Promise<T>
  patch<T>(path: string, type: PatchType, body: object, options?: RequestOptions): Promise<T>
  delete(path: string, body?: object, options?: RequestOptions): Promise<void>
  /**
   * The lines of a watch, parsed, until the server ends it. An event of type ERROR is thrown as a `KubeError`; a connection
   * that breaks, also within a line, throws. Leaving the loop closes the connection.
   */
  stream(path: string, options?: StreamOptions): AsyncGenerator<unknown>
  /** Closes idle connections. */
  close(): void
}

/** An answer other than 2xx. `message` is the API server's own sentence. */
export class KubeError extends Error {
  readonly status: number
  /** `NotFound`, `Conflict`, `Expired`, … (meta/v1 StatusReason); empty if the answer was no Status. */
  readonly reason: string
  /** Seconds, where the server asks to wait. */
  readonly retryAfter: number | undefined

  constructor(status: number, reason: string, message: string, retryAfter?: number) {
    super(message)
    this.status = status
    this.reason = reason
    this.retryAfter = retryAfter
  }
}

/** For `accept`: an object's metadata and nothing else of it (meta/v1 PartialObjectMetadata). */
export const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'

/** There is none of that name. */
export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.status === 404
}

/** The object is not what the change was made for, or there is one of that name already. */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.status === 409
}

/** What came is not what an API server sends. The connection may be in order; to read the same again would not help. */
export class KubeProtocolError extends Error {}

/** The answer is longer than it may be. A shorter one may be asked for, such as a smaller page. */
export class TooLargeError extends KubeProtocolError {}

export function createKubeClient(access: KubeAccess): KubeClient {
  const connection = connectionTo(access)
  const ask = (question: Question) => answerTo(connection, question)
  const json = async <T>(method: string, path: string, body?: object, options = {}, type = JSON_TYPE) =>
    (await ask({ method, path, body, type, options, read: readJson })) as T

  return {
    get: (path, options) => json('GET', path, undefined, options),
    create: (path, body, options) => json('POST', path, body, options),
    replace: (path, body, options) => json('PUT', path, body, options),
    patch: (path, type, body, options) => json('PATCH', path, body, options, type),
    delete: async (path, body, options) => {
      await json('DELETE', path, body, options)
    },
    async *stream(path, options = {}) {
      const answer = (await ask({
        method: 'GET',
        path,
        body: undefined,
        type: JSON_TYPE,
        options,
        read: asItIs,
      })) as IncomingMessage
      try {
        options.onOpen?.()
        for await (const line of linesOf(answer)) yield eventIn(line)
      } catch (error) {
        throw named(error)
      } finally {
        answer.destroy()
      }
    },
    close: () => connection.agent.destroy(),
  }
}

const JSON_TYPE = 'application/json'
const DEFAULT_TIMEOUT_MS = 30_000

// ---- Questions and answers -------------------------------------------------------------------------------------------

interface Connection {
  readonly access: KubeAccess
  readonly base: URL
  readonly agent: HttpAgent | HttpsAgent
}

interface Question {
  readonly method: string
  readonly path: string
  readonly body: object | undefined
  readonly type: string
  readonly options: RequestOptions
  /** What is made of a good answer before the time is up. */
  readonly read: (answer: IncomingMessage, options: RequestOptions) => unknown
}

function connectionTo(access: KubeAccess): Connection {
  const base = new URL(access.server)
  if (base.protocol !== 'https:') return { access, base, agent: new HttpAgent({ keepAlive: true }) }
  const { ca, cert, key, serverName, insecure } = access
  const agent = new HttpsAgent({
    keepAlive: true,
    ca,
    cert,
    key,
    ...(serverName !== undefined && { servername: serverName }),
    rejectUnauthorized: insecure !== true,
  })
  return { access, base, agent }
}

async function answerTo(connection: Connection, question: Question): Promise<unknown> {
  const { timeout = DEFAULT_TIMEOUT_MS } = question.options
  const deadline = performance.now() + timeout
  try {
    return await oneAnswer(connection, question, timeout)
  } catch (error) {
    // An idle connection that the server has closed meanwhile: it has not seen the question.
    if (!isStaleConnection(error) || question.method !== 'GET') throw error
    return await oneAnswer(connection, question, deadline - performance.now())
  }
}

async function oneAnswer(connection: Connection, question: Question, timeout: number): Promise<unknown> {
  const request = open(connection, question)
  let hasBegun = false
  // Stays for good: an error that comes after the answer's beginning is the answer's too, and here it has nobody else to hear it.
  request.on('error', (error: StaleError) => {
    error.isStale = request.reusedSocket && !hasBegun
  })
  let late: Error | undefined
  const timer = setTimeout(() => {
    late = new Error(`no answer from the API server in ${Math.round(timeout)} ms`)
    request.destroy(late)
  }, timeout)
  try {
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    hasBegun = true
    const { statusCode = 0 } = answer
    if (statusCode < 200 || statusCode > 299) throw await errorOf(answer, statusCode)
    return await question.read(answer, question.options)
  } catch (error) {
    // An answer that is cut off half way only knows that it was.
    throw late ?? named(error)
  } finally {
    clearTimeout(timer)
  }
}

/** Node calls an answer that ends before its end "aborted", which says nothing to who reads it in a log. */
function named(error: unknown): unknown {
  if (error instanceof Error && error.message === 'aborted')
    error.message = 'the connection to the API server broke off'
  return error
}

type StaleError = NodeJS.ErrnoException & { isStale?: boolean }

function isStaleConnection(error: unknown): boolean {
  const { code, isStale } = error as StaleError
  return isStale === true && (code === 'ECONNRESET' || code === 'EPIPE')
}

function open(
  { access, base, agent }: Connection,
  { method, path, body, type, options }: Question,
): ClientRequest {
  const content = body && Buffer.from(JSON.stringify(body))
  const ask = base.protocol === 'https:' ? httpsRequest : httpRequest
  const request = ask(new URL(base.pathname.replace(/\/$/, '') + path, base), {
    agent,
    method,
    signal: options.signal,
    headers: {
      accept: options.accept ?? JSON_TYPE,
      'user-agent': 'credential-injector',
      ...(access.token && { authorization: `Bearer ${access.token()}` }),
      ...(content && { 'content-type': type, 'content-length': content.length }),
    },
  })
  request.end(content)
  return request
}

const asItIs = (answer: IncomingMessage) => answer

async function readJson(answer: IncomingMessage, { mostBytes }: RequestOptions): Promise<unknown> {
  const body = await bodyOf(answer, mostBytes)
  try {
    return JSON.parse(body)
  } catch {
    throw new KubeProtocolError(
      `the API server's answer of ${body.length} characters is not JSON: is there a proxy in between?`,
    )
  }
}

/** A page of 500 of the largest objects that etcd takes; whatever is longer has no end. */
const MOST_BODY_BYTES = 768 * 1024 * 1024

async function bodyOf(answer: IncomingMessage, most = MOST_BODY_BYTES): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer) {
    size += chunk.length
    if (size > most) throw new TooLargeError(`the API server's answer has more than ${most} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size).toString()
}

// ---- Errors ----------------------------------------------------------------------------------------------------------

/** A Status is short; what is longer comes from something else, and its beginning is enough. */
const MOST_ERROR_BYTES = 1024 * 1024

async function errorOf(answer: IncomingMessage, status: number): Promise<KubeError> {
  const retryAfter = Number.parseInt(String(answer.headers['retry-after']), 10)
  const body = await bodyOf(answer, MOST_ERROR_BYTES)
  const { reason, message } = statusIn(body)
  return new KubeError(
    status,
    typeof reason === 'string' ? reason : '',
    typeof message === 'string' ? message : body.slice(0, 500) || `HTTP status ${status}`,
    Number.isNaN(retryAfter) ? undefined : retryAfter,
  )
}

function statusIn(body: string): { reason?: unknown; message?: unknown } {
  try {
    return JSON.parse(body) ?? {}
  } catch {
    return {}
  }
}

// ---- Streams ---------------------------------------------------------------------------------------------------------

/** An event holds one object, and etcd takes none of more than 1.5 MiB; more than this has no end. */
const MOST_LINE_CHARACTERS = 16 * 1024 * 1024

/** Lines as they come. (Node's readline does not pass on the errors of what it reads from.) */
async function* linesOf(answer: IncomingMessage): AsyncGenerator<string> {
  answer.setEncoding('utf8')
  let pieces: string[] = []
  let size = 0
  for await (const text of answer as AsyncIterable<string>) {
    let start = 0
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
      pieces.push(text.slice(start, end))
      const line = pieces.join('').trim()
      pieces = []
      size = 0
      start = end + 1
      if (line !== '') yield line
    }
    if (start < text.length) pieces.push(text.slice(start))
    size += text.length - start
    if (size > MOST_LINE_CHARACTERS)
      throw new KubeProtocolError(`an event of more than ${MOST_LINE_CHARACTERS} characters`)
  }
  if (pieces.join('').trim() !== '') throw new Error('the connection ended within an event')
}

function eventIn(line: string): unknown {
  const event = parsed(line)
  const { type, object } = (event ?? {}) as { type?: unknown; object?: { [field: string]: unknown } | null }
  if (type !== 'ERROR') return event
  const { code, reason, message, details } = object ?? {}
  const wait = (details as { retryAfterSeconds?: unknown } | null | undefined)?.retryAfterSeconds
  throw new KubeError(
    typeof code === 'number' ? code : 500,
    typeof reason === 'string' ? reason : '',
    typeof message === 'string' ? message : 'the API server ended the watch with an error',
    typeof wait === 'number' && wait > 0 ? wait : undefined,
  )
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw new KubeProtocolError(
      `an event of ${line.length} characters is not JSON: is there a proxy in between?`,
    )
  }
}
