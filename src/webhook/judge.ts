import type { FastifyReply } from 'fastify'
import type { LookedUp } from '../api/catalog.ts'
import type { SentBy } from '../api/policy-path.ts'
import type { Refuse } from '../process/errors.ts'
import type { HttpError } from '../process/http-errors.ts'
import { type AdmissionSettings, admit, admitAfterLookUp, type Decision } from './admission.ts'
import { crashed, invalidJson, invalidReview, unavailable } from './http-errors.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { OwnerEvents } from './owner-events.ts'
import { parseJson } from './parse.ts'
import { type Review, readReview } from './review.ts'

/** A body that has arrived, and on its way to an answer what is known of it. */
export interface Pending {
  readonly body: Buffer
  readonly reply: FastifyReply
  /** To be called when the body is not needed any more. */
  readonly release: () => void
  /** `performance.now()` when the last byte came. */
  readonly arrived: number
  /** The policy that it was sent for; undefined if it was sent for its annotations. */
  readonly sentBy?: SentBy
  review?: Review
  decision?: Decision
}

interface Judge {
  readonly admission: AdmissionSettings
  readonly refuse: Refuse
  readonly metrics: Metrics
  readonly log: Log
  readonly ownerEvents?: OwnerEvents
}

/** Answers reviews, each of its own, in steps that all of them take together; see batch.ts for the reason. */
export function createJudge(parts: Judge): (batch: readonly Pending[]) => void {
  const { admission, refuse, metrics, log, ownerEvents } = parts
  const steps = [parse, decide, send, record]
  return (batch) => {
    const now = Date.now()
    for (const step of steps) {
      for (const pending of batch) attempt(step, pending, now)
    }
  }

  function parse(pending: Pending): void {
    const review = reviewIn(pending.body)
    pending.release()
    if ('status' in review) refuse(pending.reply, review)
    else pending.review = review
  }

  function decide(pending: Pending, now: number): void {
    if (pending.review === undefined) return
    const decision = admit(pending.review, admission, now, pending.sentBy)
    if ('badPod' in decision) refuse(pending.reply, invalidReview(decision.badPod))
    else if ('lookingUp' in decision) void decideLater(pending, decision.lookingUp)
    else pending.decision = decision
  }

  async function decideLater(pending: Pending, lookingUp: Promise<LookedUp>): Promise<void> {
    const found = await lookingUp.catch((error: Error) => ({
      unchecked: new Map<string, string>(),
      policiesUnchecked: `BUG: what it needs could not be looked up: ${error.message}`,
    }))
    for (const step of [decideAfter(found), send, record]) attempt(step, pending, Date.now())
  }

  function decideAfter(found: LookedUp): typeof decide {
    return (pending, now) => {
      const decision = admitAfterLookUp(pending.review as Review, admission, found, now)
      if ('unavailable' in decision) refuse(pending.reply, unavailable(decision.unavailable))
      else pending.decision = decision
    }
  }

  function send({ reply, decision }: Pending): void {
    if (decision) reply.header('content-type', 'application/json; charset=utf-8').send(decision.body)
  }

  function record({ review, decision, arrived }: Pending): void {
    if (review === undefined || decision === undefined) return
    metrics.decided(decision, performance.now() - arrived)
    log.decided(review, decision)
    if (decision.outcome?.kind === 'Denied') ownerEvents?.refused(review, decision.outcome.problems)
  }

  /** A failure is of one review: the API server lets the failure policy decide about its pod, and all others go on. */
  function attempt(step: (pending: Pending, now: number) => void, pending: Pending, now: number): void {
    try {
      step(pending, now)
    } catch (error) {
      metrics.crashed()
      log.crashed(pending.review?.uid ?? '', error)
      pending.decision = undefined
      if (!pending.reply.sent) refuse(pending.reply, crashed(pending.review?.uid ?? ''))
    }
  }
}

/** The review in a body, or what is answered if it is none. */
export function reviewIn(body: Buffer): Review | HttpError {
  let parsed: unknown
  try {
    parsed = parseJson(body)
  } catch {
    return invalidJson(body.length)
  }
  const review = readReview(parsed)
  return typeof review === 'string' ? invalidReview(review) : review
}
