import { Counter, Gauge, Histogram } from 'prom-client'
import { DENIALS, LEFT_ALONE, WARNINGS } from '../api/reasons.ts'
import { type BaseMetrics, createRegistry, PREFIX } from '../process/metrics.ts'
import type { Decision } from './admission.ts'
import { CHECK_OUTCOMES, type Check } from './workloads.ts'

/** What is counted. Counting happens beside every review, so it is additions to numbers; the text is made when it is asked for. */
export interface Metrics extends BaseMetrics {
  /** `duration` in milliseconds, from the last byte of the review to its answer. */
  decided(decision: Decision, duration: number): void
  checked(check: Check): void
  crashed(): void
  certificateRead(ok: boolean): void
  certificateExpires(at: Date): void
}

/** The API server's own buckets for webhooks, and finer ones below them. */
const DURATION_BUCKETS_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 10]

export function createMetrics(): Metrics {
  const { registers, tally, ...base } = createRegistry()

  const reviews = tally('reviews_total', 'Reviews answered, by what became of the pod.', 'outcome', OUTCOMES)
  const denials = tally(
    'denials_total',
    'Problems that pods were denied for.',
    'reason',
    Object.keys(DENIALS),
  )
  const warnings = tally('warnings_total', 'Warnings given.', 'reason', Object.keys(WARNINGS))
  const checks = tally(
    'workload_checks_total',
    'Workloads looked at, by what became of the check.',
    'outcome',
    CHECK_OUTCOMES,
  )
  const findings = tally('workload_warnings_total', 'Warnings given to who applied a workload.', 'reason', [
    ...Object.keys(DENIALS),
    ...Object.keys(WARNINGS),
  ])
  const reads = tally(
    'certificate_reads_total',
    'Attempts to read a changed serving certificate.',
    'result',
    ['success', 'failure'],
  )
  const patchBugs = new Counter({
    registers,
    name: `${PREFIX}patch_bugs_total`,
    help: 'Patches left out because they did not apply: bugs.',
  })
  const crashes = new Counter({
    registers,
    name: `${PREFIX}crashes_total`,
    help: 'Reviews that the engine failed on: bugs.',
  })
  const duration = new Histogram({
    registers,
    name: `${PREFIX}review_duration_seconds`,
    help: 'From the last byte of a review to its answer.',
    buckets: DURATION_BUCKETS_SECONDS,
  })
  const expiry = new Gauge({
    registers,
    name: `${PREFIX}certificate_expiry_timestamp_seconds`,
    help: 'When the serving certificate expires, in seconds since 1970.',
  })

  return {
    ...base,
    decided({ outcome, patchBug }, milliseconds) {
      duration.observe(milliseconds / 1000)
      if (outcome === undefined) return reviews.add('NotAPodCreate')
      reviews.add(outcomeLabel(outcome, patchBug))
      for (const { reason } of outcome.warnings) warnings.add(reason)
      if (outcome.kind === 'Denied') for (const { reason } of outcome.problems) denials.add(reason)
      if (patchBug !== undefined) patchBugs.inc()
    },
    checked({ outcome, findings: found }) {
      checks.add(outcome)
      for (const { reason } of found) findings.add(reason)
    },
    crashed: () => crashes.inc(),
    certificateRead: (ok) => reads.add(ok ? 'success' : 'failure'),
    certificateExpires: (at) => expiry.set(at.getTime() / 1000),
  }
}

const OUTCOMES = ['Injected', 'Denied', 'PatchDropped', ...Object.keys(LEFT_ALONE)]

function outcomeLabel(outcome: NonNullable<Decision['outcome']>, patchBug: unknown): string {
  if (patchBug !== undefined) return 'PatchDropped'
  return outcome.kind === 'LeftAlone' ? outcome.reason : outcome.kind
}
