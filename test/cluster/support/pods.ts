/** Random pods as a client would send them to a real API server. */
import { type KubeClient, KubeError } from '../../../src/kube/client.ts'
import { everyContainer, type PodObject } from '../../support/kubelet.ts'
import { collection } from './objects.ts'

/** The pod as it is stored, or why it is refused. Nothing is stored. */
export async function tryPod(
  kube: KubeClient,
  namespace: string,
  pod: PodObject,
): Promise<PodObject | KubeError> {
  try {
    return await kube.create<PodObject>(`${collection('Pod', namespace)}?dryRun=All`, pod)
  } catch (error) {
    if (error instanceof KubeError && error.status >= 400 && error.status < 500) return error
    throw error
  }
}

/** Without fields that are not in today's API: real servers prune them, and the properties have them for tomorrow's. */
export function sendable(pod: PodObject): PodObject {
  const copy = structuredClone(pod)
  delete copy.metadata?.futureMeta
  delete copy.spec.futureSpec
  for (const container of everyContainer(copy)) {
    delete container.futureContainer
    // The model does not mind, but servers want an emptyDir there.
    for (const { valueFrom } of container.env ?? [])
      if (valueFrom?.fileKeyRef) valueFrom.fileKeyRef.volumeName = 'files'
  }
  copy.spec.volumes = [...(copy.spec.volumes ?? []), { name: 'files', emptyDir: {} }]
  return copy
}

/** As a client would send it: without what the server made for the first one. */
export function fresh(pod: PodObject): PodObject {
  const copy = structuredClone(pod)
  for (const field of ['uid', 'resourceVersion', 'creationTimestamp', 'managedFields'])
    delete (copy.metadata as Record<string, unknown>)[field]
  delete copy.status
  return copy
}
