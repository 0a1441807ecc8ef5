import { randomBytes } from 'node:crypto'
import { type KubeClient, KubeError, type KubeObject } from '../../kube/client.ts'

/** The Secret of the injector's own namespace that holds the key of all revisions, under `key`. */
export const REVISION_KEY_SECRET = 'credential-injector-revision-key'
const KEY_BYTES = 32

interface KeySecret extends KubeObject {
  readonly data?: { readonly key?: string }
}

/** The key is there and cannot be used; the message says what to do. */
export class RevisionKeyError extends Error {}

/**
 * The key that revisions are made with: made once for a cluster, by whoever comes first. With another key a rotation in between
 * would not be seen, so a key that cannot be used is an error and is not replaced.
 */
export async function revisionKey(
  client: Pick<KubeClient, 'get' | 'create'>,
  namespace: string,
): Promise<Buffer> {
  const known = await readKey(client, namespace)
  if (known) return known
  try {
    const made = await client.create<KeySecret>(`/api/v1/namespaces/${namespace}/secrets`, newKey(namespace))
    return keyIn(made, namespace)
  } catch (error) {
    if (!(error instanceof KubeError) || error.reason !== 'AlreadyExists') throw error
    const others = await readKey(client, namespace)
    if (others === undefined) throw error
    return others
  }
}

async function readKey(client: Pick<KubeClient, 'get'>, namespace: string): Promise<Buffer | undefined> {
  try {
    const path = `/api/v1/namespaces/${namespace}/secrets/${REVISION_KEY_SECRET}`
    return keyIn(await client.get<KeySecret>(path), namespace)
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return undefined
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
