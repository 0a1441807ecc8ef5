import { isNotFound, type KubeClient } from '../../kube/client.ts'
import type { WorkQueue } from '../queue.ts'
import { type CredentialObject, secretKeyOf } from '../watched/credentials.ts'
import type { Watched } from '../watched/index.ts'
import { type Original, original, type StoredSecret } from './copy.ts'

/** The Secrets that are copied, by ClusterCredential. Their content is kept only while it is being handed out. */
export interface Sources {
  /** `open`: not known, or gone for less than the settling time. */
  of(credential: string): Original | 'gone' | 'open'
  /** Reads what has changed. To be called for whatever may have; afterwards `of` knows. */
  read(credential: string): Promise<void>
  /** The content that belongs to what `of` says; read once more if it was forgotten. Undefined when it is another by now. */
  contentOf(credential: string): Promise<StoredSecret | undefined>
  /** The ClusterCredential is gone. */
  forget(credential: string): void
  /** Nothing is being handed out at present. */
  forgetContents(): void
}

interface SourceParts {
  readonly client: Pick<KubeClient, 'get'>
  readonly watched: Pick<Watched, 'credential' | 'secretVersion'>
  readonly ownNamespace: string
  readonly key: Buffer
  readonly signal: AbortSignal
  /** Milliseconds for which a source may be gone before its copies go: time enough to make it anew. */
  readonly settle: number
  readonly now: () => number
  /** Asks for another `read` at that time. */
  readonly queue: () => Pick<WorkQueue, 'addAt'>
}

interface Known {
  readonly secret: string
  readonly version: string | undefined
  readonly original: Original
}

export function createSources(parts: SourceParts): Sources {
  const { client, watched, ownNamespace, key, signal, settle, now } = parts
  const known = new Map<string, Known>()
  /** Since when there is none. */
  const missing = new Map<string, number>()
  const contents = new Map<string, StoredSecret>()

  return { of, read, contentOf, forget, forgetContents: () => contents.clear() }

  function of(credential: string): Original | 'gone' | 'open' {
    const since = missing.get(credential)
    if (since !== undefined) return now() >= since + settle ? 'gone' : 'open'
    return known.get(credential)?.original ?? 'open'
  }

  async function read(credential: string): Promise<void> {
    const object = objectOf(credential)
    if (object === undefined) return forget(credential)
    const secret = secretKeyOf(object, ownNamespace)
    const version = watched.secretVersion(secret)
    if (version === undefined) return miss(credential)
    missing.delete(credential)
    const before = known.get(credential)
    if (before?.secret === secret && before.version === version) return
    const stored = await get(secret)
    if (stored === undefined) return miss(credential)
    take(credential, secret, stored)
  }

  function take(credential: string, secret: string, stored: StoredSecret): void {
    missing.delete(credential)
    contents.set(credential, stored)
    const version = stored.metadata.resourceVersion
    known.set(credential, { secret, version, original: original(credential, stored, key) })
  }

  /** Whoever deletes a Secret to make it anew, as `kubectl replace --force` does, does not mean its copies to go. */
  function miss(credential: string): void {
    known.delete(credential)
    contents.delete(credential)
    const since = missing.get(credential) ?? now()
    missing.set(credential, since)
    if (of(credential) === 'open') parts.queue().addAt(credential, since + settle)
  }

  async function contentOf(credential: string): Promise<StoredSecret | undefined> {
    const its = known.get(credential)
    const kept = contents.get(credential)
    if (kept !== undefined || its === undefined) return kept
    const stored = await get(its.secret)
    if (stored === undefined || known.get(credential) !== its) return contents.get(credential)
    if (stored.metadata.resourceVersion !== its.version) return undefined
    contents.set(credential, stored)
    return stored
  }

  function objectOf(credential: string): CredentialObject | undefined {
    return watched.credential(`ClusterCredential/${credential}`)
  }

  async function get(secret: string): Promise<StoredSecret | undefined> {
    const [namespace, name] = secret.split('/')
    try {
      return await client.get<StoredSecret>(`/api/v1/namespaces/${namespace}/secrets/${name}`, { signal })
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  function forget(credential: string): void {
    known.delete(credential)
    missing.delete(credential)
    contents.delete(credential)
  }
}
