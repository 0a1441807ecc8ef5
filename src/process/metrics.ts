import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Registry } from 'prom-client'

/** What every process counts, and how it is read. */
export interface BaseMetrics {
  refused(status: number): void
  /** An error that nobody caught; see ending.ts. */
  uncaught(): void
  /** Gauges that are read at each scrape. */
  gauge(name: string, help: string, read: () => number): void
  /** The same for several values, told apart by a label; counters only grow. */
  family(type: 'gauge' | 'counter', name: string, help: string, label: string, read: () => ByLabel): void
  /** In the Prometheus text format. */
  text(): Promise<string>
  readonly contentType: string
}

export type ByLabel = Readonly<Record<string, number>>

export const PREFIX = 'credential_injector_'

export interface BaseRegistry extends BaseMetrics {
  readonly registers: Registry[]
  /** A counter with one label; see `tallyOf`. */
  tally(name: string, help: string, label: string, known: readonly string[]): Tally
}

export interface Tally {
  add(value: string): void
}

export function createRegistry(): BaseRegistry {
  const registry = new Registry()
  const registers = [registry]
  const tally: BaseRegistry['tally'] = (name, help, label, known) =>
    tallyOf(registers, name, help, label, known)
  const refused = tally(
    'refused_requests_total',
    'Requests that were no reviews, or too many, by HTTP status.',
    'status',
    [],
  )
  const uncaught = new Counter({
    registers,
    name: `${PREFIX}uncaught_errors_total`,
    help: 'Errors that nothing caught: bugs.',
  })
  addProcessMetrics(registers)
  return {
    registers,
    tally,
    refused: (status) => refused.add(String(status)),
    uncaught: () => uncaught.inc(),
    gauge(name, help, read) {
      new Gauge({
        registers,
        name: `${PREFIX}${name}`,
        help,
        collect() {
          this.set(read())
        },
      })
    },
    family(type, name, help, label, read) {
      const settings = { registers, name: `${PREFIX}${name}`, help, labelNames: [label] }
      const collect = (add: (labels: Record<string, string>, value: number) => void) => {
        for (const [value, number] of Object.entries(read())) add({ [label]: value }, number)
      }
      if (type === 'gauge') {
        new Gauge({
          ...settings,
          collect() {
            collect((labels, value) => this.set(labels, value))
          },
        })
      } else {
        new Counter({
          ...settings,
          collect() {
            this.reset()
            collect((labels, value) => this.inc(labels, value))
          },
        })
      }
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

/** A counter with one label that is cheap to add to. The known values are there from the start, at 0, so that rates work. */
function tallyOf(
  registers: Registry[],
  name: string,
  help: string,
  label: string,
  known: readonly string[],
): Tally {
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
