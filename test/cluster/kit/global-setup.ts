import type { TestProject } from 'vitest/node'
import { expectNoSecretInAuditLog } from '../support/audit.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { say } from './programs.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Folder of the control plane that tests share. */
    cluster: string
  }
}

/** One control plane for all tests that need no more than an API server, and leave it running. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const started = performance.now()
  const cluster: Cluster = await startCluster({ name: 'shared' })
  say(`The shared control plane started in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  project.provide('cluster', cluster.folder)
  return async () => {
    try {
      await expectNoSecretInAuditLog(cluster)
    } finally {
      await cluster.stop()
    }
  }
}
