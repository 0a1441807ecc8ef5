/**
 * A small model of the kubelet: what each container of a pod would see. Written from Kubernetes' documented and
 * observed behaviour, and sharing no code with src/, so that it can judge the injector's work by its effect.
 *
 * Modelled: envFrom, env, `$(VAR)`, secret, configMap and projected volumes with items and modes, fsGroup, nested
 * mounts, imagePullSecrets. Everything else that a node makes up (field references, tokens, service links) is either
 * a marker in round brackets or left out.
 */

interface KeyRef {
  name?: string
  key?: string
  optional?: boolean | null
}

export interface EnvEntry {
  name: string
  value?: string | null
  valueFrom?: {
    secretKeyRef?: KeyRef | null
    configMapKeyRef?: KeyRef | null
    fieldRef?: { fieldPath: string } | null
    resourceFieldRef?: { resource: string } | null
    fileKeyRef?: { volumeName: string; path: string; key: string; optional?: boolean | null } | null
  } | null
}

interface NamedSource {
  name?: string
  optional?: boolean | null
}

export interface EnvFromEntry {
  prefix?: string | null
  secretRef?: NamedSource | null
  configMapRef?: NamedSource | null
}

export interface Item {
  key: string
  path: string
  mode?: number | null
}

export interface KeyedSource {
  name?: string
  secretName?: string
  items?: Item[] | null
  optional?: boolean | null
  defaultMode?: number | null
}

interface Projection {
  secret?: KeyedSource | null
  configMap?: KeyedSource | null
}

export interface VolumeObject {
  name: string
  secret?: KeyedSource | null
  configMap?: KeyedSource | null
  projected?: { sources?: Projection[] | null; defaultMode?: number | null } | null
  [other: string]: unknown
}

export interface MountObject {
  name: string
  mountPath: string
  readOnly?: boolean | null
  subPath?: string | null
  subPathExpr?: string | null
}

export interface ContainerObject {
  name: string
  env?: EnvEntry[] | null
  envFrom?: EnvFromEntry[] | null
  volumeMounts?: MountObject[] | null
  securityContext?: { runAsUser?: number | null; runAsNonRoot?: boolean | null } | null
  [other: string]: unknown
}

export interface PodObject {
  metadata?: {
    name?: string
    labels?: Record<string, string> | null
    annotations?: Record<string, string> | null
    [other: string]: unknown
  } | null
  spec: {
    containers: ContainerObject[]
    initContainers?: ContainerObject[] | null
    volumes?: VolumeObject[] | null
    imagePullSecrets?: { name?: string }[] | null
    securityContext?: {
      runAsUser?: number | null
      runAsNonRoot?: boolean | null
      fsGroup?: number | null
      [other: string]: unknown
    } | null
    os?: { name?: string } | null
    nodeSelector?: Record<string, string> | null
    [other: string]: unknown
  }
  [other: string]: unknown
}

/** Keys and values of a Secret or ConfigMap. */
export type Values = Record<string, string>

/** What the pod's namespace holds. */
export interface NamespaceContent {
  secrets: Record<string, Values>
  configMaps: Record<string, Values>
}

export interface FileView {
  content: string
  /** As `ls -l` would have it in numbers: `0440 root:2000`. Absent on Windows, where modes mean nothing. */
  mode?: string
}

export interface ContainerView {
  env: Record<string, string>
  /** By absolute path: every file that comes from a Secret or ConfigMap and is not hidden by another mount. */
  files: Record<string, FileView>
  /** By mount path as written. */
  readOnly: Record<string, boolean>
  /** Why the container does not start; empty when it does. */
  waits: string[]
}

export interface PodView {
  containers: Record<string, ContainerView>
  imagePullSecrets: string[]
}

/** What every container and init container of the pod sees. */
export function observe(pod: PodObject, content: NamespaceContent): PodView {
  const volumes = new Map(
    (pod.spec.volumes ?? []).map((volume) => [volume.name, readVolume(volume, content)]),
  )
  const containers = everyContainer(pod)
  const used = new Set(
    containers.flatMap((container) => (container.volumeMounts ?? []).map((mount) => mount.name)),
  )
  // The kubelet mounts all volumes of a pod before it starts any container: one that fails holds up all of them.
  const held = [...used].flatMap((name) => volumes.get(name)?.problems ?? [`volume ${name} does not exist`])
  return {
    containers: Object.fromEntries(
      containers.map((container) => {
        const { env, problems } = environment(container, content)
        return [
          container.name,
          {
            env: Object.fromEntries(env),
            files: visibleFiles(pod, container, volumes, env),
            readOnly: Object.fromEntries(
              (container.volumeMounts ?? []).map((mount) => [mount.mountPath, mount.readOnly === true]),
            ),
            waits: [...held, ...problems],
          },
        ]
      }),
    ),
    imagePullSecrets: (pod.spec.imagePullSecrets ?? []).map((reference) => reference.name ?? ''),
  }
}

export function everyContainer(pod: PodObject): ContainerObject[] {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers]
}

/** Who runs the process, as far as the pod tells; the container's securityContext goes before the pod's. */
export function processUser(pod: PodObject, container: ContainerObject): 'root' | 'non-root' | 'unknown' {
  const uid = container.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser
  if (uid !== undefined && uid !== null) return uid === 0 ? 'root' : 'non-root'
  const nonRoot = container.securityContext?.runAsNonRoot ?? pod.spec.securityContext?.runAsNonRoot
  return nonRoot === true ? 'non-root' : 'unknown'
}

/** Whether the process can read the file. A process that is not root has the pod's fsGroup, and no other group that helps. */
export function canRead(user: ReturnType<typeof processUser>, file: FileView): boolean {
  if (file.mode === undefined || user !== 'non-root') return true
  const [bits = '', owner = ''] = file.mode.split(' ')
  const mode = Number.parseInt(bits, 8)
  return (mode & 0o004) !== 0 || ((mode & 0o040) !== 0 && owner !== 'root:root')
}

/** `$(NAME)` and `$$` as Kubernetes expands them; what is not defined stays as it is written. */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:(\$)|\(([^)]*)\))/g, (whole, dollar: string | undefined, name: string) =>
    dollar === undefined ? (variables.get(name) ?? whole) : '$',
  )
}

function environment(container: ContainerObject, content: NamespaceContent) {
  const env = new Map<string, string>()
  const problems: string[] = []
  for (const source of container.envFrom ?? []) {
    const found = wholeSource(source, content)
    if (typeof found === 'string') problems.push(found)
    else for (const [key, value] of Object.entries(found)) env.set(`${source.prefix ?? ''}${key}`, value)
  }
  for (const entry of container.env ?? []) {
    const value = entryValue(entry, env, content)
    if (value.problem !== undefined) problems.push(value.problem)
    if (value.text !== undefined) env.set(entry.name, value.text)
  }
  return { env, problems }
}

function wholeSource(source: EnvFromEntry, content: NamespaceContent): Values | string {
  const [kind, reference, objects] = source.secretRef
    ? (['secret', source.secretRef, content.secrets] as const)
    : (['configMap', source.configMapRef ?? {}, content.configMaps] as const)
  const values = objects[reference.name ?? '']
  if (values !== undefined) return values
  return reference.optional === true ? {} : `${kind} ${reference.name} not found`
}

/** `text` undefined: the entry sets nothing, and an earlier value of that name stays. */
function entryValue(
  entry: EnvEntry,
  env: ReadonlyMap<string, string>,
  content: NamespaceContent,
): { text?: string; problem?: string } {
  if (entry.value) return { text: expand(entry.value, env) }
  const from = entry.valueFrom ?? {}
  if (from.secretKeyRef) return keyValue('secret', from.secretKeyRef, content.secrets)
  if (from.configMapKeyRef) return keyValue('configMap', from.configMapKeyRef, content.configMaps)
  if (from.fieldRef) return { text: `(field ${from.fieldRef.fieldPath})` }
  if (from.resourceFieldRef) return { text: `(resource ${from.resourceFieldRef.resource})` }
  if (from.fileKeyRef)
    return { text: `(file ${from.fileKeyRef.volumeName}/${from.fileKeyRef.path} ${from.fileKeyRef.key})` }
  return { text: '' }
}

function keyValue(
  kind: string,
  reference: KeyRef,
  objects: Record<string, Values>,
): { text?: string; problem?: string } {
  const values = objects[reference.name ?? '']
  const text = values?.[reference.key ?? '']
  if (text !== undefined) return { text }
  if (reference.optional === true) return {}
  return {
    problem:
      values === undefined
        ? `${kind} ${reference.name} not found`
        : `${kind} ${reference.name} has no key ${reference.key}`,
  }
}

interface VolumeFile {
  content: string
  mode: number
}

interface VolumeTree {
  /** By path relative to the volume's root. */
  files: Map<string, VolumeFile>
  problems: string[]
}

const DEFAULT_MODE = 0o644

function readVolume(volume: VolumeObject, content: NamespaceContent): VolumeTree {
  const tree: VolumeTree = { files: new Map(), problems: [] }
  if (volume.secret)
    project(
      tree,
      'secret',
      volume.secret,
      volume.secret.secretName,
      content.secrets,
      volume.secret.defaultMode,
    )
  if (volume.configMap)
    project(
      tree,
      'configMap',
      volume.configMap,
      volume.configMap.name,
      content.configMaps,
      volume.configMap.defaultMode,
    )
  const mode = volume.projected?.defaultMode
  for (const source of volume.projected?.sources ?? []) {
    if (source.secret) project(tree, 'secret', source.secret, source.secret.name, content.secrets, mode)
    if (source.configMap)
      project(tree, 'configMap', source.configMap, source.configMap.name, content.configMaps, mode)
  }
  for (const path of tree.files.keys()) {
    const inside = [...tree.files.keys()].find((other) => other.startsWith(`${path}/`))
    if (inside !== undefined)
      tree.problems.push(`volume ${volume.name}: ${path} is a file, and a folder for ${inside}`)
  }
  return tree
}

function project(
  tree: VolumeTree,
  kind: string,
  source: KeyedSource,
  name: string | undefined,
  objects: Record<string, Values>,
  defaultMode: number | null | undefined,
): void {
  const values = objects[name ?? '']
  if (values === undefined) {
    if (source.optional !== true) tree.problems.push(`${kind} ${name} not found`)
    return
  }
  const items: Item[] = source.items?.length
    ? source.items
    : Object.keys(values).map((key) => ({ key, path: key }))
  for (const item of items) {
    const content = values[item.key]
    if (content !== undefined)
      tree.files.set(item.path, { content, mode: item.mode ?? defaultMode ?? DEFAULT_MODE })
    else if (source.optional !== true) tree.problems.push(`${kind} ${name} has no key ${item.key}`)
  }
}

/**
 * The runtime mounts in the order of depth, and in the order of the list within one depth; each mount hides what
 * stood at its path and below.
 */
function visibleFiles(
  pod: PodObject,
  container: ContainerObject,
  volumes: ReadonlyMap<string, VolumeTree>,
  env: ReadonlyMap<string, string>,
): Record<string, FileView> {
  const depth = (mount: MountObject) => segments(mount.mountPath).length
  const seen = new Map<string, FileView & { root: string }>()
  for (const mount of [...(container.volumeMounts ?? [])].sort((a, b) => depth(a) - depth(b))) {
    const root = joinPath(mount.mountPath, '')
    hide(seen, root)
    const subPath = mount.subPathExpr ? expand(mount.subPathExpr, env) : (mount.subPath ?? '')
    for (const [path, file] of volumes.get(mount.name)?.files ?? []) {
      const inside = below(path, subPath)
      if (inside !== undefined) seen.set(joinPath(mount.mountPath, inside), { ...present(pod, file), root })
    }
  }
  return Object.fromEntries([...seen].map(([path, { root: _, ...file }]) => [path, file]))
}

/** Takes away what a mount at the path hides. A volume's files are links through a folder `..data` beside them. */
function hide(seen: Map<string, { root: string }>, path: string): void {
  const linked = /^(.+)[/\\]\.\.[^/\\]/.exec(path)?.[1]
  for (const [file, { root }] of seen)
    if (file === path || file.startsWith(path + separator(path)) || root === linked) seen.delete(file)
}

/** The path relative to the sub-path: empty when it is the very file, undefined when it lies outside. */
function below(path: string, subPath: string): string | undefined {
  const prefix = segments(subPath).join('/')
  if (prefix === '') return path
  if (path === prefix) return ''
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length + 1) : undefined
}

function present(pod: PodObject, file: VolumeFile): FileView {
  if (isWindows(pod)) return { content: file.content }
  const group = pod.spec.securityContext?.fsGroup
  const none = group === undefined || group === null
  // For read-only kinds of volumes the kubelet gives the files to the group and adds r--r-----.
  const mode = none ? file.mode : file.mode | 0o440
  return { content: file.content, mode: `${mode.toString(8).padStart(4, '0')} root:${none ? 'root' : group}` }
}

function isWindows(pod: PodObject): boolean {
  return pod.spec.os?.name === 'windows' || pod.spec.nodeSelector?.['kubernetes.io/os'] === 'windows'
}

function separator(path: string): string {
  return path.startsWith('/') ? '/' : '\\'
}

function segments(path: string): string[] {
  return path
    .split(path.startsWith('/') ? '/' : /[\\/]/)
    .filter((segment) => segment !== '' && segment !== '.')
}

function joinPath(folder: string, inside: string): string {
  const windows = !folder.startsWith('/')
  const all = [...segments(folder), ...segments(inside)]
  return windows ? all.join('\\') : `/${all.join('/')}`
}
