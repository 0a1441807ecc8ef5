import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { bodyOf, type HttpError, internalError, invalidHttp, notFound, type Routes } from './http-errors.ts'
import type { BaseLog } from './log.ts'
import type { BaseMetrics } from './metrics.ts'

/** Answers a request with an error and counts it. The connection stays open: the client's next request may be right. */
export type Refuse = (reply: FastifyReply, error: HttpError) => void

export function createRefuse(metrics: BaseMetrics): Refuse {
  return (reply, error) => {
    metrics.refused(error.status)
    send(reply, error)
  }
}

/** Fastify options for what goes wrong before a route is found. */
export const ERROR_SETTINGS = {
  frameworkErrors: (_error: Error, _request: unknown, reply: FastifyReply) =>
    send(reply, invalidHttp(400, 'its path cannot be decoded')),
  clientErrorHandler: answerBrokenHttp,
} as const

/** Makes every answer that is not a route's own say what was expected. */
export function addErrorAnswers(app: FastifyInstance, routes: Routes, refuse: Refuse, log: BaseLog): void {
  // The routes read bodies themselves. Otherwise fastify would look at the body of a request before it knows where it goes.
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY']) {
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
  app.setNotFoundHandler((request, reply) =>
    refuse(reply, notFound(request.method, pathOf(request.url), routes)),
  )
  app.setErrorHandler((error, _request, reply) => {
    log.error({ err: error }, 'a request failed in a way that nothing foresaw')
    refuse(reply, internalError)
  })
}

function send(reply: FastifyReply, error: HttpError): void {
  reply
    .code(error.status)
    .headers(error.headers ?? {})
    .header('content-type', 'application/json; charset=utf-8')
    .send(bodyOf(error))
}

function pathOf(url: string): string {
  const query = url.indexOf('?')
  return query === -1 ? url : url.slice(0, query)
}

const TIMED_OUT = { status: 408, text: 'Request Timeout', problem: 'this one did not arrive in time' }
const LONG_HEADERS = {
  status: 431,
  text: 'Request Header Fields Too Large',
  problem: 'the headers of this one are too long',
}
const NOT_HTTP = { status: 400, text: 'Bad Request', problem: 'this is none' }

const BROKEN_HTTP: Record<string, typeof NOT_HTTP> = {
  ERR_HTTP_REQUEST_TIMEOUT: TIMED_OUT,
  HPE_HEADER_OVERFLOW: LONG_HEADERS,
}

/** There is no request that could be replied to, only a socket; what follows on it cannot be understood either, so it is closed. */
function answerBrokenHttp(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const { status, text, problem } = BROKEN_HTTP[error.code ?? ''] ?? NOT_HTTP
  const body = bodyOf(invalidHttp(status, problem))
  const head = `HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`
  socket.end(head + body, () => socket.destroy())
}
