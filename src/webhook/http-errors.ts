import { clip, type HttpError } from '../process/http-errors.ts'

export const MAX_BODY_BYTES = 7 * 1024 * 1024

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
