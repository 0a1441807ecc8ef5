import type { Container, Pod, PodSecurityContext } from '../api/pod.ts'

/** One container of a pod that can be injected: init containers and native sidecars count, ephemeral ones do not. */
export interface Target {
  container: Container
  /** JSON pointer, such as `/spec/initContainers/0`. */
  pointer: string
  /** Path for people, such as `spec.initContainers[0]`. */
  field: string
}

export function targetsOf(pod: Pod): Target[] {
  return [
    ...listed(pod.spec?.initContainers, 'initContainers'),
    ...listed(pod.spec?.containers, 'containers'),
  ]
}

function listed(containers: Container[] | null | undefined, list: string): Target[] {
  return (containers ?? []).map((container, index) => ({
    container,
    pointer: `/spec/${list}/${index}`,
    field: `spec.${list}[${index}]`,
  }))
}

/** What is known of the user a container runs as, and whether volumes get a group. */
export interface Identity {
  /** True only if it is certain that the process is not root. */
  nonRoot: boolean
  fsGroup: boolean
  windows: boolean
}

/** The container's `securityContext` counts before the pod's, field by field, as in the kubelet. */
export function identityOf(container: Container, pod: Pod): Identity {
  const own = container.securityContext
  const shared: PodSecurityContext = pod.spec?.securityContext ?? {}
  const user = own?.runAsUser ?? shared.runAsUser
  const nonRoot =
    user === undefined || user === null ? (own?.runAsNonRoot ?? shared.runAsNonRoot) === true : user !== 0
  return { nonRoot, fsGroup: typeof shared.fsGroup === 'number', windows: isWindows(pod) }
}

export function isWindows(pod: Pod): boolean {
  return pod.spec?.os?.name === 'windows' || pod.spec?.nodeSelector?.['kubernetes.io/os'] === 'windows'
}
