import type { DirectReads, LookedUp, WantedName } from '../api/catalog.ts'
import { policyPath, type SentBy } from '../api/policy-path.ts'
import { isNotFound, type KubeClient, type KubeObject, METADATA_ONLY } from '../kube/client.ts'
import { type Clock, SYSTEM_CLOCK } from '../kube/clock.ts'
import { keyOf, type ObjectRef } from './objects.ts'
import { createTurns } from './turns.ts'

/** What may be asked for. */
type Target = ObjectRef & { readonly kind: keyof typeof PLURALS }

interface Settings {
  readonly client: Pick<KubeClient, 'get'>
  /** Whether the copy has the object. */
  readonly has: (target: Target) => boolean
  /** An object was found; false if the copy knows better, that it is gone. */
  readonly found: (target: Target, object: KubeObject) => boolean
  /** Whether anything in the catalogue depends on the labels of namespaces. */
  readonly labelsMatter: () => boolean
  readonly clock?: Pick<Clock, 'now'>
  readonly limits?: Partial<typeof LIMITS>
}

export interface ClusterReads extends DirectReads {
  /** The watch has news of the object: what was remembered of it holds no longer. */
  forget(target: ObjectRef): void
  /** How often what came of it. */
  readonly counts: Readonly<Record<ReadOutcome, number>>
}

/** `remembered`: there was none a moment ago. `busy`: too many at once, so it was not asked for. */
export type ReadOutcome = (typeof READ_OUTCOMES)[number]

export const READ_OUTCOMES = ['found', 'absent', 'remembered', 'failed', 'busy'] as const

const LIMITS = {
  /** For one answer, in milliseconds, including the wait for a turn: a fifth of the time that API servers give the webhook. */
  timeout: 1_000,
  /** For how long it is remembered that there is none: controllers that try again soon cost one question a second. */
  absence: 1_000,
  /** Absences that are remembered: whoever invents names must not fill the memory. */
  absences: 10_000,
  /** Names of one pod that are asked for. */
  names: 16,
  /** Questions about names that are under way, and that wait for their turn: of all namespaces, and of one. */
  active: 16,
  waiting: 512,
  waitingOfOne: 64,
  /**
   * The same for namespaces and policies, for which pods of no name come, too. Whoever names much must not keep them waiting: who has
   * no answer to these is not created at all.
   */
  activeFirst: 4,
  waitingFirst: 512,
}

export function createDirectReads(settings: Settings): ClusterReads {
  const { client, has, found, labelsMatter, clock = SYSTEM_CLOCK } = settings
  const limits = { ...LIMITS, ...settings.limits }
  const counts = Object.fromEntries(READ_OUTCOMES.map((outcome) => [outcome, 0])) as Record<
    ReadOutcome,
    number
  >
  const underWay = new Map<string, Promise<string | undefined>>()
  /** Until when an object is known not to exist, the oldest first. */
  const absences = new Map<string, number>()
  const turnsOfNames = createTurns(limits)
  const turnsOfFirst = createTurns({
    active: limits.activeFirst,
    waiting: limits.waitingFirst,
    waitingOfOne: limits.waitingFirst,
  })

  return {
    counts,
    forget: (target) => void absences.delete(keyOf(target)),
    knowsNamespace: (namespace) => isSettled({ kind: 'Namespace', name: namespace }),
    lookUp(namespace, names, sentBy) {
      const questions = [
        ...questionsFor(namespace, names),
        ...(sentBy ? policyQuestions(namespace, sentBy) : []),
      ]
      return questions.length === 0 ? undefined : askAll(namespace, questions)
    },
  }

  // ---- What to ask ----

  interface Question {
    readonly target: Target
    /** The names, as written, that the answer is for; none for the namespace and policies. */
    readonly written?: string
    /** What is known already does not count: the API server has acted by what came after it. */
    readonly since?: string
  }

  function questionsFor(namespace: string, names: readonly WantedName[]): Question[] {
    const questions = names.slice(0, limits.names).flatMap(({ cluster, name }) => {
      const written = cluster ? `cluster/${name}` : name
      const shared: Question = { target: { kind: 'ClusterCredential', name }, written }
      const own: Question = { target: { kind: 'Credential', namespace, name }, written }
      return cluster ? [shared] : [own, shared]
    })
    const all = [{ target: { kind: 'Namespace', name: namespace } as const }, ...questions]
    return all.filter(({ target }) => !isSettled(target))
  }

  function policyQuestions(namespace: string, sentBy: SentBy): Question[] {
    const since = policyPath(sentBy)
    return [
      { target: { kind: 'CredentialPolicy', name: sentBy.policy }, since },
      { target: { kind: 'Namespace', name: namespace }, since },
    ]
  }

  function isSettled(target: Target): boolean {
    if (has(target)) return true
    const until = absences.get(keyOf(target))
    if (until === undefined) return false
    if (until <= clock.now()) {
      absences.delete(keyOf(target))
      return false
    }
    counts.remembered++
    return true
  }

  async function askAll(namespace: string, questions: readonly Question[]): Promise<LookedUp> {
    const unchecked = new Map<string, string>()
    let policiesUnchecked: string | undefined
    await Promise.all(
      questions.map(async ({ target, written, since }) => {
        const problem = await askOnce(namespace, target, since)
        if (problem === undefined) return
        if (written !== undefined) unchecked.set(written, problem)
        else if (since !== undefined || labelsMatter())
          policiesUnchecked = `${NOUNS[target.kind]} ${target.name} could not be looked up: ${problem}`
      }),
    )
    return { unchecked, policiesUnchecked }
  }

  // ---- Asking ----

  /** Many pods of one workload ask for the same at once. Resolves with why it could not be found out, if so. */
  function askOnce(from: string, target: Target, since = ''): Promise<string | undefined> {
    // A question that was asked before that may have been answered before it, too.
    const key = keyOf(target) + since
    const asked = underWay.get(key)
    if (asked) return asked
    const isOfName = target.kind === 'Credential' || target.kind === 'ClusterCredential'
    const turn = (isOfName ? turnsOfNames : turnsOfFirst).take(from)
    if (turn === undefined) {
      counts.busy++
      return Promise.resolve('too many questions to the API server at once')
    }
    const asking = ask(target, turn, clock.now() + limits.timeout).finally(() => underWay.delete(key))
    underWay.set(key, asking)
    return asking
  }

  async function ask(
    target: Target,
    turn: Promise<() => void>,
    deadline: number,
  ): Promise<string | undefined> {
    const done = await turn
    try {
      const left = deadline - clock.now()
      if (left <= 0) throw new Error(`the API server was too busy to be asked within ${limits.timeout} ms`)
      const object = await client.get<KubeObject>(pathOf(target), {
        timeout: left,
        accept: acceptFor(target),
      })
      if (found(target, object)) counts.found++
      else absent(target)
      return undefined
    } catch (error) {
      if (isNotFound(error)) return void absent(target)
      counts.failed++
      return (error as Error).message
    } finally {
      done()
    }
  }

  function absent(target: Target): void {
    counts.absent++
    // Only the API server knows whether there is one by now, and only who was sent by it asks.
    if (target.kind === 'CredentialPolicy') return
    const key = keyOf(target)
    absences.delete(key)
    absences.set(key, clock.now() + limits.absence)
    if (absences.size > limits.absences) absences.delete(absences.keys().next().value as string)
  }
}

function pathOf({ kind, namespace, name }: Target): string {
  const place = namespace === undefined ? '' : `/namespaces/${namespace}`
  return `/${kind === 'Namespace' ? 'api' : 'apis/run.ai'}/v1${place}/${PLURALS[kind]}/${name}`
}

export const PLURALS = {
  Credential: 'credentials',
  ClusterCredential: 'clustercredentials',
  CredentialPolicy: 'credentialpolicies',
  Namespace: 'namespaces',
} as const

const NOUNS = {
  Credential: 'credential',
  ClusterCredential: 'ClusterCredential',
  CredentialPolicy: 'policy',
  Namespace: 'namespace',
} as const

function acceptFor({ kind }: Target): string | undefined {
  return kind === 'Namespace' ? METADATA_ONLY : undefined
}
