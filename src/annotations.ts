/**
 * The annotation keys of pods, workloads and copies, each with its meaning. Values are documented in docs/annotations.md. Two more
 * stand elsewhere: `rotate` on Secrets of certificates (certificates/names.ts), and `allow-delete` on credentials, which only the
 * chart's guard reads.
 */

export const PREFIX = 'credentials.run.ai/'

/** Names of credentials: `wandb-credentials, cluster/dockerhub, git-ssh=/home/jovyan/.ssh`. */
export const INJECT = `${PREFIX}inject`
/** Only these containers and init containers; absent or empty means all of them. */
export const CONTAINERS = `${PREFIX}containers`
/** All containers but these. */
export const SKIP_CONTAINERS = `${PREFIX}skip-containers`
/** What happens where a credential meets a value of the pod's own: see `CONFLICT_MODES`. */
export const ON_CONFLICT = `${PREFIX}on-conflict`
/** `"true"` leaves policies with enforcement Default out. */
export const OPT_OUT = `${PREFIX}opt-out`
/** `"true"` restarts the workload when a credential that it has as variables is rotated, `"false"` does not; see docs/rotation.md. */
export const RESTART_ON_ROTATION = `${PREFIX}restart-on-rotation`
/** Written by the controller on a workload's pod template: the rotations that it was restarted for. */
export const RESTARTED_FOR = `${PREFIX}restarted-for`
/** On the workload itself: `"true"` puts its restarts off. Pods do not have it, so it is not among those that are known there. */
export const RESTART_PAUSED = `${PREFIX}restart-paused`
/** Written by the webhook: a record for people and for the controller. Nobody trusts it. */
export const INJECTED = `${PREFIX}injected`

export const KNOWN_ANNOTATIONS = [
  INJECT,
  CONTAINERS,
  SKIP_CONTAINERS,
  ON_CONFLICT,
  OPT_OUT,
  RESTART_ON_ROTATION,
  RESTARTED_FOR,
  INJECTED,
] as const

export const CONFLICT_MODES = ['WorkloadWins', 'Reject', 'CredentialWins'] as const
export type ConflictMode = (typeof CONFLICT_MODES)[number]
export const DEFAULT_CONFLICT_MODE: ConflictMode = 'WorkloadWins'

/** Set by the kubelet on the API server's copy of a static pod; such a copy must never be changed. */
export const MIRROR_POD = 'kubernetes.io/config.mirror'

/** Label of the copies that the controller makes of a ClusterCredential's Secret. */
export const COPY = `${PREFIX}copy`
/** On such a copy: the name of its ClusterCredential, which may be too long for a label. */
export const COPY_OF = `${PREFIX}copy-of`
