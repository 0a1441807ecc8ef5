import type { CredentialStatus } from '../../api/status.ts'
import { timeOf } from '../status/conditions.ts'
import type { Usage } from './usage-index.ts'

export type UsageFacts = Pick<CredentialStatus, 'usedBy' | 'lastUsed' | 'stale'>

/**
 * What the status should say of the usage; nothing that would be written without need. A credential that nobody has used so far
 * says nothing of it: ten thousand of them cost no write when a controller starts.
 */
export function factsOf(
  usage: Usage,
  before: CredentialStatus | undefined,
  now: number,
): Partial<UsageFacts> {
  const { pods, workloads, names, stale } = usage
  const isKnown = before?.usedBy !== undefined
  return {
    stale: stale.pods === 0 ? undefined : { pods: stale.pods, names: stale.users.map(({ name }) => name) },
    ...((pods > 0 || isKnown) && {
      usedBy: { pods, workloads, ...(names.length > 0 && { names: [...names] }) },
    }),
    ...(pods !== (before?.usedBy?.pods ?? 0) && { lastUsed: timeOf(now) }),
  }
}
