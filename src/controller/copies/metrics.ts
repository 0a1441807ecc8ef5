import { Counter, Gauge, type Registry } from 'prom-client'
import { PREFIX } from '../../process/metrics.ts'

export interface CopyMetrics {
  /** Asked at each scrape: how many copies are right, on their way, or cannot be made. */
  states(count: () => Readonly<Record<CopyState, number>>): void
  written(verb: CopyVerb, result: CopyResult): void
  /** All copies of a ClusterCredential are right again, so many seconds after its source was seen to change. */
  distributed(seconds: number): void
}

export type CopyState = 'right' | 'waiting' | 'failed'
export type CopyVerb = 'create' | 'update' | 'delete'
export type CopyResult = 'ok' | 'conflict' | 'error'

const VERBS: readonly CopyVerb[] = ['create', 'update', 'delete']
const RESULTS: readonly CopyResult[] = ['ok', 'conflict', 'error']

export function createCopyMetrics(registers: Registry[]): CopyMetrics {
  const writes = new Counter({
    registers,
    name: `${PREFIX}controller_copy_writes_total`,
    help: 'Requests that create, update or delete copies of Secrets, by what came of them.',
    labelNames: ['verb', 'result'],
  })
  const duration = new Gauge({
    registers,
    name: `${PREFIX}controller_copies_distribution_seconds`,
    help: 'From the change of a source to its last copy, of the last change.',
  })
  for (const verb of VERBS) for (const result of RESULTS) writes.inc({ verb, result }, 0)
  return {
    written: (verb, result) => writes.inc({ verb, result }),
    distributed: (seconds) => duration.set(seconds),
    states(count) {
      new Gauge({
        registers,
        name: `${PREFIX}controller_copies`,
        help: 'Copies that selected namespaces should have, by how far they are.',
        labelNames: ['state'],
        collect() {
          for (const [state, value] of Object.entries(count())) this.set({ state }, value)
        },
      })
    },
  }
}
