import type { IncomingMessage } from 'node:http'
import type { HttpError } from '../process/http-errors.ts'
import { bodyTooLarge, MAX_BODY_BYTES, overloaded } from './http-errors.ts'

/** A review above this size counts as large. Nearly every pod is far below it. */
const LARGE_BODY_BYTES = 64 * 1024

/**
 * How many bytes of large reviews may wait in memory at once. From the memory budget of 256 MiB:
 *
 *     256 MiB  what the process is to stay below; the chart's limit is 384 MiB
 *    − 96 MiB  the process itself with a large catalogue
 *    − 80 MiB  one review of 7 MiB as text and as objects (about ten times its bytes): reviews are judged one at a time,
 *              and one that waits for a direct read (a second at most) keeps its objects meanwhile
 *    − 16 MiB  what the garbage collector has not got to yet
 *    = 64 MiB  bodies: nine of the largest possible, or fifty of 1.3 MB, twice as many as an API server sends at once
 */
export const LARGE_BODIES_IN_FLIGHT_BYTES = 64 * 1024 * 1024

/** Bytes of large bodies in memory now, shared by all requests of a server. */
export interface BodyBudget {
  used: number
  readonly limit: number
}

/** `release` must be called when the body is not needed any more. */
type Done = (body: Buffer, release: () => void) => void
type Refuse = (error: HttpError) => void

/**
 * Reads a request's body whole. Exactly one of `done` and `refuse` is called, or neither if the client goes away.
 * Bytes count when they arrive and not when they are announced: otherwise ten silent connections could lock all others out.
 * After `refuse` the rest of the body is read and dropped, so that the client gets to read its answer and may keep the connection.
 */
export function readBody(request: IncomingMessage, budget: BodyBudget, done: Done, refuse: Refuse): void {
  if (Number(request.headers['content-length']) > MAX_BODY_BYTES) {
    refuse(bodyTooLarge)
    return
  }

  const chunks: Buffer[] = []
  let size = 0
  let counted = 0

  request.on('data', onData)
  request.on('end', onEnd)

  function onData(chunk: Buffer): void {
    chunks.push(chunk)
    size += chunk.length
    if (size > LARGE_BODY_BYTES) countLargeBody()
  }

  function countLargeBody(): void {
    if (counted === 0) request.on('close', release)
    budget.used += size - counted
    counted = size
    if (size > MAX_BODY_BYTES) giveUp(bodyTooLarge)
    else if (budget.used > budget.limit) giveUp(overloaded)
  }

  function onEnd(): void {
    const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size)
    // The pieces are not needed beside the whole.
    chunks.length = 0
    if (counted > 0) request.off('close', release)
    done(body, release)
  }

  function giveUp(error: HttpError): void {
    request.off('data', onData)
    request.off('end', onEnd)
    request.resume()
    chunks.length = 0
    release()
    refuse(error)
  }

  function release(): void {
    budget.used -= counted
    counted = 0
  }
}
