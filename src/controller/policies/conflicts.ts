/*
 * Whether two policies can both hold. Nobody knows that better than the engine, which will refuse the pod: so it is given one
 * that both select, before any such pod is there.
 */
import type { Policy } from '../../api/catalog.ts'
import { isWindowsPath } from '../../api/paths.ts'
import type { Pod } from '../../api/pod.ts'
import type { CredentialSpec } from '../../api/schema.ts'
import { inject } from '../../inject/index.ts'
import { createMemoryStore } from '../../store/memory.ts'
import type { CatalogObject } from '../../store/objects.ts'
import type { NamespaceFacts } from '../watched/index.ts'
import { labelsOf } from './enforced-by.ts'

export interface Trial {
  /** Both policies hold in it. */
  readonly namespace: NamespaceFacts
  /** The credentials that they name, as far as the namespace has them. */
  readonly credentials: readonly CatalogObject[]
  /** Of a pod that both select. */
  readonly labels: Readonly<Record<string, string>>
}

/** What the two ask for and cannot both have, as sentences; of one and the same policy, what contradicts itself. */
export function conflictsOf(a: Policy, b: Policy, trial: Trial): string[] {
  if (a === b) return problems([a], trial)
  const alone = new Set([...problems([a], trial), ...problems([b], trial)])
  return problems([a, b], trial).filter((problem) => !alone.has(problem))
}

function problems(policies: readonly Policy[], { namespace, credentials, labels }: Trial): string[] {
  const store = createMemoryStore({ ownerNamespace: '' })
  store.put({ kind: 'Namespace', name: namespace.name, labels: labelsOf(namespace) })
  for (const object of credentials) store.put(object)
  const outcome = inject({
    pod: podFor(credentials, namespace.name, labels),
    view: { ...store.view(namespace.name), policies },
    excludedNamespaces: new Set(),
    now: 0,
  })
  if (outcome.kind !== 'Denied') return []
  return outcome.problems.filter(({ reason }) => reason === 'PolicyConflict').map(({ message }) => message)
}

/** The plainest pod that could have all of the credentials. */
function podFor(credentials: readonly CatalogObject[], namespace: string, labels: Trial['labels']): Pod {
  const specs = credentials.flatMap((object) => ('spec' in object ? [object.spec as CredentialSpec] : []))
  return {
    metadata: { name: 'pod', labels },
    spec: {
      containers: [{ name: 'main' }],
      serviceAccountName: accountFor(specs, namespace),
      ...(specs.some(({ mountPath = '' }) => isWindowsPath(mountPath)) && { os: { name: 'windows' } }),
    },
  }
}

/** One that may use all of them, if there is any. */
function accountFor(specs: readonly CredentialSpec[], namespace: string): string {
  const lists = specs.flatMap(({ allowedServiceAccounts: names }) =>
    names ? [new Set(names.map((name) => accountIn(name, namespace)))] : [],
  )
  const [first = new Set(), ...others] = lists
  return [...first].find((name) => name && others.every((list) => list.has(name))) ?? 'default'
}

/** `NAME`, or of `NAMESPACE/NAME` the name, if it is of this namespace. */
function accountIn(written: string, namespace: string): string {
  const [name, its] = written.split('/').reverse() as [string, string?]
  return its === undefined || its === namespace ? name : ''
}
