/**
 * What is answered when a request cannot be turned into an admission decision.
 * The body is a Kubernetes Status (meta/v1): the API server's client decodes it and shows its `message` to the person whose pod
 * it was, where any other body would become "the server rejected our request for an unknown reason".
 */

export interface HttpError {
  readonly status: number
  readonly reason: string
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Paths that exist, with the methods they take. */
export type Routes = Readonly<Record<string, readonly string[]>>

export function notFound(method: string, path: string, routes: Routes): HttpError {
  const allowed = routes[path]
  if (allowed === undefined) {
    return {
      status: 404,
      reason: 'NotFound',
      message: `There is nothing at ${clip(path)}. Expected ${listed(routes)}.`,
    }
  }
  return {
    status: 405,
    reason: 'MethodNotAllowed',
    message: `${path} takes ${allowed.join(' or ')}, not ${clip(method)}.`,
    headers: { allow: allowed.join(', ') },
  }
}

export const internalError: HttpError = {
  status: 500,
  reason: 'InternalError',
  message: 'The credential injector failed; its log tells why.',
}

export function invalidHttp(status: number, problem: string): HttpError {
  return { status, reason: 'BadRequest', message: `Expected an HTTP/1.1 request: ${problem}.` }
}

export function bodyOf({ status, reason, message }: HttpError): string {
  return JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code: status,
    reason,
    message,
  })
}

/** What came from outside is shown only in part: it may be megabytes. */
export function clip(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 119)}…`
}

function listed(routes: Routes): string {
  return Object.entries(routes)
    .map(([path, methods]) => `${methods[0]} ${path}`)
    .join(', ')
}
