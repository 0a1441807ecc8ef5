/** Everything that a cluster holds, to be compared with what it holds later: nothing of somebody else's may have been touched. */
import type { KubeObject } from '../../../src/kube/client.ts'
import type { Cluster } from '../kit/cluster.ts'

/** Objects by `RESOURCE NAMESPACE/NAME`, or `RESOURCE NAME`; `RESOURCE` is `secrets` or `deployments.apps`. */
export type World = ReadonlyMap<string, object>

/** What a cluster writes about itself all the time. */
const RESTLESS: readonly string[] = [
  'componentstatuses',
  'endpoints',
  'endpointslices.discovery.k8s.io',
  'events',
  'events.events.k8s.io',
  'leases.coordination.k8s.io',
  'nodes',
]

/**
 * All objects of these resources (`secrets`, `deployments.apps`), or of all that can be listed but the restless ones. Without
 * `resourceVersion`, times, `managedFields` and `status`; with `uid`, so that a thing that was made anew is another one. What belongs
 * to a namespace that is being deleted is left out: it goes while one looks.
 */
export async function snapshot(cluster: Cluster, resources?: readonly string[]): Promise<World> {
  const world = new Map<string, object>()
  const leaving = await namespacesThatGo(cluster)
  for (const { name, path } of await listable(cluster)) {
    if (resources ? !resources.includes(name) : RESTLESS.includes(name)) continue
    const { items } = await cluster.client.get<{ items: KubeObject[] | null }>(path)
    for (const item of items ?? []) {
      const { namespace } = name === 'namespaces' ? { namespace: item.metadata.name } : item.metadata
      if (!leaving.has(namespace)) world.set(`${name} ${placeOf(item)}`, quiet(item))
    }
  }
  return world
}

/**
 * What became of a world, sorted: `added secrets team-a/x`, `removed …`, and `changed secrets team-a/x: data.KEY, type` with the
 * fields but not their values, which may be of Secrets. Empty for equal worlds. `isOurs` leaves out what may change.
 */
export function diff(before: World, after: World, isOurs: (key: string) => boolean = () => false): string[] {
  const lines = [...new Set([...before.keys(), ...after.keys()])].flatMap((key) => {
    if (isOurs(key)) return []
    const [old, now] = [before.get(key), after.get(key)]
    if (old === undefined) return [`added ${key}`]
    if (now === undefined) return [`removed ${key}`]
    const fields = differences(old, now)
    return fields.length > 0 ? [`changed ${key}: ${fields.join(', ')}`] : []
  })
  return lines.sort()
}

// ---- What there is ---------------------------------------------------------------------------------------------------

interface Resource {
  readonly name: string
  readonly path: string
}

interface Discovery {
  readonly groups: readonly { readonly preferredVersion: { readonly groupVersion: string } }[]
}

interface ResourceList {
  readonly resources: readonly { readonly name: string; readonly verbs: readonly string[] }[]
}

async function namespacesThatGo({ client }: Cluster): Promise<ReadonlySet<string | undefined>> {
  const { items } = await client.get<{ items: KubeObject[] }>('/api/v1/namespaces')
  const going = items.filter(({ metadata }) => metadata.deletionTimestamp !== undefined)
  return new Set(going.map(({ metadata }) => metadata.name))
}

async function listable({ client }: Cluster): Promise<Resource[]> {
  const { groups } = await client.get<Discovery>('/apis')
  const versions = groups.map(({ preferredVersion: { groupVersion } }) => groupVersion)
  const found: Resource[] = []
  for (const version of ['v1', ...versions]) {
    const base = version === 'v1' ? '/api/v1' : `/apis/${version}`
    const group = version === 'v1' ? '' : `.${version.split('/')[0]}`
    const { resources } = await client.get<ResourceList>(base)
    for (const { name, verbs } of resources)
      if (verbs.includes('list') && !name.includes('/'))
        found.push({ name: `${name}${group}`, path: `${base}/${name}` })
  }
  return found
}

function placeOf({ metadata: { namespace, name } }: KubeObject): string {
  return namespace ? `${namespace}/${name}` : name
}

function quiet({ metadata, ...rest }: KubeObject): object {
  // When it was made is said by its uid, without depending on how fast a test is.
  const { resourceVersion: _, managedFields: _fields, creationTimestamp: _time, ...kept } = metadata as any
  const { status: _status, ...content } = rest as any
  return { metadata: kept, ...content }
}

// ---- What is different -----------------------------------------------------------------------------------------------

/** Paths of fields, as deep as both sides are objects. */
function differences(before: unknown, after: unknown, at: readonly string[] = []): string[] {
  if (!isRecord(before) || !isRecord(after))
    return JSON.stringify(before) === JSON.stringify(after) ? [] : [at.join('.')]
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].sort().flatMap((name) => differences(before[name], after[name], [...at, name]))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
