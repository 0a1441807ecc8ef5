/*
 * A refused pod of a Deployment is seen by nobody: its ReplicaSet tries again, and again. So the pod's owner gets an event, which
 * `kubectl describe` shows: one for each thing that is wrong, however often it is tried.
 *
 *     refused pod ──► has it an owner? ──► was it said lately? ──► are there too many? ──► sent, beside the answer
 *
 * Who may create pods writes their owners, and may invent any number of them. So an event is only ever written in the namespace
 * of the request, what is remembered is bounded, and so is how much is sent, for each namespace and in all.
 */
import { createHash } from 'node:crypto'
import { denialMessage, type Problem } from '../inject/index.ts'
import type { EventContent, EventSender, EventSubject } from '../kube/events.ts'
import type { Review } from './review.ts'
import { type TokenBucket, tokenBucket } from './token-bucket.ts'

export interface OwnerEvents {
  /** A pod was refused. Never waits and never fails; what cannot be sent is counted. */
  refused(review: Review, problems: readonly Problem[]): void
  /** What became of the events so far. */
  readonly counts: Readonly<Record<OwnerEventOutcome, number>>
  /** Resolves when all have been sent or lost. */
  flush(): Promise<void>
}

/** `limited` are said when the pod is tried again; `lost` did not reach the API server. */
type OwnerEventOutcome = 'sent' | 'repeated' | 'limited' | 'lost'

interface OwnerEventSettings {
  /** Sends events; says by the callbacks what became of each. */
  readonly senderWith: (on: SenderCallbacks) => EventSender
  /** Milliseconds since any moment. */
  readonly now?: () => number
}

interface SenderCallbacks {
  readonly onSent: (event: EventContent) => void
  readonly onLost: (error: Error, event: EventContent, about: EventSubject) => void
}

/** The same thing about the same owner is said once in so long. Controllers try at least every quarter of an hour. */
const QUIET_MS = 10 * 60_000
/** Owners and messages that are remembered, at some 100 bytes each. */
const MOST_REMEMBERED = 5_000
/** A bad name in a chart can stop a hundred workloads at once, and they are to hear of it; a second later ten more, and so on. */
const ALL = { burst: 100, perSecond: 10 }
/** One namespace cannot use up what is there for all. */
const NAMESPACE = { burst: 25, perSecond: 1 }
const MOST_NAMESPACES = 1_000

export function createOwnerEvents({ senderWith, now = Date.now }: OwnerEventSettings): OwnerEvents {
  const counts = { sent: 0, repeated: 0, limited: 0, lost: 0 }
  /** When it was said last, the oldest first. */
  const said = new Map<string, number>()
  const all = tokenBucket(ALL.burst, ALL.perSecond)
  const namespaces = new Map<string, TokenBucket>()
  const sender = senderWith({
    onSent: () => counts.sent++,
    onLost(_error, event, about) {
      counts.lost++
      // Whoever tries again may have more luck.
      said.delete(keyOf(about, event))
    },
  })

  return {
    refused({ namespace, dryRun, object }, problems) {
      if (dryRun) return
      const owner = ownerOf(object.metadata?.ownerReferences)
      // Nobody's pod: whoever created it has been answered.
      if (owner === undefined) return
      const about = { ...owner, namespace }
      const event = eventOn(problems)
      const key = keyOf(about, event)
      const time = now()
      if (time - (said.get(key) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return void counts.repeated++
      if (!mayBeSent(namespace, time)) return void counts.limited++
      remember(key, time)
      sender.send(about, event)
    },
    counts,
    flush: () => sender.flush(),
  }

  function mayBeSent(namespace: string, time: number): boolean {
    const own = bucketOf(namespace)
    if (!own.take(time)) return false
    if (all.take(time)) return true
    own.giveBack()
    return false
  }

  function bucketOf(namespace: string): TokenBucket {
    const bucket = namespaces.get(namespace) ?? tokenBucket(NAMESPACE.burst, NAMESPACE.perSecond)
    touch(namespaces, namespace, bucket, MOST_NAMESPACES)
    return bucket
  }

  function remember(key: string, time: number): void {
    touch(said, key, time, MOST_REMEMBERED)
  }
}

/** Puts it last, and lets go of the first where there are too many. */
function touch<Value>(map: Map<string, Value>, key: string, value: Value, most: number): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > most) map.delete(map.keys().next().value as string)
}

// ---- The owner -------------------------------------------------------------------------------------------------------

type Owner = Pick<EventSubject, 'apiVersion' | 'kind' | 'name' | 'uid'>

/**
 * The one that controls the pod. Undefined where there is none, and for what no API server would store: a pod's references are
 * checked after its webhooks were asked, so anything may stand in them.
 */
function ownerOf(references: unknown): Owner | undefined {
  if (!Array.isArray(references)) return undefined
  const found = references.find((reference) => reference?.controller === true)
  if (found === undefined) return undefined
  const { apiVersion, kind, name, uid } = found as Record<string, unknown>
  const isOne =
    matches(apiVersion, API_VERSION) && matches(kind, KIND) && matches(name, NAME) && matches(uid, UID)
  return isOne ? ({ apiVersion, kind, name, uid } as Owner) : undefined
}

const API_VERSION = /^([a-z0-9][-a-z0-9.]{0,251}\/)?[a-z0-9]{1,63}$/
const KIND = /^[A-Za-z][A-Za-z0-9]{0,62}$/
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/
const UID = /^[-A-Za-z0-9]{1,64}$/

function matches(value: unknown, pattern: RegExp): boolean {
  return typeof value === 'string' && pattern.test(value)
}

// ---- The event -------------------------------------------------------------------------------------------------------

/** The API's limit for an event's message. */
const MOST_MESSAGE_CHARACTERS = 1_024

/** What the answer says, in one line; its reason is that of the problem that stands first. */
function eventOn(problems: readonly Problem[]): EventContent {
  const text = denialMessage(problems).replaceAll('\n', ' ')
  const isLong = text.length > MOST_MESSAGE_CHARACTERS
  const message = isLong ? `${text.slice(0, MOST_MESSAGE_CHARACTERS - 1)}…` : text
  return { type: 'Warning', reason: String(problems[0]?.reason), message }
}

/** Of one length, however long the names and the message are. */
function keyOf(about: EventSubject, { message }: EventContent): string {
  const { namespace, apiVersion, kind, name, uid } = about
  const text = JSON.stringify([namespace, apiVersion, kind, name, uid, message])
  return createHash('sha256').update(text).digest('base64')
}
