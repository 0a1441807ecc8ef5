import type { Workload } from '../watched/owners.ts'
import type { StaleWorkload } from './plan.ts'

/** What there may be to restart. Keys of workloads are `Deployment/NAMESPACE/NAME`. */
export interface StaleWorkloads {
  /** Undefined when none of its pods is stale. */
  get(workloadKey: string): StaleWorkload | undefined
  all(): Iterable<StaleWorkload>
  /** Those with pods of a template that was changed for a rotation, and that are no older than so many milliseconds. */
  restartedWithin(milliseconds: number): Iterable<Workload>
}

export function keyOf({ kind, namespace, name }: Workload): string {
  return `${kind}/${namespace}/${name}`
}
