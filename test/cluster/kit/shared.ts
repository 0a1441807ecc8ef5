import { inject } from 'vitest'
import { attachCluster, type Cluster } from './cluster.ts'

/** The control plane that all test files share: use namespaces of your own there, and leave it running. */
export function sharedCluster(): Cluster {
  return attachCluster(inject('cluster'))
}
