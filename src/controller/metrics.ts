import { Counter, Gauge, type Registry } from 'prom-client'
import { type BaseMetrics, createRegistry, PREFIX } from '../process/metrics.ts'

/** What the controller counts; docs/controller.md says what each is for. */
export interface ControllerMetrics extends BaseMetrics {
  /** For what a duty counts by itself. */
  readonly registers: Registry[]
  /** One look at one credential, and what came of it. */
  reconciled(result: ReconcileResult): void
  /** A Secret's content was read. */
  secretRead(): void
  eventSent(type: 'Normal' | 'Warning'): void
  apiError(during: ApiErrorPlace): void
  /** `counts` is asked at each scrape: how many credentials there are, by kind, reason of Ready and status of Healthy. */
  credentials(counts: () => Iterable<CredentialCount>): void
  /** Seconds since the API server last proved to be in contact, by what is watched. */
  staleness(seconds: () => Iterable<readonly [resource: string, seconds: number]>): void
}

export interface CredentialCount {
  readonly kind: string
  readonly ready: string
  readonly healthy: string
  readonly count: number
}

const RESULTS = ['unchanged', 'written', 'gone', 'conflict', 'error'] as const
export type ReconcileResult = (typeof RESULTS)[number]

const API_ERROR_PLACES = ['list', 'watch', 'handler', 'reconcile', 'event', 'lease'] as const
export type ApiErrorPlace = (typeof API_ERROR_PLACES)[number]

export function createControllerMetrics(): ControllerMetrics {
  const { registers, tally, ...base } = createRegistry()
  const results = tally(
    'controller_reconciles_total',
    'Looks at a credential, by what came of them.',
    'result',
    RESULTS,
  )
  const events = tally('controller_events_total', 'Events sent, by type.', 'type', ['Normal', 'Warning'])
  const errors = tally(
    'controller_api_errors_total',
    'Failures of calls of the API server, by what they were for. All are tried again but events.',
    'during',
    API_ERROR_PLACES,
  )
  const reads = new Counter({
    registers,
    name: `${PREFIX}controller_secret_reads_total`,
    help: 'Secrets whose content was read.',
  })

  return {
    ...base,
    registers,
    reconciled: (result) => results.add(result),
    secretRead: () => reads.inc(),
    eventSent: (type) => events.add(type),
    apiError: (during) => errors.add(during),
    credentials(counts) {
      new Gauge({
        registers,
        name: `${PREFIX}controller_credentials`,
        help: 'Credentials, by kind, reason of the condition Ready and status of the condition Healthy.',
        labelNames: ['kind', 'ready', 'healthy'],
        collect() {
          this.reset()
          for (const { count, ...labels } of counts()) this.set(labels, count)
        },
      })
    },
    staleness(seconds) {
      new Gauge({
        registers,
        name: `${PREFIX}controller_watch_stale_seconds`,
        help: 'Since the API server last proved to be in contact, by what is watched.',
        labelNames: ['resource'],
        collect() {
          for (const [resource, value] of seconds()) this.set({ resource }, value)
        },
      })
    },
  }
}
