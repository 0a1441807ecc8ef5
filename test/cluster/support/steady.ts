/** Pods that are created one after the other while something happens to the cluster. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type KubeClient, KubeError } from '../../../src/kube/client.ts'
import { collection } from './objects.ts'

export interface Steady {
  /** Ends the stream, and says how it went. */
  stop(): Promise<Creations>
  /** Pods created so far. */
  readonly created: number
}

export interface Creations {
  created: number
  /** Pods that were stored without what they asked for. */
  withoutCredentials: number
  /** What the API server, or the connection to it, said to those that were not created. */
  failures: string[]
  /** Milliseconds. */
  slowest: number
}

interface Options {
  readonly namespace: string
  /** The annotation `credentials.run.ai/inject`; undefined creates pods that ask for nothing. */
  readonly credentials?: string
  readonly everyMs?: number
  /** Whether what failed is another's doing, such as that of an API server that is being restarted. */
  readonly excuses?: (error: Error) => boolean
}

/** Creates pods by dry run, which meets all of admission and leaves nothing behind. Several may be under way at once. */
export function createSteadily(
  kube: KubeClient,
  { namespace, credentials, everyMs = 50, excuses = () => false }: Options,
): Steady {
  const result: Creations = { created: 0, withoutCredentials: 0, failures: [], slowest: 0 }
  const underWay = new Set<Promise<void>>()
  let running = true

  const create = async (number: number) => {
    const started = performance.now()
    try {
      const stored = await kube.create<Stored>(
        `${collection('Pod', namespace)}?dryRun=All`,
        podOf(number, credentials),
        {
          timeout: 30_000,
        },
      )
      result.created++
      if (credentials && !stored.metadata.annotations?.['credentials.run.ai/injected'])
        result.withoutCredentials++
    } catch (error) {
      if (!excuses(error as Error)) result.failures.push(describe(error as Error))
    }
    result.slowest = Math.max(result.slowest, performance.now() - started)
  }
  const loop = (async () => {
    for (let number = 0; running; number++) {
      const creation = create(number).finally(() => underWay.delete(creation))
      underWay.add(creation)
      await sleep(everyMs)
    }
  })()

  return {
    get created() {
      return result.created
    },
    async stop() {
      running = false
      await loop
      await Promise.all(underWay)
      return result
    },
  }
}

interface Stored {
  metadata: { annotations?: Record<string, string> }
}

function podOf(number: number, credentials: string | undefined): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `steady-${number}`,
      ...(credentials && { annotations: { 'credentials.run.ai/inject': credentials } }),
    },
    spec: { containers: [{ name: 'main', image: 'registry.example/steady:1' }] },
  }
}

function describe(error: Error): string {
  return error instanceof KubeError ? `${error.status} ${error.message}` : error.message
}
