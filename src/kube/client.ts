/*
 * The part of the Kubernetes API that this project needs, over Node's own HTTPS client: JSON requests and watch streams.
 * What the public client does more costs a process twenty times the memory, and its watches need what `reflector.ts` does.
 */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'

/** Where the API server is, and who asks. */
export interface KubeAccess {
  /** `https://10.96.0.1:443` */
  readonly server: string
  /** PEM; undefined trusts the system's authorities. */
  readonly ca?: string | Buffer
  /** PEM certificate and key of a client that is known by them. */
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
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
  /** Milliseconds until the request is given up; 30 s when absent. */
  readonly timeout?: number
  readonly signal?: AbortSignal
  /** What the answer should be, such as metadata only; JSON when absent. */
  readonly accept?: string
}

export type PatchType =
  | 'application/merge-patch+json'
  | 'application/json-patch+json'
  | 'application/apply-patch+yaml'

/**
 * Paths are those of the API with their query, such as `/api/v1/namespaces?limit=500`. Every call rejects with `KubeError`
 * for an answer other than 2xx, and with the error of the connection if there is no answer.
 */
export interface KubeClient {
  get<T>(path: string, options?: RequestOptions): Promise<T>
  create<T>(path: string, body: object, options?: RequestOptions): Promise<T>
  /** PUT: the whole object, with its `resourceVersion`. */
  replace<T>(path: string, body: object, options?: RequestOptions): Promise<T>
  patch<T>(path: string, type: PatchType, body: object, options?: RequestOptions): Promise<T>
  delete(path: string, body?: object, options?: RequestOptions): Promise<void>
  /** The lines of a watch, parsed, until the server ends it. `timeout` bounds the wait for the answer's beginning only. */
  stream(path: string, options?: RequestOptions): AsyncGenerator<unknown>
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

export function createKubeClient(access: KubeAccess): KubeClient {
  const agent = new Agent({ keepAlive: true, ca: access.ca, cert: access.cert, key: access.key })
  const ask = (
    method: string,
    path: string,
    body: object | undefined,
    type: string,
    options: RequestOptions,
  ) => answerTo({ access, agent, method, path, body, type, options })
  const json = async <T>(method: string, path: string, body?: object, options = {}, type = JSON_TYPE) =>
    JSON.parse(await text(await ask(method, path, body, type, options))) as T

  return {
    get: (path, options) => json('GET', path, undefined, options),
    create: (path, body, options) => json('POST', path, body, options),
    replace: (path, body, options) => json('PUT', path, body, options),
    patch: (path, type, body, options) => json('PATCH', path, body, options, type),
    delete: async (path, body, options) => {
      await json('DELETE', path, body, options)
    },
    async *stream(path, options = {}) {
      const answer = await ask('GET', path, undefined, JSON_TYPE, options)
      try {
        for await (const line of createInterface({ input: answer })) if (line !== '') yield JSON.parse(line)
      } finally {
        answer.destroy()
      }
    },
    close: () => agent.destroy(),
  }
}

const JSON_TYPE = 'application/json'
const DEFAULT_TIMEOUT_MS = 30_000

interface Question {
  readonly access: KubeAccess
  readonly agent: Agent
  readonly method: string
  readonly path: string
  readonly body: object | undefined
  readonly type: string
  readonly options: RequestOptions
}

async function answerTo({
  access,
  agent,
  method,
  path,
  body,
  type,
  options,
}: Question): Promise<IncomingMessage> {
  const { timeout = DEFAULT_TIMEOUT_MS, signal, accept = JSON_TYPE } = options
  const content = body && Buffer.from(JSON.stringify(body))
  const request = httpsRequest(new URL(path, access.server), {
    agent,
    method,
    signal,
    headers: {
      accept,
      'user-agent': 'credential-injector',
      ...(access.token && { authorization: `Bearer ${access.token()}` }),
      ...(content && { 'content-type': type, 'content-length': content.length }),
    },
  })
  const timer = setTimeout(
    () => request.destroy(new Error(`no answer from the API server in ${timeout} ms`)),
    timeout,
  )
  try {
    request.end(content)
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    const { statusCode = 0 } = answer
    if (statusCode < 200 || statusCode > 299) throw await errorOf(answer, statusCode)
    return answer
  } finally {
    clearTimeout(timer)
  }
}

async function errorOf(answer: IncomingMessage, status: number): Promise<KubeError> {
  const retryAfter = Number.parseInt(String(answer.headers['retry-after']), 10)
  const body = await text(answer)
  const { reason = '', message = body.slice(0, 500) } = statusIn(body)
  return new KubeError(status, reason, message, Number.isNaN(retryAfter) ? undefined : retryAfter)
}

function statusIn(body: string): { reason?: string; message?: string } {
  try {
    return JSON.parse(body) ?? {}
  } catch {
    return {}
  }
}
