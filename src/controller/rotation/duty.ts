import { isConflict } from '../../kube/client.ts'
import { aborted, type Duty, type DutyParts } from '../duties.ts'
import { createQueue, type WorkQueue } from '../queue.ts'
import { createRestarter } from './restarter.ts'
import type { RotationSettings } from './settings.ts'
import { keyOf, type StaleWorkloads } from './stale.ts'

export interface RotationDuty extends Duty {
  /** Something may be different with that workload. Does nothing while another instance leads: who begins looks at all. */
  changed(workloadKey: string): void
}

/** Restarts workloads whose pods have not got the new content of a credential's Secret: observe → plan → apply. */
export function createRotationDuty(
  parts: DutyParts,
  stale: StaleWorkloads,
  settings: RotationSettings,
): RotationDuty {
  let queue: WorkQueue | undefined
  const restarter = createRestarter(parts, stale, settings, {
    add: (key) => queue?.add(key),
    addAt: (key, time) => queue?.addAt(key, time),
  })
  return {
    name: 'rotation',
    changed: (key) => queue?.add(key),
    async run(signal) {
      await restarter.survey(signal)
      if (signal.aborted) return
      queue = createQueue({
        work: (key) => restarter.look(key, signal),
        onFailure: (workload, error, retryIn) => report(parts, workload, error, retryIn),
        now: parts.now,
      })
      for (const key of restarter.underWay()) queue.add(key)
      for (const { workload } of stale.all()) queue.add(keyOf(workload))
      await aborted(signal)
      await queue.stop()
      queue = undefined
    },
  }
}

/** A conflict is not an error: the workload changed while it was looked at, and is looked at again. */
function report({ metrics, log }: DutyParts, workload: string, error: Error, retryIn: number): void {
  if (isConflict(error)) return
  metrics.apiError('reconcile')
  log.warn(
    { workload, problem: error.message, retryInMs: Math.round(retryIn) },
    'a workload could not be restarted for a rotation; it is tried again',
  )
}
