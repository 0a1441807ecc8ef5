/** What people hear when pods become stale: once, since the status remembers that it was said. */
import type { CredentialStatus } from '../../api/status.ts'
import type { EventContent, EventSubject } from '../../kube/events.ts'
import type { CredentialObject } from '../watched/credentials.ts'
import type { Usage } from './usage-index.ts'

/** A word of its own: no condition's, no duty's. */
const STALE_REASON = 'Stale'

export interface News {
  readonly about: EventSubject
  readonly event: EventContent
}

/**
 * What follows from the change of the status: one event on the credential when it begins to have stale pods, and one on each
 * workload that comes to be listed there.
 */
export function newsOf(
  credential: CredentialObject,
  before: CredentialStatus['stale'],
  { stale: { users } }: Usage,
): News[] {
  const { stale, lastRotated } = credential.status ?? {}
  if (stale === undefined) return []
  const listed = stale.names ?? []
  const said = new Set(before?.names)
  const heard = users.filter(({ name }) => listed.includes(name) && !said.has(name))
  const { kind, metadata } = credential
  const its: News = {
    about: { apiVersion: 'run.ai/v1', kind, ...identityOf(credential) },
    event: warning(
      `${count(stale.pods)} with variables from before the rotation at ${lastRotated}: ${list(listed)}. ${REMEDY}`,
    ),
  }
  const workloads = heard.map(({ subject }) => ({
    about: subject,
    event: warning(
      `${subject.kind === 'Pod' ? 'It runs' : 'Its pods run'} with variables from before the rotation of ${kind} ${metadata.name} at ${lastRotated}. ${REMEDY}`,
    ),
  }))
  return before === undefined ? [its, ...workloads] : workloads
}

const REMEDY =
  'Restart to take the new content, as with kubectl rollout restart, or let the controller do it: rotation.restart: Automatic.'

const MOST_IN_MESSAGE = 5

function warning(message: string): EventContent {
  return { type: 'Warning', reason: STALE_REASON, message }
}

function count(pods: number): string {
  return pods === 1 ? '1 pod runs' : `${pods} pods run`
}

function list(names: readonly string[]): string {
  return `${names.slice(0, MOST_IN_MESSAGE).join(', ')}${names.length > MOST_IN_MESSAGE ? ' and others' : ''}`
}

function identityOf({ metadata }: CredentialObject) {
  const { name, namespace, uid, resourceVersion } = metadata
  return { name, namespace, uid, resourceVersion }
}
