/** Says of pods, as a kubelet would, that they run: where there is no node, so that nothing really does. */
import { type KubeClient, KubeError, type KubeObject } from '../../../src/kube/client.ts'

interface Pod extends KubeObject {
  readonly spec: { readonly containers: readonly { readonly name: string }[] }
  readonly status?: { readonly phase?: string }
}

export interface PretendedKubelet {
  /** Pods of which this is true stay as they are, until `look`. */
  isHeld: (pod: KubeObject) => boolean
  /** Looks again at all pods that do not run. */
  look(): Promise<void>
  stop(): Promise<void>
}

/** All containers of all pods of the namespace are running, and ready, from the moment at which it hears of the pod. */
export function pretendKubelet(client: KubeClient, namespace: string): PretendedKubelet {
  const collection = `/api/v1/namespaces/${namespace}/pods`
  const end = new AbortController()
  const kubelet: PretendedKubelet = {
    isHeld: () => false,
    async look() {
      const { items } = await client.get<{ items: Pod[] }>(collection)
      await Promise.all(items.map(start))
    },
    async stop() {
      end.abort()
      await watching
    },
  }
  const watching = watch()
  return kubelet

  async function watch(): Promise<void> {
    while (!end.signal.aborted)
      try {
        const events = client.stream(`${collection}?watch=true`, { signal: end.signal })
        for await (const { type, object } of events as AsyncIterable<{ type: string; object: Pod }>)
          if (type !== 'DELETED') await start(object)
      } catch (error) {
        // The next watch begins with everything that is there.
        if (!end.signal.aborted && !(error instanceof Error)) throw error
      }
  }

  async function start(pod: Pod): Promise<void> {
    const { metadata, spec, status } = pod
    const isNew = status?.phase === 'Pending' && metadata.deletionTimestamp === undefined
    if (!isNew || kubelet.isHeld(pod)) return
    const now = `${new Date().toISOString().slice(0, 19)}Z`
    const containerStatuses = spec.containers.map(({ name }) => ({
      name,
      image: 'i',
      imageID: '',
      restartCount: 0,
      ready: true,
      started: true,
      state: { running: { startedAt: now } },
    }))
    const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: now }]
    const body = { status: { phase: 'Running', startTime: now, containerStatuses, conditions } }
    try {
      await client.patch(`${collection}/${metadata.name}/status`, 'application/merge-patch+json', body)
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 404) throw error
    }
  }
}
