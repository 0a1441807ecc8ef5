import type { PatchOperation } from '../api/pod.ts'
import type { DenialReason, LeftAloneReason, WarningReason } from '../api/reasons.ts'

/** One thing that is wrong with a pod. */
export interface Problem {
  reason: DenialReason
  /** Path in the pod, such as `spec.containers[0].env[2]`. */
  field: string
  /** A sentence for people; names things, never a value. */
  message: string
}

/** One thing the pod's owner should know; the pod is admitted all the same. */
export interface Warning {
  reason: WarningReason
  /** A short sentence; `presentWarnings` keeps it within 120 characters. */
  message: string
}

/** What a container got, or already had, from one credential; a line of the report. */
export interface Grant {
  /** `Credential/wandb-credentials` or `ClusterCredential/dockerhub`. */
  credential: string
  /** Name of the policy that asks for it; undefined for the pod's own annotation. */
  policy?: string
  /** Name of the container; undefined for what belongs to the whole pod. */
  container?: string
  form: 'envFrom' | 'env' | 'files' | 'imagePullSecret'
  /** `all keys of secret wandb-secret`, `WANDB_API_KEY, WANDB_PROJECT`, `/root/.ssh: id_rsa, known_hosts`, … */
  detail: string
}

/** A credential that is in effect in the pod. */
export interface InjectedCredential {
  kind: 'Credential' | 'ClusterCredential'
  name: string
  revision?: string
}

interface Common {
  /** Ordered, the most important first. */
  warnings: Warning[]
  /** Credentials in effect, or (for a denial) those that the pod asked for and that exist. */
  credentials: InjectedCredential[]
}

export type Outcome =
  | (Common & { kind: 'Injected'; patch: PatchOperation[]; grants: () => Grant[] })
  | (Common & { kind: 'LeftAlone'; reason: LeftAloneReason; grants: () => Grant[] })
  | (Common & { kind: 'Denied'; problems: Problem[] })
