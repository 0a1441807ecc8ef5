import { randomBytes } from 'node:crypto'
import { backoff } from '../../kube/backoff.ts'
import { isNotFound, type KubeClient, KubeError, type KubeObject } from '../../kube/client.ts'
import { type Clock, SYSTEM_CLOCK } from '../../kube/clock.ts'

/** The Secret of the injector's own namespace that holds the key of all revisions, under `key`. */
export const REVISION_KEY_SECRET = 'credential-injector-revision-key'
const KEY_BYTES = 32

interface KeySecret extends KubeObject {
  readonly data?: { readonly key?: string }
}

/** The key is there and cannot be used; the message says what to do. */
export class RevisionKeyError extends Error {}

interface RevisionKeyParts {
  readonly client: Pick<KubeClient, 'get' | 'create'>
  readonly namespace: string
  /** Rejects when it is aborted. */
  readonly signal: AbortSignal
  /** Something went wrong and is tried again. */
  readonly onFailure: (error: Error, retryIn: number) => void
  readonly clock?: Clock
}

/** What fails for long, such as for a missing right, should not fill the log. */
const LONGEST_RETRY_MS = 60_000

/**
 * `knownOrNewKey`, again and again until there is an answer: an API server that is away for a moment must not end a controller
 * that has just begun to lead. Only a key that cannot be used is final, since it stays what it is.
 */
export async function revisionKey(parts: RevisionKeyParts): Promise<Buffer> {
  const { client, namespace, signal, onFailure, clock = SYSTEM_CLOCK } = parts
  for (let failures = 1; ; failures++) {
    try {
      return await knownOrNewKey(client, namespace, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof RevisionKeyError) throw error
      const retryAfter = error instanceof KubeError ? error.retryAfter : undefined
      const retryIn = backoff(failures, clock.random, { most: LONGEST_RETRY_MS, retryAfter })
      onFailure(error as Error, retryIn)
      await clock.sleep(retryIn, signal)
      signal.throwIfAborted()
    }
  }
}

/**
 * The key that revisions are made with: made once for a cluster, by whoever comes first. With another key a rotation in between
 * would not be seen, so a key that cannot be used is an error and is not replaced.
 */
async function knownOrNewKey(
  client: Pick<KubeClient, 'get' | 'create'>,
  namespace: string,
  signal: AbortSignal,
): Promise<Buffer> {
  const known = await readKey(client, namespace, signal)
  if (known) return known
  try {
    const path = `/api/v1/namespaces/${namespace}/secrets`
    const made = await client.create<KeySecret>(path, newKey(namespace), { signal })
    return keyIn(made, namespace)
  } catch (error) {
    if (!(error instanceof KubeError) || error.reason !== 'AlreadyExists') throw error
    const others = await readKey(client, namespace, signal)
    if (others === undefined) throw error
    return others
  }
}

async function readKey(
  client: Pick<KubeClient, 'get'>,
  namespace: string,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  try {
    const path = `/api/v1/namespaces/${namespace}/secrets/${REVISION_KEY_SECRET}`
    return keyIn(await client.get<KeySecret>(path, { signal }), namespace)
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

function newKey(namespace: string) {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'Opaque',
    metadata: {
      name: REVISION_KEY_SECRET,
      namespace,
      labels: { 'app.kubernetes.io/managed-by': 'credential-injector' },
    },
    data: { key: randomBytes(KEY_BYTES).toString('base64') },
  }
}

function keyIn({ data }: KeySecret, namespace: string): Buffer {
  const key = Buffer.from(data?.key ?? '', 'base64')
  if (key.length < KEY_BYTES) {
    throw new RevisionKeyError(
      `Secret ${namespace}/${REVISION_KEY_SECRET} has no key of ${KEY_BYTES} bytes under "key": put the old one back, or delete the Secret to have a new one made at the next start.`,
    )
  }
  return key
}
