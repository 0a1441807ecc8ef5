import { RESTARTED_FOR } from '../../annotations.ts'
import { backoff } from '../../kube/backoff.ts'
import { isConflict, isNotFound, KubeError } from '../../kube/client.ts'
import { type Clock, SYSTEM_CLOCK } from '../../kube/clock.ts'
import { type DutyParts, mustLead } from '../duties.ts'
import type { WorkQueue } from '../queue.ts'
import type { Workload } from '../watched/owners.ts'
import { isDelivered } from './delivery.ts'
import { createRotationMetrics } from './metrics.ts'
import {
  askedFor,
  type Hold,
  held,
  openRotations,
  type Plan,
  planRestart,
  type StaleRotation,
  sentences,
  settledAt,
} from './plan.ts'
import { RESTART_REASONS, type RestartReason } from './reasons.ts'
import { itemOf, type Rotation, rotationsIn } from './record.ts'
import type { RotationSettings } from './settings.ts'
import { keyOf, type StaleWorkloads } from './stale.ts'
import { createTurns } from './turns.ts'
import {
  FIELD_MANAGER,
  isRestartable,
  pathOf,
  recordsIn,
  type StoredTemplates,
  type StoredWorkload,
  stateOf,
  templatesPathOf,
  type WorkloadState,
} from './workload.ts'

/** How often a rollout is asked whether it has finished: nobody else is told of its end. */
const FOLLOW_MS = 2_000
/** A copy of a ClusterCredential's Secret that has not come yet: soon, or for long not. */
const DELIVERY = { first: 1_000, most: 30_000 }
/** How soon a workload that cannot be restarted is looked at again; of very many, each more seldom. */
const HELD_MS = 30_000
const HELD_AT_FULL_PACE = 100
/** At the beginning. */
const SURVEYED_AT_ONCE = 8
const SURVEY_TRIES = 8

export interface Restarter {
  /**
   * Finds, before anything is restarted, what a predecessor has begun: or else more would be under way than there may be. Never
   * rejects: what cannot be read is taken for under way until it is looked at.
   */
  survey(signal: AbortSignal): Promise<void>
  underWay(): Iterable<string>
  look(workloadKey: string, signal: AbortSignal): Promise<void>
}

interface Rollout {
  readonly workload: Workload
  /** Milliseconds since 1970. */
  readonly since: number
}

/** What was found about a workload, so that each of its pods' changes need not ask again. */
interface Answer {
  readonly asked: string
  readonly until: number
  readonly isHeld: boolean
}

type Restart = Extract<Plan, { do: 'restart' }>

export function createRestarter(
  parts: DutyParts,
  stale: StaleWorkloads,
  settings: RotationSettings,
  queue: Pick<WorkQueue, 'add' | 'addAt'>,
  clock: Clock = SYSTEM_CLOCK,
): Restarter {
  const { client, events, log, now = Date.now } = parts
  const turns = createTurns({
    atOnce: settings.atOnce,
    onePerNamespace: settings.oneAtATime,
    onTurn: queue.add,
  })
  const rollouts = new Map<string, Rollout>()
  const answers = new Map<string, Answer>()
  const said = new Map<string, string>()
  /** How often a copy was not there yet. */
  const deliveries = new Map<string, number>()
  /** Changes whose answer did not get through. */
  const unsure = new Map<string, Restart>()
  const metrics = createRotationMetrics(parts.metrics, turns, heldCount)

  return { survey, underWay: () => rollouts.keys(), look }

  // ---- Observe ----

  async function look(key: string, signal: AbortSignal): Promise<void> {
    const found = stale.get(key)
    const rollout = rollouts.get(key)
    const workload = found?.workload ?? rollout?.workload
    if (workload === undefined || !isRestartable(workload)) return forget(key)
    const ripe = ripeAmong(key, found === undefined ? [] : askedFor(found))
    if (rollout === undefined) {
      if (ripe.length === 0 || isAnswered(key, ripe)) return turns.end(key)
      if (!settings.restartWorkloads)
        return await hold(key, workload, ripe, held('RestartsOff', ripe, true), signal)
      if (!turns.take(key, workload.namespace)) return
    }
    await attempt(key, workload, ripe, signal)
  }

  /** All of them once the last has settled; when that will be is noted. */
  function ripeAmong(key: string, asked: readonly StaleRotation[]): readonly StaleRotation[] {
    if (asked.length === 0) {
      answers.delete(key)
      return []
    }
    const settled = settledAt(asked, settings.settle)
    if (settled <= now()) return asked
    queue.addAt(key, settled)
    return []
  }

  function isAnswered(key: string, ripe: readonly StaleRotation[]): boolean {
    const answer = answers.get(key)
    return answer !== undefined && answer.asked === fingerprint(ripe) && now() < answer.until
  }

  async function attempt(
    key: string,
    workload: Workload,
    ripe: readonly StaleRotation[],
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await decide(key, workload, ripe, signal)
    } catch (error) {
      if (signal.aborted) return
      if (isNotFound(error)) return forget(key)
      if (!rollouts.has(key)) turns.end(key)
      if (isRefusal(error)) return await hold(key, workload, ripe, refused(ripe, error as Error), signal)
      metrics.counted(isConflict(error) ? 'conflict' : 'error')
      throw error
    }
  }

  async function decide(
    key: string,
    workload: Workload,
    ripe: readonly StaleRotation[],
    signal: AbortSignal,
  ): Promise<void> {
    const object = await client.get<StoredWorkload>(pathOf(workload), { signal })
    // Another one of its name: what is known is of pods that go with their owner.
    if (object.metadata.uid !== workload.uid) return forget(key)
    const state = stateOf(workload.kind, object)
    makeSure(key, workload, state)
    const open = openRotations(state, ripe)
    const delivered = await deliveredAmong(open, workload.namespace, signal)
    const plan = await planFor(workload, object, state, delivered, signal)
    if (plan.do === 'restart') await restart(key, workload, object, plan, signal)
    else if (isUnderWay(key, workload, state, ripe)) queue.addAt(key, now() + FOLLOW_MS)
    else if (plan.do === 'hold') await hold(key, workload, ripe, plan, signal)
    else if (delivered.length < open.length) awaitDelivery(key, ripe)
    else settle(key, ripe)
  }

  async function deliveredAmong(
    open: readonly StaleRotation[],
    namespace: string,
    signal: AbortSignal,
  ): Promise<readonly StaleRotation[]> {
    const delivered: StaleRotation[] = []
    for (const rotation of open)
      if (await isDelivered(parts, rotation, namespace, signal)) delivered.push(rotation)
    return delivered
  }

  async function planFor(
    workload: Workload,
    object: StoredWorkload,
    state: WorkloadState,
    asked: readonly StaleRotation[],
    signal: AbortSignal,
  ): Promise<Plan> {
    const { isPaused } = settings
    const asks = asked.length > 0 && !isPaused && state.hold === undefined
    const earlier = asks
      ? recordsIn(
          await client.get<StoredTemplates>(templatesPathOf(workload, object), { signal }),
          workload.uid,
        )
      : []
    return planRestart({ state, asked, isPaused, earlier })
  }

  // ---- Apply ----

  async function restart(
    key: string,
    workload: Workload,
    { metadata: { uid, resourceVersion } }: StoredWorkload,
    plan: Restart,
    signal: AbortSignal,
  ): Promise<void> {
    mustLead(parts.isLeading)
    const annotations = { [RESTARTED_FOR]: plan.record }
    const body = { metadata: { uid, resourceVersion }, spec: { template: { metadata: { annotations } } } }
    unsure.set(key, plan)
    try {
      const path = `${pathOf(workload)}?fieldManager=${FIELD_MANAGER}`
      await client.patch(path, 'application/merge-patch+json', body, { signal })
    } catch (error) {
      if (error instanceof KubeError) unsure.delete(key)
      throw error
    }
    restarted(key, workload, plan)
    queue.addAt(key, now() + FOLLOW_MS)
  }

  /** The answer to a change may have been lost, and the change done. */
  function makeSure(key: string, workload: Workload, { record }: WorkloadState): void {
    const plan = unsure.get(key)
    unsure.delete(key)
    if (plan !== undefined && plan.record === record) restarted(key, workload, plan)
  }

  function restarted(key: string, workload: Workload, { rotations, message }: Restart): void {
    unsure.delete(key)
    for (const memory of [answers, said, deliveries]) memory.delete(key)
    turns.found(key, workload.namespace)
    rollouts.set(key, { workload, since: now() })
    metrics.counted('restarted')
    log.info(
      { workload: key, credentials: rotations.map(({ credential }) => credential) },
      'a workload was restarted for a rotation',
    )
    events.send(workload, { type: 'Normal', reason: 'RestartedForRotation', message })
  }

  // ---- Rollouts ----

  /** Of a restart of ours, or of a predecessor's. */
  function isUnderWay(
    key: string,
    workload: Workload,
    state: WorkloadState,
    ripe: readonly StaleRotation[],
  ): boolean {
    if (!rollouts.has(key) && isRecorded(state, ripe)) beginAsWritten(key, workload, state)
    const rollout = rollouts.get(key)
    if (rollout === undefined || state.isRolledOut) return false
    if (now() - rollout.since < settings.rolloutLimit) return true
    metrics.counted('notFinished')
    say(key, workload, 'RolloutNotFinished', sentences('RolloutNotFinished'))
    return false
  }

  /**
   * A rollout that the controller began a while ago. A record that it did not write is no sign of one, nor is one of old: templates
   * keep it for ever, and what is rolled out now may be anything. It may take no longer for having been found anew.
   */
  function beginAsWritten(key: string, workload: Workload, { restartedAt }: WorkloadState): void {
    if (restartedAt === undefined || now() - restartedAt >= settings.rolloutLimit) return
    begin(key, workload, Math.min(restartedAt, now()))
  }

  function begin(key: string, workload: Workload, since: number): void {
    turns.found(key, workload.namespace)
    rollouts.set(key, { workload, since })
  }

  async function survey(signal: AbortSignal): Promise<void> {
    if (!settings.restartWorkloads) return
    const candidates = [...begunBefore()]
    const next = async (): Promise<void> => {
      for (let one = candidates.pop(); one && !signal.aborted; one = candidates.pop()) await find(one, signal)
    }
    await Promise.all(Array.from({ length: SURVEYED_AT_ONCE }, next))
  }

  /** Those that may have to be restarted, and those whose pods say that they are of a restart. */
  function begunBefore(): Iterable<Workload> {
    const candidates = new Map<string, Workload>()
    for (const found of stale.all())
      if (askedFor(found).length > 0) candidates.set(keyOf(found.workload), found.workload)
    for (const workload of stale.restartedWithin(settings.rolloutLimit))
      candidates.set(keyOf(workload), workload)
    return [...candidates.values()].filter(isRestartable)
  }

  async function find(workload: Workload, signal: AbortSignal): Promise<void> {
    const key = keyOf(workload)
    try {
      const object = await patiently(() => client.get<StoredWorkload>(pathOf(workload), { signal }), signal)
      const state = stateOf(workload.kind, object)
      const isIts = object.metadata.uid === workload.uid
      // Whatever it was restarted for: the Secret may have changed again since then.
      if (isIts && state.record !== '' && !state.isRolledOut) beginAsWritten(key, workload, state)
    } catch (error) {
      if (!isNotFound(error) && !isRefusal(error)) begin(key, workload, now())
    }
  }

  async function patiently<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let failures = 1; ; failures++) {
      try {
        return await ask()
      } catch (error) {
        if (signal.aborted || isNotFound(error) || isRefusal(error) || failures === SURVEY_TRIES) throw error
        parts.metrics.apiError('reconcile')
        await clock.sleep(backoff(failures, clock.random), signal)
      }
    }
  }

  // ---- What was found ----

  /** Nothing more is to be done until something else is asked for. */
  function settle(key: string, ripe: readonly StaleRotation[]): void {
    answers.set(key, { asked: fingerprint(ripe), until: Number.POSITIVE_INFINITY, isHeld: false })
    said.delete(key)
    rollouts.delete(key)
    turns.end(key)
    // What is asked for meanwhile may have been looked at while the rollout was under way.
    if (ripe.length === 0) queue.add(key)
  }

  /** Nobody else waits for it meanwhile. */
  function awaitDelivery(key: string, ripe: readonly StaleRotation[]): void {
    const count = (deliveries.get(key) ?? 0) + 1
    deliveries.set(key, count)
    const until = now() + backoff(count, clock.random, DELIVERY)
    answers.set(key, { asked: fingerprint(ripe), until, isHeld: false })
    rollouts.delete(key)
    queue.addAt(key, until)
    turns.end(key)
  }

  async function hold(
    key: string,
    workload: Workload,
    ripe: readonly StaleRotation[],
    { reason, message, isFinal }: Hold,
    signal: AbortSignal,
  ): Promise<void> {
    const pace = HELD_MS * Math.ceil((heldCount() + 1) / HELD_AT_FULL_PACE)
    const until = isFinal ? Number.POSITIVE_INFINITY : now() + pace
    answers.set(key, { asked: fingerprint(ripe), until, isHeld: true })
    if (!isFinal) queue.addAt(key, until)
    const isNews = say(key, workload, reason, message)
    rollouts.delete(key)
    turns.end(key)
    if (!isNews) return
    metrics.counted('held')
    // It is said once, of thousands at the same time, and of events that wait only so many are kept: more slowly, then.
    await untilAborted(events.flush(), signal)
  }

  /** Once, as long as it stays the same. */
  function say(key: string, workload: Workload, reason: RestartReason, message: string): boolean {
    if (said.get(key) === message) return false
    said.set(key, message)
    log.warn({ workload: key, reason }, message)
    events.send(workload, { type: RESTART_REASONS[reason].type, reason, message })
    return true
  }

  function forget(key: string): void {
    for (const memory of [answers, said, deliveries, unsure, rollouts]) memory.delete(key)
    queue.addAt(key, undefined)
    turns.end(key)
  }

  function heldCount(): number {
    return [...answers.values()].filter(({ isHeld }) => isHeld).length
  }
}

async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const listening = new AbortController()
  const aborted = new Promise((resolve) =>
    signal.addEventListener('abort', resolve, { signal: listening.signal }),
  )
  await Promise.race([work, aborted])
  listening.abort()
}

function fingerprint(rotations: readonly Rotation[]): string {
  return rotations.map(itemOf).sort().join()
}

function isRecorded({ record }: WorkloadState, asked: readonly Rotation[]): boolean {
  const done = new Set(rotationsIn(record).map(itemOf))
  return asked.some((rotation) => done.has(itemOf(rotation)))
}

/** The API server's own sentence is about names and rights. */
function refused(ripe: readonly Rotation[], { message }: Error): Hold {
  const plan = held('RestartRefused', ripe, false)
  return { ...plan, message: `${plan.message} It says: ${message}` }
}

/** Asking again would not help: a right is missing, or something in the cluster does not let it through. */
function isRefusal(error: unknown): boolean {
  return error instanceof KubeError && [400, 403, 422].includes(error.status)
}
