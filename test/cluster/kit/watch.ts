import type { KubeClient, KubeObject } from '../../../src/kube/client.ts'

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
  const signal = AbortSignal.timeout(limit)
  try {
    for await (const object of versions<T>(client, collection, name, signal)) {
      last = object
      if (isRight(object)) return object
    }
    throw new Error('The watch ended.')
  } catch (error) {
    if (!signal.aborted) throw error
    throw new Error(
      `${collection}/${name} is not as expected after ${limit / 1000} s: ${JSON.stringify(last, null, 2) ?? 'it is not there'}`,
    )
  }
}

/** Waits until there is no such object. */
export async function whenGone(
  client: KubeClient,
  collection: string,
  name: string,
  limit = LIMIT_MS,
): Promise<void> {
  const path = `${collection}?fieldSelector=metadata.name=${name}`
  const signal = AbortSignal.timeout(limit)
  const { items, metadata } = await client.get<{
    items: KubeObject[]
    metadata: { resourceVersion: string }
  }>(path, {
    signal,
  })
  if (items.length === 0) return
  const events = client.stream(`${path}&watch=true&resourceVersion=${metadata.resourceVersion}`, { signal })
  for await (const event of events as AsyncIterable<{ type: string }>) if (event.type === 'DELETED') return
  throw new Error(`${collection}/${name} is still there: the watch ended.`)
}

/** The object as it is now, and each time that it changes; again from the start when the server ends the watch. */
async function* versions<T extends KubeObject>(
  client: KubeClient,
  collection: string,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const path = `${collection}?watch=true&fieldSelector=metadata.name=${name}`
  // Without a resource version a watch begins with what is there.
  while (!signal.aborted)
    for await (const event of client.stream(path, { signal }) as AsyncIterable<{ type: string; object: T }>) {
      if (event.type === 'ERROR') break
      if (event.type !== 'DELETED') yield event.object
    }
}
