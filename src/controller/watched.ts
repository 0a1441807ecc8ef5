import type { ClusterCredentialSpec, CredentialSpec } from '../api/schema.ts'
import type { ClusterCredentialStatus, CredentialStatus } from '../api/status.ts'
import type { KubeClient, KubeObject, ObjectMeta } from '../kube/client.ts'
import { type Reflector, startReflector, type Trouble } from '../kube/reflector.ts'

/** A Credential or ClusterCredential as the API server has it. */
export interface CredentialObject {
  readonly kind: CredentialKind
  readonly metadata: ObjectMeta
  readonly spec: CredentialSpec | ClusterCredentialSpec
  readonly status?: CredentialStatus | ClusterCredentialStatus
}

export const CREDENTIAL_KINDS = {
  Credential: 'credentials',
  ClusterCredential: 'clustercredentials',
} as const
export type CredentialKind = keyof typeof CREDENTIAL_KINDS

/**
 * The cluster as far as the controller knows it: credentials as a whole, and of all Secrets that there are only their names and
 * versions. Whose Secret changed is found in a map.
 */
export interface Watched {
  /** Resolves when everything has been listed once. */
  readonly synced: Promise<unknown>
  credential(key: string): CredentialObject | undefined
  credentials(): Iterable<CredentialObject>
  /** Keys of all credentials. */
  keys(): Iterable<string>
  /** `resourceVersion` of a Secret; undefined if there is none of that name. */
  secretVersion(secretKey: string): string | undefined
  /** Takes what the API server answered to a change, which the watch will bring in a moment. */
  offer(object: CredentialObject): void
  staleSeconds(): [resource: string, seconds: number][]
  stop(): Promise<void>
}

interface WatchSettings {
  readonly client: Pick<KubeClient, 'get' | 'stream'>
  /** Where the secrets of ClusterCredentials are. */
  readonly ownNamespace: string
  /** A credential or the Secret that it names has changed, has come or is gone. */
  readonly onChange: (credentialKey: string) => void
  readonly onTrouble?: (resource: string, trouble: Trouble) => void
  readonly onRecovery?: (resource: string) => void
}

export function watchCluster(settings: WatchSettings): Watched {
  const { client, ownNamespace, onChange } = settings
  /** By Secret: the credentials that name it. */
  const users = new Map<string, Set<string>>()

  const followed = {
    Credential: followCredentials('Credential'),
    ClusterCredential: followCredentials('ClusterCredential'),
  }
  const secrets = startReflector<KubeObject, string>({
    client,
    path: '/api/v1/secrets',
    metadataOnly: true,
    keep: ({ metadata }) => metadata.resourceVersion as string,
    onPut: (_version, key) => tellUsers(key),
    onRemove: (_version, key) => tellUsers(key),
    ...reports('secrets'),
  })
  const all: [string, Reflector<never, unknown>][] = [
    ['credentials', followed.Credential],
    ['clustercredentials', followed.ClusterCredential],
    ['secrets', secrets],
  ]

  return {
    synced: Promise.all(all.map(([, { synced }]) => synced)),
    credential(key) {
      const { kind, place } = placeOf(key)
      return followed[kind].get(place)
    },
    *credentials() {
      yield* followed.Credential.values()
      yield* followed.ClusterCredential.values()
    },
    *keys() {
      for (const object of this.credentials()) yield keyOf(object)
    },
    secretVersion: (key) => secrets.get(key),
    offer: (object) => void followed[object.kind].offer(object),
    staleSeconds: () => all.map(([resource, reflector]) => [resource, reflector.staleSeconds()]),
    async stop() {
      await Promise.all(all.map(([, reflector]) => reflector.stop()))
    },
  }

  function followCredentials(kind: CredentialKind): Reflector<CredentialObject, CredentialObject> {
    return startReflector<CredentialObject, CredentialObject>({
      client,
      path: `/apis/run.ai/v1/${CREDENTIAL_KINDS[kind]}`,
      keep: (object) => keep(kind, object),
      onPut(now, _key, before) {
        if (before) forgetUse(before)
        noteUse(now)
        onChange(keyOf(now))
      },
      onRemove(gone) {
        forgetUse(gone)
        onChange(keyOf(gone))
      },
      ...reports(CREDENTIAL_KINDS[kind]),
    })
  }

  function reports(resource: string) {
    return {
      onTrouble: (trouble: Trouble) => settings.onTrouble?.(resource, trouble),
      onRecovery: () => settings.onRecovery?.(resource),
    }
  }

  function noteUse(object: CredentialObject): void {
    const secret = secretKeyOf(object, ownNamespace)
    const known = users.get(secret)
    if (known) known.add(keyOf(object))
    else users.set(secret, new Set([keyOf(object)]))
  }

  function forgetUse(object: CredentialObject): void {
    const secret = secretKeyOf(object, ownNamespace)
    const known = users.get(secret)
    known?.delete(keyOf(object))
    if (known?.size === 0) users.delete(secret)
  }

  function tellUsers(secret: string): void {
    for (const key of users.get(secret) ?? []) onChange(key)
  }
}

function keep(kind: CredentialKind, { metadata, spec, status }: CredentialObject): CredentialObject {
  const { name, namespace, uid, resourceVersion, generation, deletionTimestamp } = metadata
  return {
    kind,
    metadata: { name, namespace, uid, resourceVersion, generation, deletionTimestamp },
    spec,
    status,
  }
}

/** `Credential/team-a/wandb`, `ClusterCredential/dockerhub` */
export function keyOf({ kind, metadata: { namespace, name } }: CredentialObject): string {
  return namespace === undefined ? `${kind}/${name}` : `${kind}/${namespace}/${name}`
}

function placeOf(key: string): { kind: CredentialKind; place: string } {
  const slash = key.indexOf('/')
  return { kind: key.slice(0, slash) as CredentialKind, place: key.slice(slash + 1) }
}

/** Where the Secret is: of a ClusterCredential in the injector's own namespace. */
export function secretNamespaceOf({ metadata }: CredentialObject, ownNamespace: string): string {
  return metadata.namespace ?? ownNamespace
}

/** `NAMESPACE/NAME` */
export function secretKeyOf(object: CredentialObject, ownNamespace: string): string {
  return `${secretNamespaceOf(object, ownNamespace)}/${object.spec.secretRef.name}`
}

/** The object's path in the API. */
export function pathOf({ kind, metadata: { namespace, name } }: CredentialObject): string {
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`
  return `/apis/run.ai/v1${scope}/${CREDENTIAL_KINDS[kind]}/${name}`
}
