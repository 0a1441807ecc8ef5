/**
 * A small model of what the API server does with a pod around the webhooks: the defaults it adds, and the checks
 * that would refuse the pod after a patch. Shares no code with src/.
 */
import type {
  ContainerObject,
  EnvEntry,
  EnvFromEntry,
  Item,
  KeyedSource,
  MountObject,
  PodObject,
  VolumeObject,
} from './kubelet.ts'
import { everyContainer } from './kubelet.ts'

/** The pod as the API server stores it: typed (no nulls, no empty optional values), with defaults. The argument stays as it is. */
export function withDefaults(pod: PodObject): PodObject {
  const stored = dropEmpty(structuredClone(pod)) as PodObject
  stored.spec.restartPolicy ??= 'Always'
  stored.spec.dnsPolicy ??= 'ClusterFirst'
  stored.spec.schedulerName ??= 'default-scheduler'
  stored.spec.terminationGracePeriodSeconds ??= 30
  stored.spec.enableServiceLinks ??= true
  stored.spec.securityContext ??= {}
  stored.spec.serviceAccountName ??= stored.spec.serviceAccount ?? 'default'
  stored.spec.serviceAccount ??= stored.spec.serviceAccountName
  for (const volume of stored.spec.volumes ?? []) defaultVolume(volume)
  for (const container of everyContainer(stored)) {
    container.terminationMessagePath ??= '/dev/termination-log'
    container.terminationMessagePolicy ??= 'File'
    container.imagePullPolicy ??= 'IfNotPresent'
    container.resources ??= {}
    for (const entry of container.env ?? [])
      if (entry.valueFrom?.fieldRef) Object.assign(entry.valueFrom.fieldRef, { apiVersion: 'v1' })
  }
  return stored
}

function defaultVolume(volume: VolumeObject): void {
  for (const source of [
    volume.secret,
    volume.configMap,
    volume.projected,
    volume.downwardAPI as KeyedSource,
  ]) {
    if (source) source.defaultMode ??= 420
  }
  if (Object.keys(volume).length === 1) volume.emptyDir = {}
}

/** What Go's `omitempty` leaves out when the object is written again. */
function dropEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropEmpty)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(
        ([key, item]) => item !== null && !(Array.isArray(item) && item.length === 0) && !isZero(key, item),
      )
      .map(([key, item]) => [key, dropEmpty(item)]),
  )
}

const OMITTED_WHEN_EMPTY = new Set(['value', 'prefix', 'subPath', 'subPathExpr', 'readOnly'])

function isZero(key: string, item: unknown): boolean {
  return OMITTED_WHEN_EMPTY.has(key) && (item === '' || item === false)
}

/** Sentences for what the API server would refuse; empty when it would take the pod. */
export function validatePod(pod: PodObject): string[] {
  const problems: string[] = []
  const volumes = pod.spec.volumes ?? []
  unique(
    volumes.map((volume) => volume.name),
    'volume name',
    problems,
  )
  for (const volume of volumes) checkVolume(volume, problems)
  const containers = everyContainer(pod)
  unique(
    containers.map((container) => container.name),
    'container name',
    problems,
  )
  const names = new Set(volumes.map((volume) => volume.name))
  for (const container of containers) checkContainer(container, names, problems)
  checkAnnotations(pod, problems)
  return problems
}

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
/** Printable ASCII but "=": what names of variables may be since Kubernetes 1.34. */
const ENV_NAME = /^[ -<>-~]+$/
const CONFIG_KEY = /^[-._a-zA-Z0-9]{1,253}$/
const QUALIFIED_NAME = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/

function unique(names: string[], what: string, problems: string[]): void {
  const seen = new Set<string>()
  for (const name of names) {
    if (seen.has(name)) problems.push(`${what} ${name} is used twice`)
    seen.add(name)
  }
}

function checkVolume(volume: VolumeObject, problems: string[]): void {
  const at = `volume ${volume.name}`
  if (!DNS_LABEL.test(volume.name))
    problems.push(`${at}: the name is not a DNS label of at most 63 characters`)
  if (Object.values(volume).filter((value) => value !== null && value !== undefined).length > 2)
    problems.push(`${at}: more than one source`)
  if (volume.secret) checkSource(at, volume.secret, volume.secret.secretName, problems)
  if (volume.configMap) checkSource(at, volume.configMap, volume.configMap.name, problems)
  checkMode(at, volume.projected?.defaultMode, problems)
  const paths: string[] = []
  for (const projection of volume.projected?.sources ?? []) {
    if (Object.values(projection).filter(Boolean).length !== 1)
      problems.push(`${at}: a projected source must have one kind`)
    const source = projection.secret ?? projection.configMap
    if (source) checkSource(at, source, source.name, problems)
    paths.push(...(source?.items ?? []).map((item) => item.path))
  }
  unique(paths, `${at}: path`, problems)
}

function checkSource(at: string, source: KeyedSource, name: string | undefined, problems: string[]): void {
  if (!name) problems.push(`${at}: a source without a name`)
  checkMode(at, source.defaultMode, problems)
  for (const item of source.items ?? []) checkItem(at, item, problems)
}

function checkItem(at: string, item: Item, problems: string[]): void {
  if (!CONFIG_KEY.test(item.key)) problems.push(`${at}: key "${item.key}" is not valid`)
  if (item.path === '' || item.path.startsWith('/'))
    problems.push(`${at}: path "${item.path}" is not relative`)
  if (item.path.split('/').includes('..') || item.path.startsWith('..'))
    problems.push(`${at}: path "${item.path}" has ".."`)
  checkMode(at, item.mode, problems)
}

function checkMode(at: string, mode: number | null | undefined, problems: string[]): void {
  if (mode === undefined || mode === null) return
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o777)
    problems.push(`${at}: mode ${mode} is not within 0 and 0777`)
}

function checkContainer(container: ContainerObject, volumes: ReadonlySet<string>, problems: string[]): void {
  const at = `container ${container.name}`
  if (!DNS_LABEL.test(container.name))
    problems.push(`${at}: the name is not a DNS label of at most 63 characters`)
  for (const entry of container.env ?? []) checkEnv(at, entry, problems)
  for (const entry of container.envFrom ?? []) checkEnvFrom(at, entry, problems)
  const mounts = container.volumeMounts ?? []
  unique(
    mounts.map((mount) => mount.mountPath),
    `${at}: mountPath`,
    problems,
  )
  for (const mount of mounts) checkMount(at, mount, volumes, problems)
}

function checkEnv(at: string, entry: EnvEntry, problems: string[]): void {
  if (!ENV_NAME.test(entry.name)) problems.push(`${at}: variable name "${entry.name}" is not valid`)
  if (!entry.valueFrom) return
  if (entry.value) problems.push(`${at}: variable ${entry.name} has value and valueFrom`)
  if (Object.values(entry.valueFrom).filter(Boolean).length !== 1)
    problems.push(`${at}: variable ${entry.name} must have one source`)
  const reference = entry.valueFrom.secretKeyRef ?? entry.valueFrom.configMapKeyRef
  if (reference && !(DNS_SUBDOMAIN.test(reference.name ?? '') && CONFIG_KEY.test(reference.key ?? '')))
    problems.push(`${at}: variable ${entry.name} has a reference without a valid name and key`)
}

function checkEnvFrom(at: string, entry: EnvFromEntry, problems: string[]): void {
  const sources = [entry.secretRef, entry.configMapRef].filter(Boolean)
  if (sources.length !== 1) problems.push(`${at}: an envFrom entry must have one source`)
  if (sources[0] && !DNS_SUBDOMAIN.test(sources[0].name ?? ''))
    problems.push(`${at}: an envFrom entry has no valid name`)
  if (entry.prefix && !ENV_NAME.test(entry.prefix))
    problems.push(`${at}: prefix "${entry.prefix}" is not valid`)
}

function checkMount(at: string, mount: MountObject, volumes: ReadonlySet<string>, problems: string[]): void {
  if (!volumes.has(mount.name)) problems.push(`${at}: there is no volume ${mount.name}`)
  if (mount.mountPath === '') problems.push(`${at}: a mount without a path`)
  if (mount.subPath && mount.subPathExpr)
    problems.push(`${at}: ${mount.mountPath} has subPath and subPathExpr`)
  const inside = mount.subPath || mount.subPathExpr || ''
  if (inside.startsWith('/') || inside.split('/').includes('..'))
    problems.push(`${at}: subPath "${inside}" leaves the volume`)
}

const ANNOTATIONS_LIMIT = 256 * 1024

function checkAnnotations(pod: PodObject, problems: string[]): void {
  const annotations = Object.entries(pod.metadata?.annotations ?? {})
  for (const [key, value] of annotations) {
    if (!QUALIFIED_NAME.test(key)) problems.push(`annotation key ${key} is not valid`)
    if (typeof value !== 'string') problems.push(`annotation ${key} is not text`)
  }
  const size = annotations.reduce((sum, [key, value]) => sum + key.length + String(value).length, 0)
  if (size > ANNOTATIONS_LIMIT) problems.push('the annotations are larger than 256 KiB')
}
