import { type CredentialObject, keyOf, placeOf } from '../watched/credentials.ts'
import type { Watched } from '../watched/index.ts'

/** Which names there are, and whether what policies depend on has changed: most changes are of who uses a credential. */
export interface CredentialIndex {
  /** Namespaces that have a Credential of that name. */
  homesOf(name: string): ReadonlySet<string>
  /** Takes note of news of a credential, and says what they are; undefined if they are none that matter here. */
  note(credentialKey: string): 'new' | 'gone' | 'changed' | undefined
}

export function createCredentialIndex(watched: Pick<Watched, 'credential' | 'credentials'>): CredentialIndex {
  const versions = new Map<string, string>()
  const homes = new Map<string, Set<string>>()
  for (const object of watched.credentials()) note(keyOf(object))
  return { homesOf: (name) => homes.get(name) ?? NOWHERE, note }

  function note(key: string): ReturnType<CredentialIndex['note']> {
    const object = watched.credential(key)
    const before = versions.get(key)
    if (object === undefined) {
      versions.delete(key)
      moved(key, false)
      return before === undefined ? undefined : 'gone'
    }
    const now = versionOf(object)
    versions.set(key, now)
    if (before === undefined) moved(key, true)
    if (before === undefined) return 'new'
    return before === now ? undefined : 'changed'
  }

  function moved(key: string, isThere: boolean): void {
    const { kind, place } = placeOf(key)
    if (kind !== 'Credential') return
    const [namespace, name] = place.split('/') as [string, string]
    const known = homes.get(name) ?? new Set()
    if (isThere) homes.set(name, known.add(namespace))
    else known.delete(namespace)
    if (known.size === 0) homes.delete(name)
  }
}

const NOWHERE: ReadonlySet<string> = new Set()

/** The spec, and the keys that are known of its Secret. */
function versionOf({ metadata: { uid, generation }, status }: CredentialObject): string {
  return `${uid}/${generation}/${status?.keys?.join() ?? ''}`
}
