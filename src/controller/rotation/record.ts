/**
 * What `credentials.run.ai/restarted-for` says on a pod template: the rotations that the workload was restarted for, such as
 * `Credential/wandb@3f1c9e0ab2d47788@2026-11-25T01:15:00Z`, separated by commas. It is the only memory of restarts: whoever leads,
 * and however often it was killed, reads there what has been done.
 */

/** One change of a credential's Secret, as the credential's status has it. */
export interface Rotation {
  /** `Credential/wandb`, of the workload's namespace, or `ClusterCredential/hub`. */
  readonly credential: string
  readonly revision: string
  /** `status.lastRotated`. With it a return to an older content is another rotation than the first one to it. */
  readonly at: string
}

/** A hundred names of the longest kind are 32 KiB; the annotations of an object may have 256 KiB. */
export const MOST_RECORDED = 100

export function itemOf({ credential, revision, at }: Rotation): string {
  return `${credential}@${revision}@${at}`
}

/** What is not understood is left out: anybody may have written there. */
export function rotationsIn(record: string): Rotation[] {
  return record.split(',').flatMap((item) => {
    const [, credential, revision, at] = ITEM.exec(item) ?? []
    return credential && revision && at ? [{ credential, revision, at }] : []
  })
}

const ITEM = /^((?:Cluster)?Credential\/[^@,]+)@([^@,]+)@([^@,]+)$/

/** The record with these rotations: the last one of each credential, by name; the oldest go where there are too many. */
export function recordWith(record: string, rotations: readonly Rotation[]): string {
  const last = new Map<string, Rotation>()
  for (const rotation of [...rotationsIn(record), ...rotations]) last.set(rotation.credential, rotation)
  return [...last.values()]
    .sort((a, b) => inOrder(b.at, a.at) || inOrder(a.credential, b.credential))
    .slice(0, MOST_RECORDED)
    .sort((a, b) => inOrder(a.credential, b.credential))
    .map(itemOf)
    .join(',')
}

function inOrder(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
