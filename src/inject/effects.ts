import type { Claim } from './claims.ts'
import type { EnvironmentPlan, Settled } from './environment.ts'
import type { Grant, InjectedCredential } from './outcome.ts'
import type { ContainerPlan, PodPlan } from './plan.ts'

/** Credentials of which something is in the pod: the pod's own choice first, then what policies add. */
export function credentialsInEffect(claims: readonly Claim[], plan: PodPlan): InjectedCredential[] {
  const inEffect = new Set(plan.registries)
  for (const { environment, files } of plan.containers) {
    for (const variable of listedIn(environment)) for (const claim of claimsFor(variable)) inEffect.add(claim)
    for (const { claim } of environment?.insert ?? []) inEffect.add(claim)
    for (const claim of environment?.present ?? []) inEffect.add(claim)
    for (const mount of files?.mounts ?? []) for (const claim of mount.claims) inEffect.add(claim)
  }
  return credentialsOf(claims.filter((claim) => inEffect.has(claim)))
}

/** Each credential once, the pod's own choice first. */
export function credentialsOf(claims: readonly Claim[]): InjectedCredential[] {
  const named = claims.filter(({ strength }) => strength === 'Named')
  const ordered =
    named.length === claims.length
      ? claims
      : [...named, ...claims.filter(({ strength }) => strength !== 'Named')]
  return [...new Set(ordered.map(({ credential }) => credential))].map(({ kind, name, revision }) => ({
    kind,
    name,
    revision,
  }))
}

/** Value of the `injected` annotation. */
export function recordOf(credentials: readonly InjectedCredential[]): string {
  return credentials
    .map(({ kind, name, revision }) => `${kind}/${name}${revision === undefined ? '' : `@${revision}`}`)
    .join(',')
}

/** What each container gets from each credential, for the report. */
export function grantsOf(plan: PodPlan): Grant[] {
  return [
    ...plan.containers.flatMap((container) => [...filesGranted(container), ...variablesGranted(container)]),
    ...plan.registries.map((claim) =>
      grant(claim, undefined, 'imagePullSecret', `secret ${claim.credential.secretName}`),
    ),
  ]
}

function filesGranted({ target, files }: ContainerPlan): Grant[] {
  return (files?.mounts ?? []).flatMap(({ folder, claims }) =>
    claims.map((claim) => grant(claim, target.container.name, 'files', `${folder}: ${fileNames(claim)}`)),
  )
}

function fileNames({ credential: { spec, keys, secretName } }: Claim): string {
  const names = spec.files?.map(({ key, path }) => path ?? key) ?? keys
  return names ? names.join(', ') : `every key of secret ${secretName}`
}

function variablesGranted({ target, environment }: ContainerPlan): Grant[] {
  if (!environment) return []
  const { name } = target.container
  const byClaim = new Map<Claim, string[]>()
  for (const variable of listedIn(environment)) {
    for (const claim of claimsFor(variable)) {
      if (!claim.wholeSecret) byClaim.set(claim, [...(byClaim.get(claim) ?? []), variable.name])
    }
  }
  const whole = new Set([
    ...environment.insert.map(({ claim }) => claim),
    ...environment.present.filter((claim) => claim.wholeSecret),
  ])
  return [
    ...[...byClaim].map(([claim, variables]) => grant(claim, name, 'env', variables.join(', '))),
    ...[...whole].map((claim) =>
      grant(claim, name, 'envFrom', `every key of secret ${claim.credential.secretName}`),
    ),
  ]
}

/** Variables that become entries of `env`. */
function listedIn(environment: EnvironmentPlan | undefined): Settled[] {
  if (!environment) return []
  return [...environment.add, ...environment.replace.map(({ variable }) => variable)]
}

/** All that give the variable: whoever gives it from the same source as the winner is in effect too. */
function claimsFor({ claim, also }: Settled): Claim[] {
  return [claim, ...also]
}

function grant(claim: Claim, container: string | undefined, form: Grant['form'], detail: string): Grant {
  const { kind, name } = claim.credential
  return { credential: `${kind}/${name}`, policy: claim.policy, container, form, detail }
}
