import { INJECTED } from '../annotations.ts'
import type { PatchOperation, Pod, Volume } from '../api/pod.ts'
import type { Source } from './claims.ts'
import { escapeValue } from './environment.ts'
import type { Mount } from './files.ts'
import type { ContainerPlan, PodPlan } from './plan.ts'
import { MOST_ATTEMPTS, type Projection, sameContent, volumeName, volumeOf } from './volumes.ts'

/*
 * RFC 6902 operations. Items are added to lists, lists are never replaced; a list or object that is missing (or null) is
 * added with its content. Within one container, values are replaced before anything is inserted in front of them.
 */
export function patchOf(pod: Pod, plan: PodPlan, record: string): PatchOperation[] {
  const patch: PatchOperation[] = []
  const volumes = new VolumeList(pod.spec?.volumes ?? [])
  for (const container of plan.containers) {
    patchEnvironment(container, patch)
    patchMounts(container, volumes, patch)
  }
  append(patch, '/spec/volumes', pod.spec?.volumes, volumes.added)
  append(
    patch,
    '/spec/imagePullSecrets',
    pod.spec?.imagePullSecrets,
    plan.pullSecrets.map((name) => ({ name })),
  )
  const present = pod.metadata?.annotations?.[INJECTED]
  // A record that somebody brought along is corrected; none is written where nothing was injected.
  if (record !== '' && record !== present && (patch.length > 0 || present !== undefined))
    patch.push(annotate(pod, INJECTED, record))
  return patch
}

function patchEnvironment({ target, environment }: ContainerPlan, patch: PatchOperation[]): void {
  if (!environment) return
  const { pointer, container } = target
  for (const { index, variable } of environment.replace) {
    patch.push(...replaceValue(`${pointer}/env/${index}`, container.env?.[index] ?? {}, variable.source))
  }
  const entries = environment.add.map(({ name, source }) => ({ name, ...envValue(source) }))
  insert(
    patch,
    `${pointer}/env`,
    container.env,
    entries.map((value, index) => ({ index, value })),
  )
  insert(
    patch,
    `${pointer}/envFrom`,
    container.envFrom,
    environment.insert.map(({ index, secret }) => ({ index, value: { secretRef: { name: secret } } })),
  )
}

function envValue(source: Source): object {
  if ('value' in source) return { value: escapeValue(source.value) }
  return { valueFrom: { secretKeyRef: { name: source.secret, key: source.key } } }
}

/** Turns the value of an `env` entry into another, and leaves every other field of it as it is. */
function replaceValue(pointer: string, entry: object, source: Source): PatchOperation[] {
  const wanted = Object.entries(envValue(source)).map(
    ([field, value]) => ({ op: 'add', path: `${pointer}/${field}`, value }) as const,
  )
  const stale = ['value', 'valueFrom'].filter((field) => field in entry && !(field in envValue(source)))
  return [...stale.map((field) => ({ op: 'remove', path: `${pointer}/${field}` }) as const), ...wanted]
}

function patchMounts({ target, files }: ContainerPlan, volumes: VolumeList, patch: PatchOperation[]): void {
  if (!files) return
  const { pointer, container } = target
  const added = []
  for (const mount of files.mounts) {
    const name = volumes.nameFor(mount.projection)
    if (mount.existing === undefined) added.push(volumeMount(mount, name))
    else if (container.volumeMounts?.[mount.existing]?.name !== name) {
      patch.push({ op: 'replace', path: `${pointer}/volumeMounts/${mount.existing}/name`, value: name })
    }
  }
  append(patch, `${pointer}/volumeMounts`, container.volumeMounts, added)
}

function volumeMount({ folder }: Mount, name: string): object {
  return { name, mountPath: folder, readOnly: true }
}

/** The pod's volumes and those that are added to them; each content once. */
class VolumeList {
  readonly #volumes: Map<string, Volume>
  readonly added: Volume[] = []

  constructor(volumes: readonly Volume[]) {
    this.#volumes = new Map(volumes.map((volume) => [volume.name, volume]))
  }

  nameFor(projection: Projection): string {
    for (let attempt = 0; ; attempt++) {
      const name = volumeName(projection, attempt)
      const found = this.#volumes.get(name)
      if (found && sameContent(found, projection)) return name
      if (found && attempt < MOST_ATTEMPTS - 1) continue
      const volume = volumeOf(name, projection)
      this.#volumes.set(name, volume)
      this.added.push(volume)
      return name
    }
  }
}

function append(
  patch: PatchOperation[],
  pointer: string,
  list: unknown[] | null | undefined,
  items: unknown[],
): void {
  if (items.length === 0) return
  if (list) patch.push(...items.map((value) => ({ op: 'add', path: `${pointer}/-`, value }) as const))
  else patch.push({ op: 'add', path: pointer, value: items })
}

/** `index` counts in the list as it is when the item is inserted. */
function insert(
  patch: PatchOperation[],
  pointer: string,
  list: unknown[] | null | undefined,
  items: { index: number; value: unknown }[],
): void {
  if (items.length === 0) return
  if (list)
    patch.push(
      ...items.map(({ index, value }) => ({ op: 'add', path: `${pointer}/${index}`, value }) as const),
    )
  else
    patch.push({
      op: 'add',
      path: pointer,
      value: items.reduce<unknown[]>((all, item) => all.toSpliced(item.index, 0, item.value), []),
    })
}

function annotate(pod: Pod, key: string, value: string): PatchOperation {
  if (!pod.metadata) return { op: 'add', path: '/metadata', value: { annotations: { [key]: value } } }
  if (!pod.metadata.annotations) return { op: 'add', path: '/metadata/annotations', value: { [key]: value } }
  return { op: 'add', path: `/metadata/annotations/${escapeSegment(key)}`, value }
}

/** RFC 6901: `~` and `/` inside a segment of a pointer. */
function escapeSegment(segment: string): string {
  return segment.replaceAll('~', '~0').replaceAll('/', '~1')
}
