/** What is remembered of a Secret: nothing of its content, and of its metadata only when it changed. */
import type { KubeObject } from '../../kube/client.ts'
import { copyName } from '../../store/memory.ts'

export interface SecretFacts {
  readonly version: string
  /** As `Watched.copiedAt`. */
  readonly copiedAt: number | undefined
}

export interface WrittenObject extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly managedFields?: readonly ManagedFields[] }
}

/** meta/v1 ManagedFieldsEntry, shortened: who has written which fields, and when the last of them. */
interface ManagedFields {
  readonly time?: string
  readonly fieldsV1?: Readonly<Record<string, unknown>>
}

/** By the API server's own record, in milliseconds since 1970. Undefined for what by its name is no copy: nobody asks. */
export function copiedAt({ metadata }: WrittenObject): number | undefined {
  const { name, creationTimestamp = '', managedFields = [] } = metadata
  if (!name.startsWith(copyName(''))) return undefined
  const writes = managedFields.filter(({ fieldsV1 = {} }) => 'f:data' in fieldsV1)
  const times = [creationTimestamp, ...writes.map(({ time = '' }) => time)].map((time) => Date.parse(time))
  return times.reduce<number | undefined>(
    (latest, time) => (time > (latest ?? Number.NEGATIVE_INFINITY) ? time : latest),
    undefined,
  )
}
