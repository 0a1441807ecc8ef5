import { hostname } from 'node:os'
import { type AccessChoice, AccessError, clusterAccess } from '../kube/access.ts'
import { createKubeClient, type KubeAccess, type KubeClient } from '../kube/client.ts'
import { createEvents } from '../kube/events.ts'
import type { Trouble } from '../kube/reflector.ts'
import { type ClusterCatalog, FOLLOWED_KINDS, type FollowedKind, openCluster } from '../store/cluster.ts'
import type { Log } from '../webhook/log.ts'
import type { Metrics } from '../webhook/metrics.ts'
import { createOwnerEvents, type OwnerEvents } from '../webhook/owner-events.ts'
import { type Catalogue, type CatalogueParts, measure } from './catalogue.ts'

/** The objects of a cluster. Rejects with an `AccessError` if there is no way to it; what is only slow or forbidden yet is waited for. */
export async function fromCluster(
  { ownerEvents: tells, ...choice }: AccessChoice & { readonly ownerEvents: boolean },
  { namespace, log, metrics }: CatalogueParts,
): Promise<Catalogue> {
  const access = await accessFor(choice)
  const client = createKubeClient(access)
  const trouble = troubleLog(log)
  const catalog = openCluster({
    client,
    ownerNamespace: namespace,
    onProblem: (problem) => log.error({ problem }, 'an object of the cluster cannot be used'),
    ...trouble,
  })
  const { store, reads, synced, status } = catalog
  measure(metrics, status)
  measureWatches(metrics, catalog)
  const waitingFor = () => {
    const missing = FOLLOWED_KINDS.filter((kind) => !status().kinds[kind].isSynced)
    const why = missing.flatMap((kind) => trouble.problems.get(kind) ?? [])
    return `Still to be read from the cluster: ${missing.join(', ')}${why.map((problem) => `; ${problem}`).join('')}.`
  }
  const ownerEvents = tells ? tellOwners(client, log, metrics) : undefined
  const name = `Cluster ${access.server}`
  return { store, reads, ownerEvents, ready: synced, waitingFor, name, status }
}

/** A log is not filled by a right that is missing, or an API server that is away. */
const LOST_EVERY_MS = 60_000

function tellOwners(client: KubeClient, log: Log, metrics: Metrics): OwnerEvents {
  let told = Number.NEGATIVE_INFINITY
  const events = createOwnerEvents({
    senderWith: ({ onSent, onLost }) =>
      createEvents({
        client,
        component: 'credential-injector-webhook',
        instance: hostname(),
        onSent,
        onLost(error, event, about) {
          onLost(error, event, about)
          if (performance.now() - told < LOST_EVERY_MS) return
          told = performance.now()
          const fields = { reason: event.reason, namespace: about.namespace, problem: error.message }
          log.warn(fields, 'an event for the owner of a refused pod could not be sent')
        },
      }),
  })
  metrics.family(
    'counter',
    'owner_events_total',
    'Events for owners of refused pods, by what came of them.',
    'outcome',
    () => events.counts,
  )
  return events
}

async function accessFor(choice: AccessChoice): Promise<KubeAccess> {
  try {
    return await clusterAccess(choice)
  } catch (error) {
    // Whoever names nothing may not have a cluster in mind.
    if (!(error instanceof AccessError) || choice.kubeconfig !== undefined) throw error
    throw new AccessError(
      `${error.message} Without a cluster, name a folder of manifests with --catalog DIR.`,
    )
  }
}

/**
 * The first failure of a row, each other reason in it, and every so many: a log is not filled by a server that is away for a night.
 * A watch that ends once is nobody's concern: that is what watches do, and the next one goes on from there.
 */
const EVERY = 30

function troubleLog(log: Log) {
  const last = new Map<FollowedKind, string>()
  return {
    /** What is wrong now. */
    problems: last as ReadonlyMap<FollowedKind, string>,
    onTrouble(kind: FollowedKind, problem: string, { during, failures, retryIn }: Trouble) {
      if (during === 'handler')
        return log.error({ kind, problem }, 'an object of the cluster is left as it was')
      if (during === 'watch' && failures === 1) return
      const isNews = last.get(kind) !== problem || failures % EVERY === 0
      last.set(kind, problem)
      const fields = { kind, problem, failures, retryInSeconds: Math.round(retryIn / 100) / 10 }
      if (isNews) log.warn(fields, 'the cluster cannot be followed at present; it is tried again')
    },
    onRecovery(kind: FollowedKind) {
      if (last.delete(kind)) log.info({ kind }, 'the cluster can be followed again')
    },
  }
}

function measureWatches(metrics: Metrics, { status, reads }: ClusterCatalog): void {
  type Kinds = ReturnType<typeof status>['kinds']
  const byKind = (read: (kind: Kinds[FollowedKind]) => number) => () =>
    Object.fromEntries(Object.entries(status().kinds).map(([kind, values]) => [kind, read(values)]))
  metrics.family(
    'gauge',
    'cluster_objects',
    'Objects known.',
    'kind',
    byKind(({ objects }) => objects),
  )
  metrics.family(
    'gauge',
    'cluster_synced',
    'Whether all objects have been read once: 0 or 1.',
    'kind',
    byKind(({ isSynced }) => Number(isSynced)),
  )
  metrics.family(
    'gauge',
    'cluster_stale_seconds',
    'Seconds since the API server last proved to be in contact. A healthy watch stays below about a minute.',
    'kind',
    byKind(({ staleSeconds }) => staleSeconds),
  )
  metrics.family(
    'counter',
    'cluster_relists_total',
    'Times that all objects had to be read again.',
    'kind',
    byKind(({ relists }) => relists),
  )
  metrics.family(
    'counter',
    'cluster_failures_total',
    'Lists and watches that failed. They are tried again.',
    'kind',
    byKind(({ failures }) => failures),
  )
  metrics.family(
    'counter',
    'cluster_handler_errors_total',
    'Objects that could not be taken over: bugs.',
    'kind',
    byKind(({ handlerErrors }) => handlerErrors),
  )
  metrics.family(
    'counter',
    'direct_reads_total',
    'Looks past the watches for what a pod needs and they have not brought, by what came of them.',
    'outcome',
    () => reads.counts,
  )
}
