import type { ControllerMetrics } from '../metrics.ts'
import type { Turns } from './turns.ts'

/** What came of a look at a workload that is to be restarted. */
export type RestartResult = 'restarted' | 'held' | 'notFinished' | 'conflict' | 'error'

export interface RotationMetrics {
  counted(result: RestartResult): void
}

export function createRotationMetrics(
  metrics: Pick<ControllerMetrics, 'family'>,
  turns: Pick<Turns, 'underWay' | 'waiting'>,
  held: () => number,
): RotationMetrics {
  const results: Record<RestartResult, number> = {
    restarted: 0,
    held: 0,
    notFinished: 0,
    conflict: 0,
    error: 0,
  }
  metrics.family(
    'counter',
    'controller_restarts_total',
    'Restarts of workloads for rotations, by what came of them.',
    'result',
    () => results,
  )
  metrics.family(
    'gauge',
    'controller_restarting_workloads',
    'Workloads that are rolled out, that wait for their turn, or that cannot be restarted at present.',
    'state',
    () => ({ underWay: turns.underWay(), waiting: turns.waiting(), held: held() }),
  )
  return {
    counted: (result) => void results[result]++,
  }
}
