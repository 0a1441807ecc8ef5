import { INJECT } from '../annotations.ts'
import type { Credential, Lookup, NamespaceView, Policy } from '../api/catalog.ts'
import { folderKey, isWindowsPath, mountPathProblem, moved, normalizeFolder } from '../api/paths.ts'
import type { Pod } from '../api/pod.ts'
import { matchesSelector } from '../api/selector.ts'
import type { Findings } from './findings.ts'
import {
  annotationField,
  type CredentialName,
  clip,
  type PodRequest,
  parseCredentialName,
} from './request.ts'
import { suggestion } from './suggestion.ts'
import { isWindows } from './targets.ts'

/**
 * Who asks for a credential, which decides who wins:
 * `Enforce` (a policy) before `Named` (the pod's annotation) before `Default` (a policy).
 */
type Strength = 'Enforce' | 'Named' | 'Default'

/** Where a variable's value comes from. */
export type Source = { secret: string; key: string } | { value: string }

/** A credential that the pod is to get, and for whose sake. */
export interface Claim {
  credential: Credential
  strength: Strength
  /** The policy that asks for it; undefined for `Named`. */
  policy?: string
  /** `Credential wandb-credentials`, with the policy where there is one. */
  label: string
  /** Where a file credential is mounted, normalised; undefined for the other types. */
  folder?: string
  /** Variables that are listed one by one, and so become `env` entries. */
  listed: readonly { name: string; source: Source }[]
  /** All keys of the secret become variables, by `envFrom`. */
  wholeSecret: boolean
  /** Path in the pod of what asks for it. */
  field: string
}

export interface Claims {
  /** Enforce, Named, Default; among policies by name, among names as written. No credential is claimed twice at one place. */
  claims: Claim[]
  /** Only Default policies select the pod, and it opted out of them. */
  optedOut: boolean
}

/** Resolves what the pod names and what policies give it. What cannot be resolved is denied, or (Default) left out. */
export function claimsOf(pod: Pod, request: PodRequest, view: NamespaceView, findings: Findings): Claims {
  const policies = policiesFor(pod, view)
  const defaults = policies.filter(({ spec }) => spec.enforcement === 'Default')
  const claims = [
    ...policies
      .filter(({ spec }) => spec.enforcement === 'Enforce')
      .flatMap((policy) => claimsOfPolicy(pod, policy, view, findings)),
    ...request.names.map((name) => namedClaim(pod, name, view, findings)),
    ...(request.optOut ? [] : defaults.flatMap((policy) => claimsOfPolicy(pod, policy, view, findings))),
  ].filter((claim) => claim !== undefined)
  return { claims: withoutRepeats(claims), optedOut: request.optOut && defaults.length > 0 }
}

function policiesFor(pod: Pod, view: NamespaceView): Policy[] {
  return view.policies.filter(
    ({ spec }) => !spec.podSelector || matchesSelector(spec.podSelector, pod.metadata?.labels ?? {}),
  )
}

/** What the pod, or a policy for it, names and the view does not have. The order means nothing. */
export function unknownNames(pod: Pod, request: PodRequest, view: NamespaceView): CredentialName[] {
  const ofPolicies = policiesFor(pod, view).flatMap(({ spec }) => spec.credentials)
  const names = [...request.names, ...ofPolicies.flatMap((text) => parseCredentialName(text) ?? [])]
  return names.filter((name) => find(name, view) === undefined)
}

function namedClaim(
  pod: Pod,
  name: CredentialName,
  view: NamespaceView,
  findings: Findings,
): Claim | undefined {
  const field = annotationField(INJECT)
  const found = resolve(name, view)
  if ('problem' in found) {
    findings.deny('CredentialNotFound', field, found.problem)
    return undefined
  }
  const { credential } = found
  const refusal = serviceAccountProblem(credential, pod, view.namespace)
  if (refusal) findings.deny('CredentialNotAllowed', field, refusal)
  const pathProblem = overridePathProblem(name, credential, pod)
  if (pathProblem) findings.deny('InvalidAnnotation', field, pathProblem)
  if (refusal || pathProblem) return undefined
  return claim(credential, 'Named', field, name.path)
}

function claimsOfPolicy(
  pod: Pod,
  policy: Policy,
  view: NamespaceView,
  findings: Findings,
): (Claim | undefined)[] {
  return policy.spec.credentials.map((text) => {
    const name = parseCredentialName(text)
    const found = name ? resolve(name, view) : { problem: `"${text}" is not the name of a credential` }
    if ('problem' in found) return unavailable(policy, 'CredentialNotFound', found.problem, findings)
    const { credential } = found
    const refusal = serviceAccountProblem(credential, pod, view.namespace)
    if (refusal) return unavailable(policy, 'CredentialNotAllowed', refusal, findings)
    const misfit =
      credential.spec.type === 'file' ? platformProblem(credential.spec.mountPath ?? '', pod) : undefined
    if (misfit) return unavailable(policy, 'PolicyConflict', `${labelOf(credential)}: ${misfit}`, findings)
    return { ...claim(credential, policy.spec.enforcement, 'spec', undefined, policy.name) }
  })
}

function unavailable(
  policy: Policy,
  reason: 'CredentialNotFound' | 'CredentialNotAllowed' | 'PolicyConflict',
  problem: string,
  findings: Findings,
): undefined {
  if (policy.spec.enforcement === 'Enforce') {
    findings.deny(
      reason,
      'spec',
      `policy ${policy.name} enforces a credential that this pod cannot have: ${problem}`,
    )
  } else {
    findings.warn('LeftOut', `policy ${policy.name}: ${problem}`)
  }
}

function claim(
  credential: Credential,
  strength: Strength,
  field: string,
  path?: string,
  policy?: string,
): Claim {
  const { spec } = credential
  const folder = spec.type === 'file' ? normalizeFolder(path ?? spec.mountPath ?? '/') : undefined
  return {
    credential,
    strength,
    policy,
    label: policy === undefined ? labelOf(credential) : `${labelOf(credential)} (policy ${policy})`,
    folder,
    listed: listedVariables(credential, folder),
    wholeSecret: spec.type === 'environment' && !spec.variables,
    field,
  }
}

function listedVariables({ spec, secretName }: Credential, folder: string | undefined): Claim['listed'] {
  if (!spec.variables) return []
  const home = folder === undefined ? undefined : normalizeFolder(spec.mountPath ?? '/')
  return spec.variables.map(({ name, key, value }) => {
    if (value === undefined) return { name, source: { secret: secretName, key: key ?? name } }
    return { name, source: { value: home === undefined ? value : moved(value, home, folder as string) } }
  })
}

function resolve(
  name: CredentialName,
  view: NamespaceView,
): { credential: Credential } | { problem: string } {
  const found = find(name, view)
  if (found === undefined) return { problem: notFound(name, view) }
  if ('broken' in found) return { problem: `credential ${name.name} cannot be used: ${found.broken}` }
  return { credential: found }
}

function find({ cluster, name }: CredentialName, view: NamespaceView): Lookup {
  return cluster ? view.clusterCredential(name) : (view.credential(name) ?? view.clusterCredential(name))
}

function notFound(name: CredentialName, view: NamespaceView): string {
  const [kind, written] = name.cluster
    ? ['ClusterCredential', `cluster/${name.name}`]
    : ['credential', name.name]
  const unchecked = view.unchecked?.get(written)
  return (
    `${kind} ${name.name} does not exist in namespace ${view.namespace}${suggestion(written, view.names())}` +
    (unchecked === undefined ? '' : ` (it may be new, and could not be looked up: ${unchecked})`)
  )
}

function serviceAccountProblem(
  { kind, name, spec }: Credential,
  pod: Pod,
  namespace: string,
): string | undefined {
  const allowed = spec.allowedServiceAccounts
  if (!allowed) return undefined
  const account = pod.spec?.serviceAccountName || pod.spec?.serviceAccount || 'default'
  if (allowed.includes(account)) return undefined
  if (kind === 'ClusterCredential' && allowed.includes(`${namespace}/${account}`)) return undefined
  const who = allowed.length === 0 ? 'no service account' : allowed.slice(0, 5).join(', ')
  return `${kind} ${name} may be used by ${who}; this pod runs as service account ${account}`
}

function overridePathProblem({ path }: CredentialName, credential: Credential, pod: Pod): string | undefined {
  const { name, spec } = credential
  if (spec.type !== 'file') {
    return path === undefined
      ? undefined
      : `${name} has type ${spec.type}: only a file credential is mounted, so leave "=PATH" out`
  }
  const problem = path === undefined ? undefined : mountPathProblem(path)
  if (problem) return `${name}=${clip(path ?? '')}: ${problem}`
  const misfit = platformProblem(path ?? spec.mountPath ?? '', pod)
  return misfit && `${name}: ${misfit}`
}

function platformProblem(path: string, pod: Pod): string | undefined {
  if (!isWindowsPath(path) || isWindows(pod)) return undefined
  return `${clip(path)} is a Windows path and this is not a Windows pod: mount it elsewhere with NAME=/path`
}

/** One credential at one place counts once, for the sake of the strongest that asks for it (claims come strongest first). */
function withoutRepeats(claims: Claim[]): Claim[] {
  if (new Set(claims.map(({ credential }) => credential)).size === claims.length) return claims
  const first = new Map<string, Claim>()
  for (const claim of claims) {
    const key = `${claim.credential.kind}/${claim.credential.name}=${folderKey(claim.folder ?? '')}`
    if (!first.has(key)) first.set(key, claim)
  }
  return first.size === claims.length ? claims : [...first.values()]
}

function labelOf({ kind, name }: Credential): string {
  return `${kind} ${name}`
}
