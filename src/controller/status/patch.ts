import type { CredentialStatus } from '../../api/status.ts'

type Patch = { [Field in keyof CredentialStatus]?: CredentialStatus[Field] | null }

/** A merge patch (RFC 7386) that makes the one status of the other: only what differs, and null for what is to go. */
export function statusPatch(before: CredentialStatus = {}, after: CredentialStatus): Patch {
  const gone = Object.keys(before).filter((field) => !(field in after))
  const changed = Object.entries(after).filter(
    ([field, value]) => JSON.stringify(value) !== JSON.stringify(before[field as keyof CredentialStatus]),
  )
  return Object.fromEntries([...gone.map((field) => [field, null]), ...changed])
}
