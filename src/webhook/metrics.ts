import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { DENIALS, LEFT_ALONE, WARNINGS } from '../api/reasons.ts'
import type { Decision } from './admission.ts'
import { CHECK_OUTCOMES, type Check } from './workloads.ts'

/** What is counted. Counting happens beside every review, so it is additions to numbers; the text is made when it is asked for. */
export interface Metrics {
  /** `duration` in milliseconds, from the last byte of the review to its answer. */
  decided(decision: Decision, duration: number): void
  checked(check: Check): void
  refused(status: number): void
  crashed(): void
  /** An error that nobody caught; see main.ts. */
  uncaught(): void
  certificateRead(ok: boolean): void
  certificateExpires(at: Date): void
  /** Gauges that are read at each scrape. */
  gauge(name: string, help: string, read: () => number): void
  /** In the Prometheus text format. */
  text(): Promise<string>
  readonly contentType: string
}

const PREFIX = 'credential_injector_'

/** The API server's own buckets for webhooks, and finer ones below them. */
const DURATION_BUCKETS_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 10]

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const tally = (name: string, help: string, label: string, known: readonly string[]) =>
    tallyOf(registers, name, help, label, known)

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
  const refused = tally(
    'refused_requests_total',
    'Requests that were no reviews, or too many, by HTTP status.',
    'status',
    [],
  )
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
  const uncaught = new Counter({
    registers,
    name: `${PREFIX}uncaught_errors_total`,
    help: 'Errors that nothing caught: bugs.',
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
  const gauge: Metrics['gauge'] = (name, help, read) => {
    new Gauge({
      registers,
      name: `${PREFIX}${name}`,
      help,
      collect() {
        this.set(read())
      },
    })
  }
  addProcessMetrics(registers)

  return {
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
    refused: (status) => refused.add(String(status)),
    crashed: () => crashes.inc(),
    uncaught: () => uncaught.inc(),
    certificateRead: (ok) => reads.add(ok ? 'success' : 'failure'),
    certificateExpires: (at) => expiry.set(at.getTime() / 1000),
    gauge,
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

const OUTCOMES = ['Injected', 'Denied', 'PatchDropped', ...Object.keys(LEFT_ALONE)]

function outcomeLabel(outcome: NonNullable<Decision['outcome']>, patchBug: unknown): string {
  if (patchBug !== undefined) return 'PatchDropped'
  return outcome.kind === 'LeftAlone' ? outcome.reason : outcome.kind
}

/** A counter with one label that is cheap to add to. The known values are there from the start, at 0, so that rates work. */
function tallyOf(
  registers: Registry[],
  name: string,
  help: string,
  label: string,
  known: readonly string[],
): { add(value: string): void } {
  const counts = new Map<string, number>(known.map((value) => [value, 0]))
  new Counter({
    registers,
    name: `${PREFIX}${name}`,
    help,
    labelNames: [label],
    collect() {
      this.reset()
      for (const [value, count] of counts) this.inc({ [label]: value }, count)
    },
  })
  return { add: (value) => void counts.set(value, (counts.get(value) ?? 0) + 1) }
}

/**
 * Of the usual process metrics those that say whether the machine is large enough. The library's full set watches every garbage
 * collection, which costs more than a review's own counting.
 */
function addProcessMetrics(registers: Registry[]): void {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  new Gauge({
    registers,
    name: 'process_resident_memory_bytes',
    help: 'Resident memory size in bytes.',
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  new Counter({
    registers,
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time spent in seconds.',
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  new Gauge({
    registers,
    name: 'process_start_time_seconds',
    help: 'Start time of the process, in seconds since 1970.',
  }).set(Math.floor(performance.timeOrigin / 1000))
  new Gauge({
    registers,
    name: 'nodejs_eventloop_delay_seconds',
    help: 'Longest delay of the event loop since the last scrape.',
    collect() {
      this.set(delay.max / 1e9)
      delay.reset()
    },
  })
}
