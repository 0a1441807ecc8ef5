import type { Claim } from './claims.ts'
import type { Findings } from './findings.ts'

const SEVEN_DAYS = 7 * 24 * 60 * 60 * 1000
const SHELL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** Warns about credentials that are injected although something is not right with them. None of this ever denies. */
export function warnAboutCredentials(claims: readonly Claim[], now: number, findings: Findings): void {
  for (const claim of claims) {
    const { credential, label } = claim
    if (credential.notReady) findings.warn('CredentialNotReady', `${credential.notReady}, for ${label}`)
    warnAboutExpiry(claim, now, findings)
    if (claim.wholeSecret) warnAboutKeys(claim, findings)
  }
}

function warnAboutExpiry({ credential, label }: Claim, now: number, findings: Findings): void {
  const { expiresAt } = credential.spec
  if (expiresAt === undefined) return
  const left = parseTime(expiresAt) - now
  if (left <= 0) findings.warn('CredentialExpired', `${label} expired at ${expiresAt}`)
  else if (left <= SEVEN_DAYS) findings.warn('CredentialExpired', `${label} expires at ${expiresAt}`)
}

function warnAboutKeys({ credential }: Claim, findings: Findings): void {
  const unusual = credential.keys?.filter((key) => !SHELL_NAME.test(key)) ?? []
  if (unusual.length > 0) {
    findings.warn(
      'UnusualVariable',
      `no names for a shell: ${someOf(unusual)} of Secret ${credential.secretName}`,
    )
  }
}

/** As many as a warning has room for beside the rest of its sentence, and a count of the others. */
function someOf(names: readonly string[]): string {
  const ROOM = 50
  let shown = 1
  while (shown < names.length && names.slice(0, shown + 1).join(', ').length <= ROOM) shown++
  const rest = names.length - shown
  return names.slice(0, shown).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}

// biome-ignore lint/style/noRestrictedGlobals: parsing a given time reads no clock
const parseTime = (text: string): number => Date.parse(text)
