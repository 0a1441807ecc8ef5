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

export const MAX_BODY_BYTES = 7 * 1024 * 1024

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

export function unsupportedContentType(contentType: string | undefined): HttpError {
  const got = contentType === undefined ? 'none was given' : `got ${clip(contentType)}`
  return {
    status: 415,
    reason: 'UnsupportedMediaType',
    message: `Expected the content type application/json; ${got}.`,
  }
}

export function unsupportedEncoding(encoding: string): HttpError {
  return {
    status: 415,
    reason: 'UnsupportedMediaType',
    message: `Expected the body as it is, without the content encoding ${clip(encoding)}: API servers do not compress reviews.`,
  }
}

export const bodyTooLarge: HttpError = {
  status: 413,
  reason: 'RequestEntityTooLarge',
  message: 'Expected an AdmissionReview of at most 7 MiB: API servers take no objects of more than 3 MiB.',
}

/** Not even a part of the body is repeated: it may be part of somebody's pod. */
export function invalidJson(bytes: number): HttpError {
  return {
    status: 400,
    reason: 'BadRequest',
    message: `Expected an AdmissionReview as JSON; the body, ${bytes} bytes, is not JSON.`,
  }
}

export function invalidReview(problem: string): HttpError {
  return { status: 400, reason: 'BadRequest', message: problem }
}

export const overloaded: HttpError = {
  status: 503,
  reason: 'ServiceUnavailable',
  message: 'Too many large reviews at once: try again in a second.',
  // API servers send the same request again after that many whole seconds, within the webhook's timeout; without the header never.
  headers: { 'retry-after': '1' },
}

/** Nothing is decided by half of the catalogue. API servers ask again, as above. */
export function unavailable(problem: string): HttpError {
  return {
    status: 503,
    reason: 'ServiceUnavailable',
    message: `The pod cannot be judged yet: ${problem}.`,
    headers: { 'retry-after': '1' },
  }
}

export function crashed(uid: string): HttpError {
  return {
    status: 500,
    reason: 'InternalError',
    message: `The credential injector failed on this request; its log tells why, at uid ${clip(uid)}.`,
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
function clip(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 119)}…`
}

function listed(routes: Routes): string {
  return Object.entries(routes)
    .map(([path, methods]) => `${methods[0]} ${path}`)
    .join(', ')
}
