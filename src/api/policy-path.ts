/**
 * Where the API server sends the pods that a policy selects: to a path that names the policy, and which state of it was selected
 * by. So a webhook can tell that it has not heard of it yet.
 */

/** A state of a policy. */
export interface PolicyRevision {
  /** metadata.uid: a policy that is made again begins to count again. */
  readonly uid: string
  /** metadata.generation: counts the changes of the spec. */
  readonly generation: number
}

/** By whose entry a pod was sent. */
export interface SentBy {
  readonly policy: string
  readonly revision: PolicyRevision
}

/** Follows the path of all other pods. Its parts are such as the API server allows there: names of DNS. */
export const POLICY_PATH = '/policies/:policy/:revision'

export function policyPath({ policy, revision: { uid, generation } }: SentBy): string {
  return `/policies/${policy}/${generation}-${uid}`
}

/** The parts of such a path; undefined if they could not come from `policyPath`. */
export function sentBy({
  policy = '',
  revision = '',
}: {
  policy?: string
  revision?: string
}): SentBy | undefined {
  const [, generation, uid] = /^(\d{1,15})-([0-9a-z-]{1,47})$/.exec(revision) ?? []
  if (generation === undefined || uid === undefined || !POLICY_NAME.test(policy)) return undefined
  return { policy, revision: { uid, generation: Number(generation) } }
}

const POLICY_NAME = /^[a-z0-9][-a-z0-9.]{0,252}$/

/** Whether what is known is the wanted state or a later one, as far as the two can be compared. */
export function isUpTo(known: PolicyRevision | undefined, wanted: PolicyRevision): boolean {
  return known?.uid === wanted.uid && known.generation >= wanted.generation
}
