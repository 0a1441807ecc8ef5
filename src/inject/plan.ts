import type { ConflictMode } from '../annotations.ts'
import type { NamespaceView } from '../api/catalog.ts'
import type { Pod } from '../api/pod.ts'
import type { Claim } from './claims.ts'
import { type Environment, type EnvironmentPlan, planEnvironment, settleEnvironment } from './environment.ts'
import { type FileClaim, type FilesPlan, planFiles, settleFiles } from './files.ts'
import type { Findings } from './findings.ts'
import type { Target } from './targets.ts'

/** What one container gets. */
export interface ContainerPlan {
  target: Target
  environment: EnvironmentPlan | undefined
  files: FilesPlan | undefined
}

/** What a pod gets; the patch, the record and the report are all read off it. */
export interface PodPlan {
  containers: ContainerPlan[]
  /** Claims that are registry logins. */
  registries: Claim[]
  /** Names that `imagePullSecrets` lacks. */
  pullSecrets: string[]
}

export interface PlanInput {
  pod: Pod
  targets: readonly Target[]
  claims: readonly Claim[]
  selects: (container: string) => boolean
  mode: ConflictMode
  view: NamespaceView
}

/**
 * Whether what the claims add could not be stored: etcd takes objects of 1.5 MiB, and each entry has some 100 bytes. Without
 * this limit a small pod could ask for a patch of any size.
 */
export function exceedsPod(
  claims: readonly Claim[],
  targets: readonly Target[],
  view: NamespaceView,
): boolean {
  let entries = 0
  let variables = 0
  let files = 0
  for (const { listed, wholeSecret, folder, credential } of claims) {
    entries += 1 + listed.length
    if (wholeSecret) variables += keysOf(credential)
    if (folder !== undefined) files += credential.spec.files?.length ?? keysOf(credential)
  }
  if (entries * targets.length > MOST_ENTRIES) return true
  let comparisons = (entries + variables) * targets.length
  for (const { container } of targets) {
    comparisons += files * (container.volumeMounts?.length ?? 0)
    for (const { secretRef } of container.envFrom ?? [])
      comparisons += keysOf(view.knownSecret(secretRef?.name ?? ''))
  }
  return comparisons > MOST_COMPARISONS
}

const MOST_ENTRIES = 15_000

/** Of a variable or file with what a container has of its own. They take a tenth of a second; real pods need some thousands. */
const MOST_COMPARISONS = 500_000

function keysOf(secret: { readonly keys: readonly string[] | undefined } | undefined): number {
  return secret?.keys?.length ?? 0
}

/** Decides everything and reports every conflict; changes nothing. */
export function planPod(input: PlanInput, findings: Findings): PodPlan {
  warnAboutNoContainer(input, findings)
  const forSelected = settle(input.claims, input.mode, findings)
  // What the pod's annotations select does not bind enforced policies: they reach every container.
  const forOthers = input.targets.every(({ container }) => input.selects(container.name))
    ? forSelected
    : settle(
        input.claims.filter(({ strength }) => strength === 'Enforce'),
        input.mode,
        findings,
      )
  return {
    containers: input.targets.map((target) => {
      const settled = input.selects(target.container.name) ? forSelected : forOthers
      return planContainer(target, settled, input, findings)
    }),
    ...planRegistries(input),
  }
}

function warnAboutNoContainer({ targets, claims, selects }: PlanInput, findings: Findings): void {
  if (targets.some(({ container }) => selects(container.name))) return
  for (const { strength, credential } of claims) {
    if (strength !== 'Named' || credential.spec.type === 'dockerRegistry') continue
    findings.warn('ReachesNothing', `no container is left to get ${credential.kind} ${credential.name}`)
  }
}

/** A set of claims after they have been settled between themselves. */
interface Settled {
  claims: readonly Claim[]
  files: FileClaim[]
  environment: Environment
}

function settle(all: readonly Claim[], mode: ConflictMode, findings: Findings): Settled {
  const { files, leftOut } = settleFiles(all, findings)
  const claims = without(all, leftOut)
  return { claims, files, environment: settleEnvironment(claims, mode, findings) }
}

function planContainer(
  target: Target,
  settled: Settled,
  { pod, mode, view }: PlanInput,
  findings: Findings,
): ContainerPlan {
  const files = planFiles(target, pod, settled.files, findings)
  // A file credential that is kept out of a container takes its variables along: they point to the missing files.
  const environment = files?.leftOut.length
    ? settleEnvironment(without(settled.claims, files.leftOut), mode, findings)
    : settled.environment
  return { target, files, environment: planEnvironment(target, environment, mode, view, findings) }
}

function planRegistries({ pod, claims }: PlanInput): Pick<PodPlan, 'registries' | 'pullSecrets'> {
  const registries = claims.filter(({ credential }) => credential.spec.type === 'dockerRegistry')
  const present = new Set(pod.spec?.imagePullSecrets?.map(({ name }) => name))
  const wanted = new Set(registries.map(({ credential }) => credential.secretName))
  return { registries, pullSecrets: [...wanted].filter((name) => !present.has(name)) }
}

function without(claims: readonly Claim[], leftOut: readonly Claim[]): readonly Claim[] {
  return leftOut.length === 0 ? claims : claims.filter((claim) => !leftOut.includes(claim))
}
