/* The flags of the controller that are about certificates. All but the first have defaults that fit the chart. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { CertificateDutyOptions } from './index.ts'

export type CertificateSettings = Pick<
  CertificateDutyOptions,
  | 'service'
  | 'extraNames'
  | 'authoritySecret'
  | 'servingSecret'
  | 'mutatingConfigurations'
  | 'validatingConfigurations'
  | 'authorityValidity'
  | 'servingValidity'
  | 'overlap'
  | 'settle'
>

/** As commander gives them. */
export interface CertificateFlags {
  selfManagedCertificates?: boolean
  webhookService: string
  certificateNames: readonly string[]
  caSecret: string
  certificateSecret: string
  mutatingConfigurations: readonly string[]
  validatingConfigurations: readonly string[]
  caValidity: number
  certificateValidity: number
  certificateOverlap: number
  certificateSettle: number
}

export function addCertificateFlags(command: Command): Command {
  for (const flag of flags()) command.addOption(flag)
  return command
}

/** Undefined when somebody else looks after certificates. Throws an Error with a sentence for lives that contradict each other. */
export function certificateSettings(flags: CertificateFlags): CertificateSettings | undefined {
  if (!flags.selfManagedCertificates) return undefined
  checkLives(flags)
  return Object.freeze({
    service: flags.webhookService,
    extraNames: flags.certificateNames,
    authoritySecret: flags.caSecret,
    servingSecret: flags.certificateSecret,
    mutatingConfigurations: flags.mutatingConfigurations,
    validatingConfigurations: flags.validatingConfigurations,
    authorityValidity: flags.caValidity,
    servingValidity: flags.certificateValidity,
    overlap: flags.certificateOverlap,
    settle: flags.certificateSettle,
  })
}

function flags(): Option[] {
  return [
    variable(
      '--self-managed-certificates',
      'SELF_MANAGED_CERTIFICATES',
      'make and renew the webhook’s certificates; for clusters where nobody else does',
    ),
    variable('--webhook-service <name>', 'WEBHOOK_SERVICE', 'Service that API servers reach the webhook by')
      .argParser(objectName)
      .default('credential-injector-webhook'),
    variable(
      '--certificate-names <list>',
      'CERTIFICATE_NAMES',
      'further DNS names of the webhook, separated by commas',
    )
      .argParser(objectNames)
      .default([], 'none'),
    variable('--ca-secret <name>', 'CA_SECRET', 'Secret of the certificate authority, in --namespace')
      .argParser(objectName)
      .default('credential-injector-ca'),
    variable(
      '--certificate-secret <name>',
      'CERTIFICATE_SECRET',
      'Secret that the webhook’s pods mount, in --namespace',
    )
      .argParser(objectName)
      .default('credential-injector-webhook-tls'),
    variable(
      '--mutating-configurations <list>',
      'MUTATING_CONFIGURATIONS',
      'MutatingWebhookConfigurations to write the authority into, separated by commas; "" for none',
    )
      .argParser(objectNames)
      .default(
        ['credential-injector', 'credential-injector-policies'],
        'credential-injector,credential-injector-policies',
      ),
    variable(
      '--validating-configurations <list>',
      'VALIDATING_CONFIGURATIONS',
      'the same for ValidatingWebhookConfigurations',
    )
      .argParser(objectNames)
      .default(['credential-injector-workloads'], 'credential-injector-workloads'),
    variable('--ca-validity <duration>', 'CA_VALIDITY', 'life of the certificate authority')
      .argParser(duration)
      .default(duration('3650d'), '3650d'),
    variable('--certificate-validity <duration>', 'CERTIFICATE_VALIDITY', 'life of the serving certificate')
      .argParser(duration)
      .default(duration('90d'), '90d'),
    variable(
      '--certificate-overlap <duration>',
      'CERTIFICATE_OVERLAP',
      'how long pods may take to serve a new certificate: so long the one before is trusted',
    )
      .argParser(duration)
      .default(duration('10m'), '10m'),
    variable(
      '--certificate-settle <duration>',
      'CERTIFICATE_SETTLE',
      'how long API servers may take to trust a new authority: so long it signs nothing',
    )
      .argParser(duration)
      .default(duration('30s'), '30s'),
  ]
}

function variable(flags: string, name: string, description: string): Option {
  return new Option(flags, description).env(`CREDENTIAL_INJECTOR_${name}`)
}

/** The authority is renewed with a fifth of its life left, the serving certificate with a third; see plan.ts. */
function checkLives(flags: CertificateFlags): void {
  if (flags.caValidity < 5 * flags.certificateValidity) {
    throw new Error(
      '--ca-validity must be at least five times --certificate-validity, since no certificate outlives its authority: ' +
        'make the one longer or the other shorter.',
    )
  }
  if (flags.certificateValidity < 3 * (flags.certificateOverlap + flags.certificateSettle)) {
    throw new Error(
      '--certificate-validity must be at least three times --certificate-overlap and --certificate-settle together, or ' +
        'certificates end before their successors are in use: make it longer.',
    )
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds. */
function duration(text: string): number {
  const [, digits, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const milliseconds = Number(digits) * (UNITS[unit ?? ''] ?? 0)
  if (!(milliseconds > 0) || milliseconds > MOST_YEARS_MS)
    throw new InvalidArgumentError(
      'Write a whole number and a unit, such as 90d, 12h, 10m or 30s; at most 100 years.',
    )
  return milliseconds
}

const MOST_YEARS_MS = 100 * 365 * 86_400_000

/** Throws a sentence for what can be no name of an object. */
export function objectName(text: string): string {
  if (text.length > 253 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text)) {
    throw new InvalidArgumentError(
      `${JSON.stringify(text)} is no name: it has lower-case letters, digits, "-" and ".", such as credential-injector.`,
    )
  }
  return text
}

function objectNames(text: string): readonly string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map(objectName)
}
