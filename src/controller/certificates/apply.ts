/*
 * One step, written down. Every write carries the version of what it was planned on: if somebody else was faster (another
 * controller that still believes it leads, Helm, a person), the API server refuses it, and everything is read again.
 */

import type { Certificate } from '../../certificates/read.ts'
import type { KubeClient } from '../../kube/client.ts'
import { OWNER, OWNER_LABEL, ROTATE_ANNOTATION, TRUSTED_SINCE_ANNOTATION } from './names.ts'
import { bundleOf, type Step } from './plan.ts'
import { type ConfigurationState, decoded, encoded, type Secret, type State } from './state.ts'
import { configurationPath, type ObjectNames, pathOf, secretPath } from './store.ts'

export interface Applying {
  readonly client: KubeClient
  readonly names: ObjectNames
  readonly dnsNames: readonly string[]
  /** Milliseconds. */
  readonly authorityValidity: number
  readonly servingValidity: number
  readonly now: () => number
  readonly signal: AbortSignal
}

export async function applyStep(step: Step, state: State, applying: Applying): Promise<void> {
  switch (step.kind) {
    case 'MakeAuthority':
      return makeAuthority(step.trusted, state, applying)
    case 'IssueServing':
      return makeServing(state, applying)
    case 'NoteTrust':
      return rewriteAuthority(state, applying, state.authority.authorities, step.since)
    case 'Tidy':
      return rewriteAuthority(state, applying, step.trusted, undefined)
    case 'Trust':
      for (const configuration of step.configurations) await trust(configuration, step.bundle, applying)
  }
}

async function makeAuthority(
  trusted: readonly Certificate[],
  { authority }: State,
  applying: Applying,
): Promise<void> {
  const { issueAuthority } = await makers()
  const { cert, key } = await issueAuthority({
    name: 'credential-injector CA',
    now: applying.now(),
    validity: applying.authorityValidity,
  })
  const data = { 'tls.crt': cert, 'tls.key': key, 'ca.crt': cert + bundleOf(trusted) }
  await writeSecret(applying, applying.names.authoritySecret, authority.secret, data, {})
}

async function makeServing({ authority, serving }: State, applying: Applying): Promise<void> {
  const { issueServing } = await makers()
  const { data } = authority.secret as Secret
  const issuer = { cert: decoded(data?.['tls.crt']), key: decoded(data?.['tls.key']) }
  const { cert, key } = await issueServing({
    name: 'credential-injector webhook',
    authority: issuer,
    names: applying.dnsNames.map((value) => ({ type: 'dns', value })),
    now: applying.now(),
    validity: applying.servingValidity,
  })
  // No chain beyond the certificate itself: its issuer is the root that clients have.
  await writeSecret(
    applying,
    applying.names.servingSecret,
    serving.secret,
    { 'tls.crt': cert, 'tls.key': key, 'ca.crt': issuer.cert },
    {},
  )
}

/** The same authority, with other words about it. */
async function rewriteAuthority(
  { authority }: State,
  applying: Applying,
  trusted: readonly Certificate[],
  trustedSince: number | undefined,
): Promise<void> {
  const secret = authority.secret as Secret
  const data = {
    'tls.crt': decoded(secret.data?.['tls.crt']),
    'tls.key': decoded(secret.data?.['tls.key']),
    'ca.crt': bundleOf(trusted),
  }
  const notes: Record<string, string> =
    trustedSince === undefined ? {} : { [TRUSTED_SINCE_ANNOTATION]: new Date(trustedSince).toISOString() }
  await writeSecret(applying, applying.names.authoritySecret, secret, data, notes)
}

/** What others have written on the Secret stays; our own annotations are those in `notes`. */
async function writeSecret(
  { client, names, signal }: Applying,
  name: string,
  present: Secret | undefined,
  data: Readonly<Record<string, string>>,
  notes: Readonly<Record<string, string>>,
): Promise<void> {
  const path = secretPath(names, name)
  const {
    [ROTATE_ANNOTATION]: _rotate,
    [TRUSTED_SINCE_ANNOTATION]: _since,
    ...annotations
  } = present?.metadata.annotations ?? {}
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    type: present?.type ?? 'kubernetes.io/tls',
    metadata: {
      ...present?.metadata,
      name,
      namespace: names.namespace,
      labels: { ...present?.metadata.labels, [OWNER_LABEL]: OWNER },
      annotations: { ...annotations, ...notes },
    },
    data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, encoded(text)])),
  }
  if (present) await client.replace(pathOf(path), secret, { signal })
  else await client.create(path.collection, secret, { signal })
}

/** Only the bundles, and only of the configuration that was looked at: its version must be the same, so its entries are. */
async function trust(
  { kind, name, resourceVersion, entries }: ConfigurationState,
  bundle: string,
  { client, signal }: Applying,
): Promise<void> {
  const patch = [
    { op: 'test', path: '/metadata/resourceVersion', value: resourceVersion },
    ...entries.flatMap((entry, index) =>
      entry.bundle === bundle
        ? []
        : [{ op: 'add', path: `/webhooks/${index}/clientConfig/caBundle`, value: encoded(bundle) }],
    ),
  ]
  await client.patch(pathOf(configurationPath(kind, name)), 'application/json-patch+json', patch, { signal })
}

/** Certificates are made a few times a year: the library is loaded when it is needed. */
function makers() {
  return import('../../certificates/issue.ts')
}
