import type { ClusterCredentialStatus } from '../api/status.ts'
import type { KubeClient } from '../kube/client.ts'
import type { EventSender } from '../kube/events.ts'
import type { BaseLog } from '../process/log.ts'
import type { ControllerMetrics } from './metrics.ts'
import type { CredentialObject } from './watched/credentials.ts'
import type { Watched } from './watched/index.ts'

/**
 * What the controller does while it leads; a folder for each. They know nothing of each other and share only `DutyParts`; what
 * one of them knows of a credential gets into its status as a `StatusSource`.
 */
export interface Duty {
  /** For the log. */
  readonly name: string
  /** Goes on until the signal is aborted, and writes nothing after that. A rejection ends the process: it cannot do its duty. */
  run(signal: AbortSignal): Promise<void>
}

/** Resolves when the duty is to end, at once if it is already. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** To be called before each write. Throws if another instance may have begun to lead. */
export function mustLead(isLeading: () => boolean): void {
  if (!isLeading()) throw new Error('another instance may be leading by now')
}

/** What duties are made of. */
export interface DutyParts {
  readonly client: KubeClient
  readonly watched: Watched
  readonly events: EventSender
  readonly metrics: ControllerMetrics
  readonly log: BaseLog
  readonly ownNamespace: string
  /** Asked before anything is written. */
  readonly isLeading: () => boolean
  /** The key that revisions are made with. Goes on trying until the signal is aborted; rejects if the key cannot be used. */
  readonly revisionKey: (signal: AbortSignal) => Promise<Buffer>
  /** Milliseconds since 1970; the system's time when absent. */
  readonly now?: () => number
}

/**
 * Knows a part of a credential's status. All of it is written by the status duty, which is told with `changed` that there is
 * something new: two writers would take each other's conflicts.
 */
export interface StatusSource {
  /** Fields as they should be; a field that is there and undefined is to go, one that is absent stays as it is. */
  factsOf(credential: CredentialObject): Partial<ClusterCredentialStatus>
}
