import { isNotFound } from '../../kube/client.ts'
import { copyName } from '../../store/memory.ts'
import type { DutyParts } from '../duties.ts'
import { revisionOf } from '../status/revision.ts'
import type { Rotation } from './record.ts'

interface StoredSecret {
  readonly type?: string
  readonly data?: Readonly<Record<string, string>>
}

/**
 * Whether pods that start in that namespace now get the content that the rotation was to. A ClusterCredential's Secret reaches a
 * namespace as a copy, a moment after the source; pods that were restarted before that would be so for nothing. The copy is read
 * for its revision, as that of the source, and forgotten.
 */
export async function isDelivered(
  { client, watched, ownNamespace, revisionKey }: DutyParts,
  { credential: name, revision }: Rotation,
  namespace: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (!name.startsWith(CLUSTER)) return true
  const credential = watched.credential(name)
  if (credential === undefined) return false
  const path = `/api/v1/namespaces/${namespace}/secrets/${copyName(name.slice(CLUSTER.length))}`
  try {
    const { type = 'Opaque', data = {} } = await client.get<StoredSecret>(path, { signal })
    const content = Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64')] as const)
    const source = { namespace: ownNamespace, name: credential.spec.secretRef.name, type }
    return revision === revisionOf({ ...source, content: new Map(content) }, await revisionKey(signal))
  } catch (error) {
    if (isNotFound(error)) return false
    throw error
  }
}

const CLUSTER = 'ClusterCredential/'
