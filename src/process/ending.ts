import { constants } from 'node:os'
import type { Lifecycle } from './lifecycle.ts'
import type { BaseLog } from './log.ts'
import type { BaseMetrics } from './metrics.ts'

/**
 * An error that reaches this point comes from a timer, a watcher or a socket, not from a review: those are caught where they are
 * answered, and share nothing that could be left half changed. To go on harms nobody; to die would stop pods from being created.
 */
export function stayUp(log: BaseLog, metrics: BaseMetrics): void {
  const report = (error: unknown) => {
    metrics.uncaught()
    log.error({ err: error }, 'BUG: an error that nothing caught; the process goes on')
  }
  process.on('uncaughtException', report)
  process.on('unhandledRejection', report)
}

/** Under npm, Ctrl-C arrives twice: from the terminal, and from npm, which hands on what it gets. */
const SAME_SIGNAL_MS = 500

/** SIGTERM is the cluster's: it announces the end before it comes. SIGINT is a person's, who waits. A second signal ends at once. */
export function endOnSignal(lifecycle: Lifecycle, end: () => Promise<void>): void {
  let first: number | undefined
  const onSignal = (signal: 'SIGTERM' | 'SIGINT') => {
    if (first !== undefined) {
      if (performance.now() - first > SAME_SIGNAL_MS) process.exit(128 + constants.signals[signal])
      return
    }
    first = performance.now()
    lifecycle.phase = 'closing'
    if (signal === 'SIGINT') lifecycle.lameDuck = 0
    void end()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
}
