import type { Store } from '../api/catalog.ts'
import type { PolicyRevision } from '../api/policy-path.ts'
import type { CredentialStatus } from '../api/status.ts'
import { type KubeClient, KubeError, type KubeObject } from '../kube/client.ts'
import { type Clock, SYSTEM_CLOCK } from '../kube/clock.ts'
import { type Reflector, startReflector, type Trouble } from '../kube/reflector.ts'
import { type ClusterReads, createDirectReads, PLURALS } from './direct-reads.ts'
import { type Fields, offerOf, readerFor } from './kinds.ts'
import { type CatalogCounts, copyName, createMemoryStore } from './memory.ts'
import type { BrokenObject, CatalogObject, Observed, UsableObject } from './objects.ts'

/** A catalogue that follows the objects of a cluster. */
export interface ClusterCatalog {
  readonly store: Store
  /** For what the watches have not brought yet. */
  readonly reads: ClusterReads
  /** Resolves when all kinds have been read once. Never rejects: until then it is tried again and again. */
  readonly synced: Promise<void>
  status(): ClusterStatus
  /** Ends the watches. The store stays as it is. */
  close(): Promise<void>
}

export interface ClusterStatus {
  readonly counts: CatalogCounts
  /** Objects that cannot be used. */
  readonly problems: number
  readonly kinds: Readonly<Record<FollowedKind, KindStatus>>
}

interface KindStatus {
  readonly objects: number
  readonly isSynced: boolean
  readonly staleSeconds: number
  readonly relists: number
  readonly failures: number
  readonly handlerErrors: number
}

export interface ClusterOptions {
  readonly client: KubeClient
  /** Where the secrets of ClusterCredentials are. */
  readonly ownerNamespace?: string
  /** An object that cannot be used, as a sentence. */
  readonly onProblem?: (problem: string) => void
  /** A kind that cannot be followed at present, as a sentence; it is tried again by itself. */
  readonly onTrouble?: (kind: FollowedKind, problem: string, trouble: Trouble) => void
  readonly onRecovery?: (kind: FollowedKind) => void
  readonly clock?: Clock
  /** For tests: limits of the reflectors. */
  readonly limits?: Parameters<typeof startReflector>[0]['limits']
}

export type FollowedKind = keyof typeof PLURALS

export const FOLLOWED_KINDS = Object.keys(PLURALS) as FollowedKind[]

/** What is remembered of an object. */
export type Kept = CatalogObject | UnusablePolicy

/** A policy that cannot be read is not in effect. */
interface UnusablePolicy {
  readonly kind: 'CredentialPolicy'
  readonly name: string
  readonly unusable: string
}

interface Source extends KubeObject {
  readonly spec?: unknown
  readonly status?: CredentialStatus & {
    readonly failedNamespaces?: readonly { readonly namespace: string; readonly message: string }[]
  }
}

/** Begins to read and to follow the cluster's credentials, policies and namespaces. Returns at once. */
export function openCluster(options: ClusterOptions): ClusterCatalog {
  const { client, ownerNamespace, clock = SYSTEM_CLOCK } = options
  const memory = createMemoryStore({ ownerNamespace })
  const problems = new Set<string>()
  const reflectors = Object.fromEntries(FOLLOWED_KINDS.map((kind) => [kind, follow(kind)])) as Record<
    FollowedKind,
    Reflector<Source, Kept>
  >
  const reads = createDirectReads({
    client,
    has: ({ kind, namespace, name }) => reflectors[kind].get(keyIn(namespace, name)) !== undefined,
    found: ({ kind }, object) => reflectors[kind].offer(object) !== undefined,
    labelsMatter: () => memory.counts().policies + memory.counts().clusterCredentials > 0,
    clock,
  })
  const all = Object.values(reflectors)
  return {
    store: memory,
    reads,
    synced: Promise.all(all.map(({ synced }) => synced)).then(() => {}),
    status: () => ({
      counts: memory.counts(),
      problems: problems.size,
      kinds: Object.fromEntries(
        FOLLOWED_KINDS.map((kind) => [
          kind,
          { ...reflectors[kind].stats(), staleSeconds: reflectors[kind].staleSeconds() },
        ]),
      ) as ClusterStatus['kinds'],
    }),
    async close() {
      await Promise.all(all.map((reflector) => reflector.stop()))
    },
  }

  function follow(kind: FollowedKind): Reflector<Source, Kept> {
    return startReflector<Source, Kept>({
      client,
      path: pathOf(kind),
      // Of namespaces nothing but the labels is needed.
      metadataOnly: kind === 'Namespace',
      keep: (object) => keep(kind, object),
      onPut: (kept, key, before) => {
        reads.forget(kept)
        // Most changes are of a status, which counts who uses a credential: no reason to look at anything anew.
        if (before === undefined || !isSame(before, kept)) put(kept, key)
      },
      onRemove: (kept, key) => {
        reads.forget(kept)
        memory.remove(kept)
        problems.delete(`${kind} ${key}`)
      },
      onTrouble: (trouble) => options.onTrouble?.(kind, problemOf(kind, trouble), trouble),
      onRecovery: () => options.onRecovery?.(kind),
      clock,
      limits: options.limits,
    })
  }

  function put(kept: Kept, key: string): void {
    const subject = `${kept.kind} ${key}`
    const problem = 'broken' in kept ? kept.broken : 'unusable' in kept ? kept.unusable : undefined
    if (problem === undefined) problems.delete(subject)
    else {
      problems.add(subject)
      options.onProblem?.(`${subject}: ${problem}`)
    }
    if ('unusable' in kept) memory.remove(kept)
    else memory.put(kept)
  }
}

function pathOf(kind: FollowedKind): string {
  return `/${kind === 'Namespace' ? 'api' : 'apis/run.ai'}/v1/${PLURALS[kind]}`
}

function keyIn(namespace: string | undefined, name: string): string {
  return namespace === undefined ? name : `${namespace}/${name}`
}

function isSame(a: Kept, b: Kept): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

// ---- What is kept of an object ---------------------------------------------------------------------------------------

/** The part of an object that matters to who gets what, read as the schema has it. */
export function keep(kind: FollowedKind, { metadata, spec, status }: Source): Kept {
  const { name, namespace } = metadata
  if (kind === 'Namespace') return { kind, name, labels: metadata.labels ?? {} }
  const manifest: Fields = { apiVersion: 'run.ai/v1', kind, metadata: { name, namespace }, spec }
  const reader = readerFor(manifest) as NonNullable<ReturnType<typeof readerFor>>
  const faults = reader.check(manifest)
  const [first] = faults
  if (first === undefined) return withStatus(reader.take(manifest, name, namespace ?? ''), metadata, status)
  const others = faults.length === 1 ? '' : ` (and ${faults.length - 1} more)`
  const broken = `its object in the cluster is not what this version understands: ${first.message}${others}`
  if (kind === 'CredentialPolicy') return { kind, name, unusable: broken }
  return {
    kind,
    ...(kind === 'Credential' && { namespace }),
    name,
    broken,
    ...offerOf(manifest, faults),
  } as BrokenObject
}

function withStatus(object: UsableObject, metadata: Source['metadata'], status: Source['status']): Kept {
  if (object.kind === 'CredentialPolicy') return { ...object, ...revisionIn(metadata) }
  if (object.kind !== 'Credential' && object.kind !== 'ClusterCredential') return object
  const observed = observedIn(metadata.generation, status)
  if (object.kind === 'Credential' || observed.notReady === undefined) return { ...object, observed }
  // The status is about the Secret that is copied; what a pod waits for is the copy.
  const notReady = observed.notReady.replace(
    `Secret ${object.spec.secretRef.name}`,
    `Secret ${copyName(object.name)}`,
  )
  return { ...object, observed: { ...observed, notReady } }
}

function revisionIn({ uid, generation }: Source['metadata']): { revision?: PolicyRevision } {
  return uid === undefined || generation === undefined ? {} : { revision: { uid, generation } }
}

/** One for all that have no status yet, which is nothing to warn about: the controller will see to it. */
const NOTHING_OBSERVED: Observed = Object.freeze({})

/** What is known of the Secret by the status, if that is about the present spec. */
function observedIn(generation: number | undefined, status: Source['status']): Observed {
  const isOld = status?.observedGeneration !== undefined && status.observedGeneration !== generation
  if (!status || isOld) return NOTHING_OBSERVED
  const ready = status.conditions?.find(({ type }) => type === 'Ready')
  const isNotReady = ready?.status === 'False' && ready.reason !== 'Expired'
  const failed = status.failedNamespaces?.map(({ namespace, message }) => [namespace, sentence(message)])
  return {
    ...(status.keys && { keys: status.keys }),
    ...(isNotReady && { notReady: sentence(ready.message) }),
    ...(status.revision && { revision: status.revision }),
    ...(failed && failed.length > 0 && { failed: Object.fromEntries(failed) }),
  }
}

/** The first, which says what is wrong, without its full stop: it stands within another, short one. Remedies follow it. */
function sentence(message: string): string {
  const [first = ''] = message.split('. ')
  return first.replace(/\.$/, '') || 'its Secret cannot be used yet'
}

// ---- What goes wrong -------------------------------------------------------------------------------------------------

/** Why a kind cannot be followed, and what to do about it. */
function problemOf(kind: FollowedKind, { error, during }: Trouble): string {
  const plural = PLURALS[kind]
  if (during === 'handler') return `BUG: an object of ${plural} could not be taken over: ${error.message}`
  if (!(error instanceof KubeError)) return `${plural} cannot be read: ${error.message}`
  switch (error.status) {
    case 401:
      return `the API server does not know who asks for ${plural}: renew the token or the client certificate (${error.message})`
    case 403:
      return `${plural} may not be read: give this user get, list and watch on ${plural}, as the chart's ClusterRole does (${error.message})`
    case 404:
      return `the cluster has no ${plural}: install the CRDs, with the chart or with kubectl apply -f charts/credential-injector/files/crds`
    default:
      return `${plural} cannot be read: ${error.message}`
  }
}
