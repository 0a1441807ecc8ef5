/** The control plane that all tests of a run share, for those that only need an API server. */
import { inject } from 'vitest'
import { kubeconfigAccess } from '../../../src/kube/access.ts'
import { createKubeClient, type KubeClient } from '../../../src/kube/client.ts'

export interface SharedCluster {
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string
  readonly kube: KubeClient
}

export function sharedCluster(): SharedCluster {
  const kubeconfig = inject('kubeconfig')
  return { kubeconfig, kube: createKubeClient(kubeconfigAccess(kubeconfig)) }
}
