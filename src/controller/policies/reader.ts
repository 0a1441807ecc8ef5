import { type Kept, keep } from '../../store/cluster.ts'
import type { CatalogObject } from '../../store/objects.ts'
import type { CredentialObject } from '../watched/credentials.ts'
import type { PolicyObject } from '../watched/index.ts'
import type { StoredPolicy } from './entries.ts'

/** Reads objects as the webhook does: what it would not understand is not taken for understood here. */
export interface Reader {
  /** The policy, or what is wrong with it. */
  policy(object: PolicyObject): StoredPolicy | { readonly unusable: string }
  credential(object: CredentialObject): CatalogObject
}

/** An object that is still the same is not read again. */
export function createReader(): Reader {
  const known = new WeakMap<object, Kept>()
  return {
    policy(object) {
      const kept = read('CredentialPolicy', object)
      if ('unusable' in kept) return kept
      const { name, uid = 'unknown', generation = 0 } = object.metadata
      const { spec } = kept as Pick<StoredPolicy, 'spec'>
      return { name, spec, revision: { uid, generation } }
    },
    credential: (object) => read(object.kind, object) as CatalogObject,
  }

  function read(kind: Parameters<typeof keep>[0], object: PolicyObject | CredentialObject): Kept {
    const before = known.get(object)
    if (before !== undefined) return before
    const kept = keep(kind, object as Parameters<typeof keep>[1])
    known.set(object, kept)
    return kept
  }
}
