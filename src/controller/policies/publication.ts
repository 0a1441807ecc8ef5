import type { StatusSource } from '../duties.ts'
import type { CredentialObject } from '../watched/credentials.ts'
import type { Watched } from '../watched/index.ts'
import type { CredentialIndex } from './credential-index.ts'
import { enforcedBy } from './enforced-by.ts'
import type { StoredPolicy } from './entries.ts'

/** Tells credentials which policies enforce them. */
export interface Publication extends StatusSource {
  /** These are enforced from now on, and hold in no namespace of those excluded. */
  publish(enforced: readonly StoredPolicy[], excluded: ReadonlySet<string>): void
  /** A Credential has come or gone: which namespaces mean the ClusterCredential of that name is another question now. */
  credentialMoved(name: string): void
  namespaceChanged(namespace: string): void
}

interface PublicationSettings {
  readonly watched: Pick<Watched, 'namespace' | 'credentials'>
  readonly index: CredentialIndex
  readonly tell: (credentialKey: string) => void
}

interface Published {
  readonly policies: readonly StoredPolicy[]
  readonly excluded: ReadonlySet<string>
  /** By name as written in them. */
  readonly byName: ReadonlyMap<string, readonly StoredPolicy[]>
}

export function createPublication({ watched, index, tell }: PublicationSettings): Publication {
  let published: Published | undefined
  return { factsOf, publish, credentialMoved, namespaceChanged }

  /** Before it is known what is in effect, what was said before stays. */
  function factsOf(credential: CredentialObject): ReturnType<StatusSource['factsOf']> {
    if (published === undefined) return {}
    const { byName, excluded } = published
    const { name } = credential.metadata
    const policies = [...(byName.get(name) ?? []), ...(byName.get(`cluster/${name}`) ?? [])]
    return {
      enforcedBy: enforcedBy(credential, {
        policies: [...new Set(policies)].sort((a, b) => (a.name < b.name ? -1 : 1)),
        excluded,
        namespace: watched.namespace,
        namespacesWith: index.homesOf,
      }),
    }
  }

  function publish(policies: readonly StoredPolicy[], excluded: ReadonlySet<string>): void {
    const before = published
    published = { policies, excluded, byName: byNameOf(policies) }
    if (before === undefined) {
      // Somebody may have stopped in the middle; and who looks at all credentials at the start may have been earlier.
      for (const { kind, metadata, status } of watched.credentials())
        if (status?.enforcedBy !== undefined) tell(keyFor(kind, metadata.namespace, metadata.name))
    }
    for (const name of namesChanged(before, published)) tellOf(name)
  }

  function tellOf(written: string): void {
    const name = written.replace(/^cluster\//, '')
    tell(`ClusterCredential/${name}`)
    if (name === written) for (const home of index.homesOf(name)) tell(`Credential/${home}/${name}`)
  }

  function credentialMoved(name: string): void {
    if (published?.byName.has(name)) tell(`ClusterCredential/${name}`)
  }

  function namespaceChanged(namespace: string): void {
    for (const name of published?.byName.keys() ?? []) {
      if (!index.homesOf(name).has(namespace)) continue
      tell(`Credential/${namespace}/${name}`)
      tell(`ClusterCredential/${name}`)
    }
  }
}

function keyFor(kind: string, namespace: string | undefined, name: string): string {
  return namespace === undefined ? `${kind}/${name}` : `${kind}/${namespace}/${name}`
}

function byNameOf(policies: readonly StoredPolicy[]): Map<string, StoredPolicy[]> {
  const byName = new Map<string, StoredPolicy[]>()
  for (const policy of policies)
    for (const name of policy.spec.credentials) byName.set(name, [...(byName.get(name) ?? []), policy])
  return byName
}

/** Names that another set of policies, or the same in another state, stands behind. */
function namesChanged(before: Published | undefined, now: Published): Set<string> {
  if (before !== undefined && [...before.excluded].join() !== [...now.excluded].join())
    return new Set([...before.byName.keys(), ...now.byName.keys()])
  // Of one revision, too, another part may be in effect.
  const revisions = (published: Published | undefined) =>
    new Map(published?.policies.map((policy) => [JSON.stringify(policy), policy]))
  const [old, fresh] = [revisions(before), revisions(now)]
  const changed = [
    ...[...old].filter(([revision]) => !fresh.has(revision)),
    ...[...fresh].filter(([revision]) => !old.has(revision)),
  ]
  return new Set(changed.flatMap(([, { spec }]) => spec.credentials))
}
