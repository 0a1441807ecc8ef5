import { setTimeout as sleep } from 'node:timers/promises'
import { type KubeClient, KubeError, type KubeObject } from '../../../src/kube/client.ts'

/** Generous: a loaded machine that pulls up a pod. It is there to end a test that waits for what never comes. */
const LIMIT_MS = 90_000

/**
 * Waits until an object is as it should be, by watching it, and returns it as it is then. `collection` is a path such as
 * `/api/v1/namespaces/default/pods`. Rejects with the object as it was last seen when it takes too long.
 */
export async function whenObject<T extends KubeObject>(
  client: KubeClient,
  collection: string,
  name: string,
  isRight: (object: T) => boolean,
  limit = LIMIT_MS,
): Promise<T> {
  let last: T | undefined
  for await (const object of versions<T>(client, collection, name, AbortSignal.timeout(limit))) {
    last = object
    if (object && isRight(object)) return object
  }
  const seen = JSON.stringify(last, null, 2) ?? 'it is not there'
  throw new Error(`${collection}/${name} is not as expected after ${limit / 1000} s: ${seen}`)
}

/** Waits until there is no such object. */
export async function whenGone(
  client: KubeClient,
  collection: string,
  name: string,
  limit = LIMIT_MS,
): Promise<void> {
  for await (const object of versions(client, collection, name, AbortSignal.timeout(limit)))
    if (!object) return
  throw new Error(`${collection}/${name} is still there after ${limit / 1000} s.`)
}

/**
 * The object as it is now, undefined where there is none, and again each time that this changes; until the signal. From the start
 * when the server ends the watch or goes away; what is wrong with the question itself is thrown.
 */
async function* versions<T extends KubeObject>(
  client: KubeClient,
  collection: string,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<T | undefined> {
  const path = `${collection}?fieldSelector=metadata.name=${name}`
  while (!signal.aborted)
    try {
      const { items, metadata } = await client.get<List<T>>(path, { signal })
      yield items[0]
      const from = `&watch=true&resourceVersion=${metadata.resourceVersion}`
      for await (const event of client.stream(`${path}${from}`, { signal }) as AsyncIterable<WatchEvent<T>>)
        yield event.type === 'DELETED' ? undefined : event.object
    } catch (error) {
      if (error instanceof KubeError && error.status < 500 && ![410, 429].includes(error.status)) throw error
      await sleep(50)
    }
}

interface List<T> {
  readonly items: readonly T[]
  readonly metadata: { readonly resourceVersion: string }
}

interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly object: T
}
