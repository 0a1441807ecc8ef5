import { EventEmitter, once } from 'node:events'
import type { KubeClient } from '../../../src/kube/client.ts'

export interface Creating {
  /** Resolves when so many have been tried in all. */
  reached(count: number): Promise<void>
  /** Resolves when so many more have been tried. */
  more(count: number): Promise<void>
  end(): Promise<{
    created: number
    /** What the API server said of those that it refused. */
    failures: string[]
    /** Those that were created without what they asked for. */
    bare: number
  }>
}

/** Creates pods one after the other, in four rows, until it is told to end: whoever fails is one that would have been missed. */
export function createSteadily(client: KubeClient, pod: () => object, namespace = 'team-a'): Creating {
  const progress = new EventEmitter()
  const result = { created: 0, failures: [] as string[], bare: 0 }
  let tried = 0
  let ending = false

  const row = async () => {
    while (!ending) {
      try {
        const stored = await client.create<any>(`/api/v1/namespaces/${namespace}/pods`, pod())
        result.created++
        if (!stored.metadata.annotations?.['credentials.run.ai/injected']) result.bare++
      } catch (error) {
        result.failures.push(String(error))
      }
      tried++
      progress.emit('tried')
    }
  }
  const rows = Promise.all([row(), row(), row(), row()])

  const reached = async (count: number) => {
    const signal = AbortSignal.timeout(120_000)
    while (tried < count) await once(progress, 'tried', { signal })
  }
  return {
    reached,
    more: (count) => reached(tried + count),
    async end() {
      ending = true
      await rows
      return result
    },
  }
}
