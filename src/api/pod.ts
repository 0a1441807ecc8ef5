/**
 * The parts of a Kubernetes Pod that the engine reads (core/v1 Pod). Everything else in a pod is carried along unseen.
 * `null` is possible wherever a field is optional: clients other than Go's may write it.
 */

export interface Pod {
  metadata?: PodMetadata | null
  spec?: PodSpec | null
}

interface PodMetadata {
  name?: string
  generateName?: string
  labels?: Record<string, string> | null
  annotations?: Record<string, string> | null
  ownerReferences?: { apiVersion?: string; kind: string; name: string; controller?: boolean }[] | null
}

interface PodSpec {
  containers?: Container[] | null
  initContainers?: Container[] | null
  volumes?: Volume[] | null
  imagePullSecrets?: { name?: string }[] | null
  serviceAccountName?: string | null
  /** The older name of the same field. */
  serviceAccount?: string | null
  securityContext?: PodSecurityContext | null
  nodeSelector?: Record<string, string> | null
  os?: { name?: string } | null
}

export interface Container {
  name: string
  env?: EnvVar[] | null
  envFrom?: EnvFromSource[] | null
  volumeMounts?: VolumeMount[] | null
  securityContext?: SecurityContext | null
}

export interface EnvVar {
  name: string
  value?: string | null
  valueFrom?: { secretKeyRef?: { name?: string; key?: string; optional?: boolean | null } | null } | null
}

export interface EnvFromSource {
  prefix?: string | null
  secretRef?: { name?: string; optional?: boolean | null } | null
  configMapRef?: { name?: string } | null
}

export interface VolumeMount {
  name: string
  mountPath: string
  readOnly?: boolean | null
  subPath?: string | null
  subPathExpr?: string | null
}

export interface Volume {
  name: string
  projected?: ProjectedVolumeSource | null
}

interface ProjectedVolumeSource {
  sources?: { secret?: { name?: string; items?: KeyToPath[] | null } | null }[] | null
  defaultMode?: number | null
}

export interface KeyToPath {
  key: string
  path: string
  mode?: number | null
}

interface SecurityContext {
  runAsUser?: number | null
  runAsNonRoot?: boolean | null
}

export interface PodSecurityContext extends SecurityContext {
  fsGroup?: number | null
}

/** One RFC 6902 operation. Only these three are ever emitted. */
export type PatchOperation =
  | { op: 'add'; path: string; value: unknown }
  | { op: 'replace'; path: string; value: unknown }
  | { op: 'remove'; path: string }
