import { hash } from 'node:crypto'
import type { KeyToPath, Volume, VolumeMount } from '../api/pod.ts'

/** The keys of one secret as files; without `items` every key under its own name. */
export interface SecretProjection {
  name: string
  items?: { key: string; path: string; mode?: number }[]
}

/** Content of a volume that holds files of credentials. */
export interface Projection {
  sources: SecretProjection[]
  /** Undefined on Windows. */
  defaultMode?: number
}

/**
 * A volume's name is made from its content alone, so that the same content gives the same name in every round, and so
 * that a volume of an earlier round is known by itself: no annotation has to be trusted for that. Should a volume of
 * that name with other content be there already, the next `attempt` is used.
 */
export function volumeName(projection: Projection, attempt = 0): string {
  const content = canonical(projection)
  return `credential-${digest(attempt === 0 ? content : `${content}#${attempt}`)}`
}

/** Contents repeat from pod to pod, and hashing one takes as long as everything else about its volume. */
const digests = new Map<string, string>()
const MOST_DIGESTS = 2000
const LONGEST_KEPT = 2000

function digest(content: string): string {
  const known = digests.get(content)
  if (known !== undefined) return known
  const made = hash('sha256', content, 'hex').slice(0, 16)
  // The content of a mount that only looks like one of ours is a stranger's, and may be of any length.
  if (content.length > LONGEST_KEPT) return made
  if (digests.size >= MOST_DIGESTS) digests.clear()
  digests.set(content, made)
  return made
}

/** The volume as it stands in the pod. */
export function volumeOf(name: string, { sources, defaultMode }: Projection): Volume {
  return {
    name,
    projected: {
      sources: sources.map((secret) => ({ secret })),
      ...(defaultMode === undefined ? {} : { defaultMode }),
    },
  }
}

export function sameContent(volume: Volume, projection: Projection): boolean {
  const found = projectionOf(volume)
  return found !== undefined && canonical(found) === canonical(projection)
}

/** A mount that an earlier round made: read-only, whole, of a volume whose name proves its content. */
export function isInjected(mount: VolumeMount, volumes: ReadonlyMap<string, Volume>): boolean {
  if (!mount.name.startsWith('credential-') || !mount.readOnly || mount.subPath || mount.subPathExpr)
    return false
  const volume = volumes.get(mount.name)
  const projection = volume && projectionOf(volume)
  return (
    projection !== undefined &&
    Array.from({ length: MOST_ATTEMPTS }, (_, n) => volumeName(projection, n)).includes(mount.name)
  )
}

/** Nobody needs more than one; a pod that occupies all of them did so on purpose. */
export const MOST_ATTEMPTS = 4

/** The content of a volume if it could be one of ours: a projected volume of plain secrets and nothing else. */
function projectionOf(volume: Volume): Projection | undefined {
  const sources = volume.projected?.sources?.map((source) => plainSecret(source))
  if (!sources || Object.keys(volume).length !== 2) return undefined
  if (!sources.every((source) => source !== undefined)) return undefined
  return { sources, defaultMode: volume.projected?.defaultMode ?? undefined }
}

function plainSecret(source: object): SecretProjection | undefined {
  const { secret } = source as { secret?: SecretProjection | null }
  if (!secret || Object.keys(source).length !== 1 || typeof secret.name !== 'string') return undefined
  const extra = Object.keys(secret).some((key) => key !== 'name' && key !== 'items')
  return extra ? undefined : secret
}

/** Kubernetes fills in this mode where a projected volume says none. */
const KUBERNETES_DEFAULT_MODE = 0o644

function canonical({ sources, defaultMode }: Projection): string {
  const mode = defaultMode ?? KUBERNETES_DEFAULT_MODE
  return JSON.stringify([
    mode,
    sources.map(({ name, items }) => [name, items?.map((item) => fileOf(item)) ?? null]),
  ])
}

function fileOf({ key, path, mode }: KeyToPath): unknown[] {
  return mode === undefined || mode === null ? [key, path] : [key, path, mode]
}
