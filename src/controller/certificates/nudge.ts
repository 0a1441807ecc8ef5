import { setTimeout as sleep } from 'node:timers/promises'
import { type KubeClient, METADATA_ONLY } from '../../kube/client.ts'

/** The names only: keys need not travel for a nudge. */
const WATCH_SECONDS = 300
const RETRY_MS = 5000

interface Nudging {
  readonly client: KubeClient
  readonly collection: string
  readonly name: string
  readonly signal: AbortSignal
  /** 0 to 1. */
  readonly random: () => number
  readonly onChange: () => void
}

/**
 * Calls `onChange` whenever one object may have changed, and once in a while without cause. It says nothing about what has
 * changed: who is nudged reads it. So a watch that is cut or silent costs time only, never correctness.
 */
export async function nudgeOnChange(nudging: Nudging): Promise<void> {
  const { client, collection, name, signal, random, onChange } = nudging
  const query = new URLSearchParams({
    watch: 'true',
    fieldSelector: `metadata.name=${name}`,
    timeoutSeconds: String(Math.round(WATCH_SECONDS * (1 + random()))),
  })
  while (!signal.aborted) {
    try {
      for await (const _event of client.stream(`${collection}?${query}`, { signal, accept: METADATA_ONLY })) {
        if (signal.aborted) return
        onChange()
      }
    } catch {
      // Whatever it was: reading the objects meets it too, and tells.
    }
    await sleep(RETRY_MS * (0.5 + random()), undefined, { signal }).catch(() => {})
  }
}
