import { HEALTH_CHECKS } from '../../src/controller/status/health-checks.ts'
import { EVENT_REASONS, HEALTHY_REASONS, READY_REASONS } from '../../src/controller/status/reasons.ts'

/** docs/health-checks.md: every reason of a condition and of an event that the controller writes. */
export function healthChecksPage(): string {
  const checks = Object.entries(HEALTH_CHECKS).map(([reason, { fault, remedy }]) => ({
    reason,
    title: fault,
    remedy,
  }))
  return `<!-- Made from src/controller/status by \`npm run generate\`; change it there. -->

# What the status of a credential says

The controller looks at the Secret of each Credential and ClusterCredential and writes what it finds into \`status\`:
\`kubectl describe credential NAME\`. It names keys and faults; no value, and no part of one, is ever written or logged.

## Ready

Whether pods that use the credential can start. What is not ready is injected all the same, with a warning: the pod waits,
as Kubernetes does, and starts when the Secret is right.

${table(entries(READY_REASONS))}

## Healthy

Whether the content looks right. Nothing is refused for it: guesses can be wrong, and you may know better. Only what the
credential uses of the Secret is looked at. The reason is the first one of this table that was found; the message lists all
of them with their keys.

${table([...entries(HEALTHY_REASONS), ...checks])}

Faults that are those of \`Ready\` (\`WrongSecretType\`, \`KeyMissing\`) are the reason here too.

## Events

A condition that becomes \`False\`, or is so for another reason than before, is a Warning event with the same reason and
message: once, however often it is looked at. A Secret that does not exist is missed aloud after a minute, because it often
comes a moment after its credential. Events of ClusterCredentials are in the namespace \`default\`. Besides:

${table(entries(EVENT_REASONS))}
`
}

interface Row {
  readonly reason: string
  readonly title: string
  readonly remedy: string
}

function entries(texts: Readonly<Record<string, { title: string; remedy: string }>>): Row[] {
  return Object.entries(texts).map(([reason, text]) => ({ reason, ...text }))
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ reason, title, remedy }) => `| \`${reason}\` | ${cell(title)} | ${cell(remedy)} |`,
  )
  return ['| Reason | What it says | What to do |', '| --- | --- | --- |', ...lines].join('\n')
}

/** Angle brackets would be taken for HTML. */
function cell(text: string): string {
  return text.replace(/<[^>]+>/g, '`$&`').replaceAll('|', '\\|')
}
