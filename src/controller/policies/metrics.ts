import { Counter, Gauge, type Registry } from 'prom-client'
import { PREFIX } from '../../process/metrics.ts'
import { conditionOf } from '../status/conditions.ts'
import type { PolicyObject } from '../watched/index.ts'

export interface PolicyMetrics {
  /** The entries of the webhook configuration, or the status of a policy, were written. */
  written(what: Written): void
}

const WRITTEN = ['entries', 'status'] as const
type Written = (typeof WRITTEN)[number]

/** `policies` are asked for at each scrape. */
export function createPolicyMetrics(
  registers: Registry[],
  policies: () => Iterable<PolicyObject>,
): PolicyMetrics {
  const writes = new Counter({
    registers,
    name: `${PREFIX}controller_policy_writes_total`,
    help: 'Writes for policies: of the webhook configuration with the entries of all, and of the status of one.',
    labelNames: ['what'],
  })
  for (const what of WRITTEN) writes.inc({ what }, 0)
  new Gauge({
    registers,
    name: `${PREFIX}controller_policies`,
    help: 'Policies, by enforcement and state: InEffect, or what keeps them from that or from what they should do.',
    labelNames: ['enforcement', 'state'],
    collect() {
      this.reset()
      for (const { spec, status } of policies())
        this.inc({ enforcement: spec.enforcement, state: stateOf(status?.conditions) })
    },
  })
  return { written: (what) => writes.inc({ what }) }
}

/** In the order of what is worst. Others may write there, and labels must stay few. */
const STATES = ['Ready', 'Compatible', 'CredentialsFound']
const REASONS: readonly string[] = [
  'NotUnderstood',
  'EntryRefused',
  'ConfigurationMissing',
  'RegistrationMissing',
  'NotWritten',
  'PolicyConflict',
  'CredentialNotFound',
]

function stateOf(conditions: NonNullable<PolicyObject['status']>['conditions']): string {
  if (conditionOf(conditions, 'Ready') === undefined) return 'Unknown'
  for (const type of STATES) {
    const { status, reason = '' } = conditionOf(conditions, type) ?? {}
    if (status === 'False') return REASONS.includes(reason) ? reason : 'Other'
  }
  return 'InEffect'
}
