/*
 * What is stored in the cluster, as plain data that can be planned with. Nothing else is remembered between two looks: whoever
 * takes over in the middle of a rotation goes on from here.
 */
import { type Certificate, certificatesIn, isKeyOf, isSignedBy } from '../../certificates/read.ts'
import type { KubeObject } from '../../kube/client.ts'
import { OWNER, OWNER_LABEL, ROTATE_ANNOTATION, TRUSTED_SINCE_ANNOTATION } from './names.ts'

/** A core/v1 Secret, as far as it matters here. Values are base64. */
export interface Secret extends KubeObject {
  readonly type?: string
  readonly data?: Readonly<Record<string, string>>
}

/** MutatingWebhookConfiguration or ValidatingWebhookConfiguration. */
export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string
    readonly clientConfig?: { readonly caBundle?: string }
  }[]
}

export type ConfigurationKind = 'MutatingWebhookConfiguration' | 'ValidatingWebhookConfiguration'

interface SecretState {
  /** `Foreign`: somebody else's, to be left alone. `Damaged`: ours, but what it holds cannot be used. */
  readonly status: 'Absent' | 'Foreign' | 'Damaged' | 'Usable'
  readonly secret: Secret | undefined
  /** Of a usable Secret. */
  readonly certificate: Certificate | undefined
  /** What `ca.crt` holds, whatever the rest is like. */
  readonly authorities: readonly Certificate[]
  /** Somebody has asked for a new one. */
  readonly rotate: boolean
}

export interface AuthorityState extends SecretState {
  readonly trustedSince: number | undefined
}

export interface ServingState extends SecretState {
  /** True if the present authority has signed it. */
  readonly byAuthority: boolean
}

export interface ConfigurationState {
  readonly kind: ConfigurationKind
  readonly name: string
  readonly resourceVersion: string
  /** Its webhooks, in order. */
  readonly entries: readonly EntryState[]
}

interface EntryState {
  readonly name: string
  /** PEM; empty if there is none. */
  readonly bundle: string
  readonly authorities: readonly Certificate[]
}

export interface State {
  readonly authority: AuthorityState
  readonly serving: ServingState
  /** Those that exist. */
  readonly configurations: readonly ConfigurationState[]
}

export interface StoredObjects {
  readonly authority: Secret | undefined
  readonly serving: Secret | undefined
  readonly configurations: readonly {
    readonly kind: ConfigurationKind
    readonly object: WebhookConfiguration
  }[]
}

export function stateOf(objects: StoredObjects): State {
  const authority = authorityState(objects.authority)
  return {
    authority,
    serving: servingState(objects.serving, authority.certificate),
    configurations: objects.configurations.map(({ kind, object }) => ({
      kind,
      name: object.metadata.name,
      resourceVersion: object.metadata.resourceVersion ?? '',
      entries: (object.webhooks ?? []).map(({ name, clientConfig }) => {
        const bundle = decoded(clientConfig?.caBundle)
        return { name, bundle, authorities: certificatesIn(bundle) }
      }),
    })),
  }
}

function authorityState(secret: Secret | undefined): AuthorityState {
  const trustedSince = Date.parse(secret?.metadata.annotations?.[TRUSTED_SINCE_ANNOTATION] ?? '')
  return {
    ...secretState(secret, ({ isAuthority }) => isAuthority),
    trustedSince: Number.isNaN(trustedSince) ? undefined : trustedSince,
  }
}

function servingState(secret: Secret | undefined, authority: Certificate | undefined): ServingState {
  const state = secretState(secret, ({ isAuthority }) => !isAuthority)
  return {
    ...state,
    byAuthority: Boolean(authority && state.certificate && isSignedBy(state.certificate, authority)),
  }
}

function secretState(
  secret: Secret | undefined,
  isWanted: (certificate: Certificate) => boolean,
): SecretState {
  const authorities = certificatesIn(decoded(secret?.data?.['ca.crt']))
  const rotate = secret?.metadata.annotations?.[ROTATE_ANNOTATION] !== undefined
  const rest = { secret, certificate: undefined, authorities, rotate }
  if (!secret) return { ...rest, status: 'Absent' }
  if (secret.metadata.labels?.[OWNER_LABEL] !== OWNER) return { ...rest, status: 'Foreign' }
  const [certificate] = certificatesIn(decoded(secret.data?.['tls.crt']))
  const key = decoded(secret.data?.['tls.key'])
  if (!certificate || !isWanted(certificate) || !isKeyOf(key, certificate))
    return { ...rest, status: 'Damaged' }
  return { ...rest, certificate, status: 'Usable' }
}

export function decoded(base64 = ''): string {
  return Buffer.from(base64, 'base64').toString('utf8')
}

export function encoded(text: string): string {
  return Buffer.from(text).toString('base64')
}
