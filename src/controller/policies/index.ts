/*
 * What CredentialPolicies need besides the webhook: the API server has to be told whose pods they are for, and platform teams what
 * has become of them. Each policy is an entry of one webhook configuration (configuration.ts), is shown to the credentials that it
 * enforces (enforced-by.ts), and has a status (assessment.ts, status.ts). The entries come first, and wait for nothing else.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isConflict, isNotFound } from '../../kube/client.ts'
import { aborted, type Duty, type DutyParts, mustLead, type StatusSource } from '../duties.ts'
import { createQueue } from '../queue.ts'
import { statusPatch } from '../status/patch.ts'
import { placeOf } from '../watched/credentials.ts'
import type { PolicyObject } from '../watched/index.ts'
import { type Assessment, assess } from './assessment.ts'
import { type ConfigurationNames, followConfiguration } from './configuration.ts'
import { createCredentialIndex } from './credential-index.ts'
import { canBeChecked } from './enforced-by.ts'
import { excludedBy, type StoredPolicy } from './entries.ts'
import { createMending } from './mending.ts'
import { createPolicyMetrics, type PolicyMetrics } from './metrics.ts'
import { createPublication } from './publication.ts'
import { createReader } from './reader.ts'
import { type EntryState, planPolicyStatus } from './status.ts'

export interface PolicyDuty extends Duty, StatusSource {
  /** Resolves when there is nothing to do at present, but what waits for its time. */
  idle(): Promise<void>
}

export interface PolicyDutyOptions extends ConfigurationNames {
  /** Another duty of this process writes bundles into the configuration. */
  readonly managesBundles: boolean
  /** There is news for the status of a credential. */
  readonly tellCredential: (credentialKey: string) => void
}

export function createPolicyDuty(parts: DutyParts, options: PolicyDutyOptions): PolicyDuty {
  let running: Running | undefined
  const begun = Promise.withResolvers<void>()
  const metrics = createPolicyMetrics(parts.metrics.registers, () => parts.watched.policies())
  parts.watched.subscribe({
    policy: (name) => running?.policyChanged(name),
    credential: (key) => running?.credentialChanged(key),
    namespace: (name) => running?.namespaceChanged(name),
    pod: () => running?.podsChanged(),
  })
  return {
    name: 'policies',
    factsOf: (credential) => running?.factsOf(credential) ?? {},
    idle: () => begun.promise.then(() => running?.idle()),
    async run(signal) {
      running = start(parts, options, metrics, signal)
      begun.resolve()
      await aborted(signal)
      await running.stop()
      running = undefined
    },
  }
}

// ---- While it leads --------------------------------------------------------------------------------------------------

interface Running extends StatusSource {
  policyChanged(name: string): void
  credentialChanged(key: string): void
  namespaceChanged(name: string): void
  podsChanged(): void
  idle(): Promise<void>
  stop(): Promise<void>
}

/** The one key of work that is about all policies at once. */
const ALL = 'all'
/** Between two writes of the entries: who applies a hundred policies need not cause a hundred. */
const PACE_MS = 100
/** Between two looks at everything, and how much longer than a look: so that they leave most of the time to others. */
const LOOK_MS = 100
const REST = 5
/** For the number of pods alone. */
const COUNT_EVERY_MS = 5_000

function start(
  parts: DutyParts,
  options: PolicyDutyOptions,
  metrics: PolicyMetrics,
  signal: AbortSignal,
): Running {
  const { client, watched, events, log, ownNamespace, isLeading, now = Date.now } = parts
  const reader = createReader()
  const index = createCredentialIndex(watched)
  const publication = createPublication({ watched, index, tell: options.tellCredential })
  const configuration = followConfiguration({
    client,
    names: { policies: options.policies, pods: options.pods },
    ownNamespace,
    managesBundles: options.managesBundles,
    isLeading,
    signal,
    onChange: () => bringing.add(ALL),
    onTrouble({ during, error, retryIn }) {
      parts.metrics.apiError(during)
      log.warn(
        { problem: error.message, retryInMs: Math.round(retryIn) },
        `the ${during} of webhook configurations failed; it is tried again`,
      )
    },
  })
  const bringing = createQueue({
    work: bring,
    concurrency: 1,
    onFailure: trouble('the entries of policies could not be written; it is tried again'),
    now,
  })
  const looking = createQueue({
    work: look,
    concurrency: 1,
    onFailure: trouble('BUG: the policies could not be looked at; it is tried again'),
    now,
  })
  const statuses = createQueue({
    work: writeStatus,
    onFailure: trouble('the status of a policy could not be brought up to date; it is tried again'),
    now,
  })
  const mending = createMending({
    pace: PACE_MS,
    now,
    onStrife: () =>
      log.warn(
        { configuration: options.policies },
        'somebody else keeps changing the entries of policies: they are set right ever more slowly, at least once a minute; see docs/policies.md',
      ),
  })
  let isSynced = false
  let assessment: Assessment = new Map()
  let lastBrought = 0
  let lastLook = 0
  let notBefore = 0
  let lookDue = Number.POSITIVE_INFINITY
  const revisions = new Map<string, string>()
  const statusWritten = new Map<string, number>()
  const missing = new Set<string>()

  configuration.synced.then(() => {
    isSynced = true
    bringing.add(ALL)
    lookBy(0)
  })

  return {
    factsOf: publication.factsOf,
    policyChanged(name) {
      // Others may have written its status, too: it is set right.
      statuses.add(name)
      const object = watched.policy(name)
      const revision = object && `${object.metadata.uid}/${object.metadata.generation}`
      if (revisions.get(name) === revision) return
      if (revision === undefined) revisions.delete(name)
      else revisions.set(name, revision)
      bringing.add(ALL)
      lookBy(0)
    },
    credentialChanged(key) {
      const news = index.note(key)
      if (news === undefined) return
      const { kind, place } = placeOf(key)
      if (kind === 'Credential' && news !== 'changed')
        publication.credentialMoved(place.slice(place.indexOf('/') + 1))
      lookBy(0)
    },
    namespaceChanged(name) {
      publication.namespaceChanged(name)
      lookBy(0)
    },
    podsChanged: () => lookBy(lastLook + COUNT_EVERY_MS),
    async idle() {
      for (const queue of [bringing, looking, statuses]) await queue.idle()
    },
    async stop() {
      await Promise.all([bringing.stop(), looking.stop(), statuses.stop(), configuration.stop()])
    },
  }

  function trouble(message: string) {
    return (key: string, error: Error, retryIn: number) => {
      // Somebody else wrote in between, and what they wrote is looked at.
      if (isConflict(error) || signal.aborted) return
      parts.metrics.apiError('reconcile')
      log.warn({ policy: key, problem: error.message, retryInMs: Math.round(retryIn) }, message)
    }
  }

  function usablePolicies(): StoredPolicy[] {
    return [...watched.policies()].flatMap((object) => {
      const policy = reader.policy(object)
      return 'unusable' in policy ? [] : [policy]
    })
  }

  function excluded(): ReadonlySet<string> {
    return excludedBy(configuration.template(), ownNamespace)
  }

  // ---- Entries ----

  async function bring(): Promise<void> {
    if (!isSynced) return
    const policies = usablePolicies()
    const isMending = configuration.hasWritten(policies)
    const earliest = lastBrought + (isMending ? mending.pace() : PACE_MS)
    if (now() < earliest) return bringing.addAt(ALL, earliest)
    try {
      if ((await configuration.bring(policies)) === 'nothing') return
      metrics.written('entries')
      lastBrought = now()
      if (isMending) mending.mended()
    } finally {
      for (const { metadata } of watched.policies()) statuses.add(metadata.name)
      publish()
      tellWhatIsMissing()
    }
  }

  /** Only as far as the API server has an entry: else finished pods would be refused for what nobody gave them. */
  function publish(): void {
    const enforced = usablePolicies()
      .filter(({ spec }) => spec.enforcement === 'Enforce')
      .flatMap((policy) => configuration.asSent(policy) ?? [])
    publication.publish(enforced, excluded())
  }

  function tellWhatIsMissing(): void {
    const wanted = [
      [options.policies, configuration.exists()],
      [options.pods, configuration.template() !== undefined],
    ] as const
    for (const [name, isThere] of wanted) {
      if (isThere) missing.delete(name)
      else if (!missing.has(name)) {
        missing.add(name)
        log.error(
          { configuration: name },
          'policies have no effect without this MutatingWebhookConfiguration, which the chart makes: run helm upgrade once more',
        )
      }
    }
  }

  // ---- Statuses ----

  function lookBy(time: number): void {
    const due = Math.max(time, notBefore)
    if (!isSynced || lookDue <= due) return
    lookDue = due
    looking.addAt(ALL, due)
  }

  async function look(): Promise<void> {
    lookDue = Number.POSITIVE_INFINITY
    lastLook = now()
    const left = excluded()
    let rested = 0
    const began = performance.now()
    assessment = await assess({
      policies: usablePolicies(),
      namespaces: [...watched.namespaces()].filter(({ name }) => !left.has(name)),
      pods: watched.pods,
      credential: watched.credential,
      kept: reader.credential,
      async breathe() {
        const from = performance.now()
        signal.throwIfAborted()
        await nextTurn()
        rested += performance.now() - from
      },
    })
    notBefore = now() + Math.max(LOOK_MS, REST * (performance.now() - began - rested))
    for (const { metadata } of watched.policies()) statuses.add(metadata.name)
  }

  async function writeStatus(name: string): Promise<void> {
    const policy = watched.policy(name)
    if (policy === undefined || policy.metadata.deletionTimestamp !== undefined) {
      statusWritten.delete(name)
      statuses.addAt(name, undefined)
      return
    }
    const found = findingsOn(policy)
    if (found === undefined) return
    const { generation = 0 } = policy.metadata
    const plan = planPolicyStatus({ name, generation, before: policy.status, now: now(), ...found })
    if (plan.status === undefined) return
    const earliest = (statusWritten.get(name) ?? 0) + COUNT_EVERY_MS
    if (plan.canWait && now() < earliest) return statuses.addAt(name, earliest)
    if (!(await write(policy, plan.status))) return
    statusWritten.set(name, now())
    for (const event of plan.events) events.send(subjectOf(policy), event)
  }

  /** Undefined while something of it is still under way: whoever brings it asks again. */
  function findingsOn(object: PolicyObject) {
    const policy = reader.policy(object)
    if ('unusable' in policy) return { entry: notUnderstood(policy.unusable), findings: undefined }
    const findings = assessment.get(policy.name)
    const entry = isSynced ? stateOf(policy) : ({ kind: 'Pending' } as const)
    if (entry.kind === 'Pending' || !isAbout(policy, findings)) return undefined
    return { entry, findings }
  }

  function stateOf(policy: StoredPolicy): EntryState {
    const state = configuration.stateOf(policy)
    const isUnchecked =
      state.kind === 'InEffect' && policy.spec.enforcement === 'Enforce' && !canBeChecked(policy, excluded())
    return isUnchecked ? { ...state, isUnchecked } : state
  }

  /** False if it is gone. */
  async function write(policy: PolicyObject, status: NonNullable<PolicyObject['status']>): Promise<boolean> {
    mustLead(isLeading)
    const { name, uid, resourceVersion } = policy.metadata
    const body = { metadata: { uid, resourceVersion }, status: statusPatch(policy.status, status) }
    const path = `/apis/run.ai/v1/credentialpolicies/${name}/status`
    try {
      const after = await client.patch<PolicyObject>(path, 'application/merge-patch+json', body, { signal })
      watched.offerPolicy(after)
    } catch (error) {
      if (isNotFound(error)) return false
      throw error
    }
    metrics.written('status')
    return true
  }
}

function isAbout({ revision }: StoredPolicy, findings: ReturnType<Assessment['get']>): boolean {
  return findings?.revision.uid === revision.uid && findings.revision.generation === revision.generation
}

function notUnderstood(problem: string): Extract<EntryState, { kind: 'NotInEffect' }> {
  return { kind: 'NotInEffect', reason: 'NotUnderstood', message: `The policy has no effect: ${problem}.` }
}

function subjectOf({ metadata: { name, uid, resourceVersion } }: PolicyObject) {
  return { apiVersion: 'run.ai/v1', kind: 'CredentialPolicy', name, uid, resourceVersion }
}
