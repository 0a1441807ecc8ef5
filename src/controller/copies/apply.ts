import { isConflict, isNotFound, type KubeClient, KubeError } from '../../kube/client.ts'
import { mustLead } from '../duties.ts'
import { type CredentialIdentity, copyFor, type FoundSecret, type StoredSecret } from './copy.ts'
import type { CopyMetrics, CopyVerb } from './metrics.ts'

/** The writes of copies: one request each, and each only if what is there is what was planned from. */
export interface CopyWrites {
  create(credential: CredentialIdentity, namespace: string, source: StoredSecret): Promise<StoredSecret>
  update(credential: CredentialIdentity, found: FoundSecret, source: StoredSecret): Promise<StoredSecret>
  /** A copy that is gone already counts as deleted. */
  delete(found: FoundSecret): Promise<void>
}

interface WriteParts {
  readonly client: Pick<KubeClient, 'create' | 'replace' | 'delete'>
  readonly metrics: Pick<CopyMetrics, 'written'>
  readonly isLeading: () => boolean
  readonly signal: AbortSignal
}

export function createWrites({ client, metrics, isLeading, signal }: WriteParts): CopyWrites {
  return {
    create: (credential, namespace, source) =>
      counted('create', () =>
        client.create(collection(namespace), copyFor(credential, namespace, source), { signal }),
      ),
    update: (credential, found, source) => {
      const copy = copyFor(credential, found.namespace, source)
      const { uid, resourceVersion } = found
      const body = { ...copy, metadata: { ...copy.metadata, uid, resourceVersion } }
      return counted('update', () => client.replace(pathTo(found), body, { signal }))
    },
    delete: (found) =>
      counted('delete', async () => {
        const { uid, resourceVersion } = found
        const options = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } }
        await client.delete(pathTo(found), options, { signal }).catch(unlessGone)
      }),
  }

  async function counted<T>(verb: CopyVerb, write: () => Promise<T>): Promise<T> {
    mustLead(isLeading)
    try {
      const answer = await write()
      metrics.written(verb, 'ok')
      return answer
    } catch (error) {
      metrics.written(verb, isConflict(error) ? 'conflict' : 'error')
      throw error
    }
  }
}

function collection(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/secrets`
}

export function pathTo({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${collection(namespace)}/${name}`
}

function unlessGone(error: unknown): void {
  if (!isNotFound(error)) throw error
}

/** The namespace is gone, or nothing can be made in it any more. */
export function isNamespaceGone(error: unknown): boolean {
  if (!(error instanceof KubeError)) return false
  return error.status === 404 || (error.status === 403 && error.message.includes('is being terminated'))
}

/** What trying again will hardly mend: a right, a quota or another admission policy. */
export function isRefusal(error: unknown): error is KubeError {
  if (!(error instanceof KubeError)) return false
  return error.status >= 400 && error.status < 500 && ![401, 404, 408, 409, 429].includes(error.status)
}
