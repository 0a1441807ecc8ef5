import { isDeepStrictEqual } from 'node:util'
import { keysInStatus, notReady } from '../../api/readiness.ts'
import type { CredentialSpec } from '../../api/schema.ts'
import type { ClusterCredentialStatus, Condition, CredentialStatus } from '../../api/status.ts'
import { conditionOf, type Statement, timeOf, transition, withConditions } from './conditions.ts'
import { HEALTH_CHECKS } from './health-checks.ts'
import { type Fault, MOST_CHECKED, type SecretReport } from './inspect.ts'
import { READY_REASONS } from './reasons.ts'
import { isRotation } from './revision.ts'

export interface StatusInput {
  readonly spec: CredentialSpec
  readonly generation: number
  /** The namespace that the Secret is, or should be, in. */
  readonly namespace: string
  /** The status as it is now; undefined for a credential that was never looked at. */
  readonly before: CredentialStatus | undefined
  /** Undefined if the Secret does not exist. */
  readonly secret: SecretReport | undefined
  /** What other duties know: as of `StatusSource`. */
  readonly others?: Partial<ClusterCredentialStatus>
  /** Milliseconds since 1970. */
  readonly now: number
}

export interface StatusPlan {
  /** Undefined when nothing has changed, so that nothing is written. */
  readonly status: CredentialStatus | undefined
  /** What users should hear of, once: they follow from the change of the status. */
  readonly events: readonly StatusEvent[]
  /** When time alone will change the plan, in milliseconds since 1970. */
  readonly wakeAt: number | undefined
}

export interface StatusEvent {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
}

/** Secrets often come a moment after their credential, from the same `kubectl apply` or from an operator. */
export const GRACE_MS = 60_000
/** As the webhook's warning: contract of `expiresAt`. */
export const SOON_MS = 7 * 24 * 60 * 60 * 1000
/** An event's message has 1024 bytes, and so much is enough for a condition. */
const MOST_MESSAGE_BYTES = 1024

/**
 * What the status should be, what is to be said, and when to look again. The status itself is the only memory: whatever has been
 * said can be read from it, so neither a new start nor another leader says it twice.
 */
export function planStatus(input: StatusInput): StatusPlan {
  const { before, generation, secret, now } = input
  const condition = (statement: Omit<Statement, 'observedGeneration'>) =>
    transition(
      conditionOf(before?.conditions, statement.type),
      { ...statement, observedGeneration: generation },
      now,
    )
  const ready = condition(readiness(input))
  const healthy = condition(health(input))
  const status: CredentialStatus = {
    ...before,
    ...input.others,
    observedGeneration: generation,
    conditions: withConditions(before?.conditions, [ready, healthy]),
    keys: secret && keysInStatus(secret.keys),
    ...rotation(before, secret, now),
  }
  for (const field of Object.keys(status) as (keyof CredentialStatus)[])
    if (status[field] === undefined) delete status[field]
  const isChanged = !isDeepStrictEqual(status, before)
  return {
    status: isChanged ? status : undefined,
    events: isChanged ? eventsOf(input, ready, healthy) : [],
    wakeAt: wakeAt(input, ready),
  }
}

/**
 * The revision stays while there is no Secret: one that is deleted and made again with other content has been rotated.
 * Times of rotations are those at which they were seen.
 */
function rotation(
  before: CredentialStatus | undefined,
  secret: SecretReport | undefined,
  now: number,
): Pick<CredentialStatus, 'revision' | 'lastRotated'> {
  if (secret === undefined) return {}
  const known = before?.revision
  const isRotated = known !== undefined && isRotation(known, secret.revision)
  return { revision: secret.revision, ...(isRotated && { lastRotated: timeOf(now) }) }
}

// ---- Ready -----------------------------------------------------------------------------------------------------------

type Said = Pick<Statement, 'type' | 'status' | 'reason' | 'message'>

function readiness(input: StatusInput): Said {
  const { spec, secret, now } = input
  const problem = notReady(spec, spec.secretRef.name, secret)
  if (problem !== undefined) {
    const message = bounded(`${problem.message}${isInGrace(input) ? '.' : remedyOf(problem.reason, input)}`)
    return { type: 'Ready', status: 'False', reason: problem.reason, message }
  }
  const expires = expiryOf(spec)
  if (expires !== undefined && expires <= now) {
    const message = `The credential expired at ${spec.expiresAt}. ${READY_REASONS.Expired.remedy}`
    return { type: 'Ready', status: 'False', reason: 'Expired', message }
  }
  const message = `${foundSentence(spec)}${isSoon(expires, now) ? ` ${soonSentence(spec)}` : ''}`
  return { type: 'Ready', status: 'True', reason: 'SecretFound', message }
}

function foundSentence({ secretRef }: CredentialSpec): string {
  return `Secret ${secretRef.name} has everything that is needed.`
}

function soonSentence({ expiresAt }: CredentialSpec): string {
  return `The credential expires at ${expiresAt}.`
}

function remedyOf(reason: keyof typeof READY_REASONS, { spec, namespace }: StatusInput): string {
  if (reason !== 'SecretNotFound') return `. ${READY_REASONS[reason].remedy}`
  return `. Create Secret ${spec.secretRef.name} in namespace ${namespace}, or correct spec.secretRef.`
}

/** Only for a Secret that has not been there yet; one that has gone is missed at once. */
function isInGrace({ before, secret, now }: StatusInput): boolean {
  if (secret !== undefined) return false
  const ready = conditionOf(before?.conditions, 'Ready')
  return ready === undefined || (wasQuiet(ready) && now < graceEnds(ready))
}

function graceEnds({ lastTransitionTime }: Condition): number {
  return Date.parse(lastTransitionTime) + GRACE_MS
}

function expiryOf({ expiresAt }: CredentialSpec): number | undefined {
  return expiresAt === undefined ? undefined : Date.parse(expiresAt)
}

function isSoon(expires: number | undefined, now: number): boolean {
  return expires !== undefined && expires - SOON_MS <= now
}

function wakeAt(input: StatusInput, ready: Condition): number | undefined {
  const expires = expiryOf(input.spec)
  const times = [expires, expires && expires - SOON_MS, isInGrace(input) ? graceEnds(ready) : undefined]
  const future = times.filter((time) => time !== undefined && time > input.now) as number[]
  return future.length === 0 ? undefined : Math.min(...future)
}

// ---- Healthy ---------------------------------------------------------------------------------------------------------

function health({ spec, secret }: StatusInput): Said {
  const { name } = spec.secretRef
  const said = (status: Said['status'], reason: string, message: string): Said => ({
    type: 'Healthy',
    status,
    reason,
    message,
  })
  if (secret === undefined)
    return said('Unknown', 'NotChecked', `Secret ${name} does not exist, so there is nothing to look at.`)
  const problem = notReady(spec, name, secret)
  const sentences = [
    ...(problem ? [`${problem.message}. ${READY_REASONS[problem.reason].remedy}`] : []),
    ...(secret.keys.length === 0 && !problem ? [`Secret ${name} is empty. Put the values into it.`] : []),
    ...secret.faults.map(sentenceOf),
  ]
  const note = uncheckedSentence(secret)
  if (sentences.length === 0)
    return said('True', 'NothingFound', `Nothing looks wrong with the content of Secret ${name}.${note}`)
  const reason = problem?.reason ?? secret.faults[0]?.reason ?? 'EmptySecret'
  return said('False', reason, `${listed(sentences, MOST_MESSAGE_BYTES - note.length)}${note}`)
}

function uncheckedSentence({ unchecked }: SecretReport): string {
  if (unchecked === 0) return ''
  return ` Only ${MOST_CHECKED} of its ${MOST_CHECKED + unchecked} keys were looked at: name the keys that are needed in the credential.`
}

/** `WANDB_API_KEY: The value is empty. Put …` */
function sentenceOf({ reason, keys }: Fault): string {
  const { fault, remedy } = HEALTH_CHECKS[reason]
  return `${shortList(keys)}: ${fault} ${remedy}`
}

const MOST_KEYS_NAMED = 5

function shortList(keys: readonly string[]): string {
  const more = keys.length - MOST_KEYS_NAMED
  return `${keys.slice(0, MOST_KEYS_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** As many sentences as there is room for, and how many are left out. */
function listed(sentences: readonly string[], most: number): string {
  const room = most - ' And 99 more.'.length
  let message = ''
  for (const [index, sentence] of sentences.entries()) {
    const longer = index === 0 ? bounded(sentence, room) : `${message} ${sentence}`
    if (Buffer.byteLength(longer) > room) return `${message} And ${sentences.length - index} more.`
    message = longer
  }
  return message
}

/** In bytes: the type of a Secret may be any text. No half of a character is left at the end. */
function bounded(message: string, most = MOST_MESSAGE_BYTES): string {
  const bytes = Buffer.from(message)
  if (bytes.length <= most) return message
  return `${bytes
    .subarray(0, most - '...'.length)
    .toString('utf8')
    .replace(/\ufffd+$/, '')}...`
}

// ---- Events ----------------------------------------------------------------------------------------------------------

function eventsOf(input: StatusInput, ready: Condition, healthy: Condition): StatusEvent[] {
  const { before } = input
  const wasReady = conditionOf(before?.conditions, 'Ready')
  const wasHealthy = conditionOf(before?.conditions, 'Healthy')
  const events: StatusEvent[] = []
  if (isNews(wasReady, ready) && !isInGrace(input)) events.push(warning(ready))
  // What keeps it from being ready has been said already.
  if (isNews(wasHealthy, healthy) && healthy.reason !== ready.reason) events.push(warning(healthy))
  if (isSoonNews(input.spec, wasReady, ready)) events.push(soonWarning(input.spec))
  if (isRecovery(wasReady, ready) || isRecovery(wasHealthy, healthy)) {
    if (ready.status === 'True' && healthy.status === 'True') events.push(recovered(input.spec))
  }
  return events
}

function isNews(before: Condition | undefined, now: Condition): boolean {
  return now.status === 'False' && (before?.reason !== now.reason || before?.message !== now.message)
}

function isRecovery(before: Condition | undefined, now: Condition): boolean {
  return before?.status === 'False' && now.status === 'True' && !wasQuiet(before)
}

/** A Secret that came within the grace was never missed aloud. */
function wasQuiet({ reason, message }: Condition): boolean {
  return reason === 'SecretNotFound' && !message.includes('Create Secret')
}

function isSoonNews(spec: CredentialSpec, before: Condition | undefined, now: Condition): boolean {
  return now.message.endsWith(soonSentence(spec)) && !before?.message.endsWith(soonSentence(spec))
}

function warning({ reason, message }: Condition): StatusEvent {
  return { type: 'Warning', reason, message }
}

function soonWarning(spec: CredentialSpec): StatusEvent {
  return {
    type: 'Warning',
    reason: 'ExpiresSoon',
    message: `${soonSentence(spec)} ${READY_REASONS.Expired.remedy}`,
  }
}

function recovered({ secretRef }: CredentialSpec): StatusEvent {
  return {
    type: 'Normal',
    reason: 'Recovered',
    message: `Secret ${secretRef.name} has everything that is needed, and nothing looks wrong with it.`,
  }
}
