import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { type ControllerConfig, readControllerConfig } from '../config/controller.ts'
import { CommandLineEnd } from '../config/flags.ts'
import { AccessError, clusterAccess } from '../kube/access.ts'
import { createKubeClient, type KubeClient } from '../kube/client.ts'
import { createEvents, type EventSender } from '../kube/events.ts'
import { type Election, stand } from '../kube/lease.ts'
import { endOnSignal, stayUp } from '../process/ending.ts'
import type { Lifecycle } from '../process/lifecycle.ts'
import { type BaseLog, loggerOn, standardError } from '../process/log.ts'
import { buildOps } from '../process/ops.ts'
import { createCertificateMetrics } from './certificates/metrics.ts'
import { createCopiesDuty } from './copies/duty.ts'
import { createCopyMetrics } from './copies/metrics.ts'
import type { Duty, DutyParts } from './duties.ts'
import { type ControllerMetrics, createControllerMetrics } from './metrics.ts'
import { createPolicyDuty } from './policies/index.ts'
import { createRotationDuty, type RotationDuty } from './rotation/duty.ts'
import { watchStale } from './rotation/stale.ts'
import { countCredentials, createStatusDuty, type StatusDuty } from './status/duty.ts'
import { revisionKey } from './status/revision-key.ts'
import { watchUsage } from './usage/usage.ts'
import { type Watched, watchCluster } from './watched/index.ts'

const NAME = 'credential-injector-controller'

/**
 * `credential-injector controller`: settings → access → watch → stand for election → duties, while it leads → graceful end.
 *
 * Who waits for the lease watches all the same, so that it begins at once when its time comes. Who loses it ends the process:
 * nothing half done is left, and the Deployment starts it anew.
 */
async function control(config: ControllerConfig): Promise<void> {
  const log = loggerOn(standardError(), config.logLevel)
  const metrics = createControllerMetrics()
  const lifecycle: Lifecycle = { phase: 'starting', lameDuck: 0, startingWith: SYNCING }
  const client = createKubeClient(await clusterAccess(config))
  const identity = `${hostname()}_${randomUUID()}`
  const leading = new AbortController()

  const ops = buildOps({ lifecycle, metrics, log })
  await ops.listen({ host: config.host, port: config.metricsPort })
  stayUp(log, metrics)

  const events = eventsFrom(client, identity, metrics, log)
  const watched = watch(config, client, metrics, log)
  let election: Election | undefined
  const parts: DutyParts = {
    client,
    watched,
    events,
    metrics,
    log,
    ownNamespace: config.namespace,
    isLeading: () => election?.isLeading() ?? false,
    revisionKey: sharedKey(config, client, metrics, log),
  }
  const status = createStatusDuty(parts)
  const usage = watchUsage({ ...parts, onNews: status.changed })
  status.learnFrom(usage)
  watched.subscribe({ credential: status.changed })
  measure(parts, status)
  const policies = createPolicyDuty(parts, {
    ...config.configurations,
    managesBundles: managesBundles(config),
    tellCredential: status.changedFirst,
  })
  status.learnFrom(policies)
  /** Everything that is done while leading. */
  const duties: Duty[] = [
    status,
    policies,
    copiesDuty(parts, status),
    rotationDuty(config, parts, usage),
    ...(await certificateDuties(config, parts)),
  ]

  let work: Promise<unknown> = Promise.resolve()
  endOnSignal(lifecycle, async () => {
    leading.abort()
    await work
    await Promise.all([election?.resign(), Promise.race([events.flush(), sleep(LAST_EVENTS_MS)])])
    await Promise.all([watched.stop(), ops.close()])
    log.flush()
    process.exit(0)
  })

  async function run(duty: Duty): Promise<void> {
    try {
      await duty.run(leading.signal)
    } catch (error) {
      // Not awaited: it waits for all duties, this one too.
      if (!leading.signal.aborted) void giveUp(duty, error as Error)
    }
  }

  /** Whoever is next need not wait for a lease to run out that nobody works under. */
  async function giveUp({ name }: Duty, { message }: Error): Promise<void> {
    leading.abort()
    log.error({}, `the duty ${name} cannot be done: ${message}`)
    const givenBack = work.then(() => election?.resign())
    await Promise.race([givenBack, sleep(LAST_WORK_MS)])
    startAnew(log)
  }

  await watched.synced
  lifecycle.phase = 'ready'
  announce(config, ops, watched)
  election = standFor(config, client, identity, metrics, log, {
    onWon() {
      if (leading.signal.aborted) return
      log.info({ identity, duties: duties.map(({ name }) => name) }, 'this instance leads')
      work = Promise.all(duties.map(run))
    },
    onLost(why) {
      leading.abort()
      log.error({}, `this instance does not lead any more (${why}); it ends, to start anew`)
      startAnew(log)
    },
  })
}

/** An API server that does not answer must not hold up the end. */
const LAST_WORK_MS = 5_000
const LAST_EVENTS_MS = 2_000

const SYNCING = 'The credentials of the cluster are still being read.'

// ---- Parts -----------------------------------------------------------------------------------------------------------

function eventsFrom(
  client: KubeClient,
  instance: string,
  metrics: ControllerMetrics,
  log: BaseLog,
): EventSender {
  return createEvents({
    client,
    component: NAME,
    instance,
    onSent: ({ type }) => metrics.eventSent(type),
    onLost(error, { reason }) {
      metrics.apiError('event')
      log.warn({ reason, problem: error.message }, 'an event could not be sent')
    },
  })
}

function watch(
  { namespace }: ControllerConfig,
  client: KubeClient,
  metrics: ControllerMetrics,
  log: BaseLog,
): Watched {
  return watchCluster({
    client,
    ownNamespace: namespace,
    onTrouble(resource, { during, error, failures, retryIn }) {
      metrics.apiError(during)
      const fields = { resource, problem: error.message, failures, retryInMs: Math.round(retryIn) }
      if (during === 'handler') log.error(fields, 'BUG: a change could not be taken in')
      else log.warn(fields, `the ${during} failed; it is tried again`)
    },
    onRecovery: (resource) => log.info({ resource }, 'the API server answers again'),
  })
}

/** Read once, whoever asks first: several duties make revisions. */
function sharedKey(
  { namespace }: ControllerConfig,
  client: KubeClient,
  metrics: ControllerMetrics,
  log: BaseLog,
): DutyParts['revisionKey'] {
  let key: Promise<Buffer> | undefined
  return (signal) => {
    key ??= revisionKey({
      client,
      namespace,
      signal,
      onFailure(error, retryIn) {
        metrics.apiError('reconcile')
        log.warn(
          { problem: error.message, retryInMs: Math.round(retryIn) },
          'the key of revisions could not be read or made; it is tried again',
        )
      },
    })
    return key
  }
}

function copiesDuty(parts: DutyParts, status: StatusDuty): Duty {
  const copyMetrics = createCopyMetrics(parts.metrics.registers)
  const duty = createCopiesDuty({ ...parts, copyMetrics, onNews: status.changed })
  status.learnFrom(duty)
  return duty
}

async function certificateDuties(
  { certificates, namespace }: ControllerConfig,
  { client, events, metrics, log }: DutyParts,
): Promise<Duty[]> {
  if (certificates === undefined) return []
  // Only who needs it pays for the library.
  const { createCertificateDuty } = await import('./certificates/index.ts')
  const duty = createCertificateDuty({
    ...certificates,
    client,
    namespace,
    log,
    metrics: createCertificateMetrics(metrics.registers),
    onEvent: ({ secret, ...event }) => events.send({ apiVersion: 'v1', kind: 'Secret', ...secret }, event),
  })
  return [duty]
}

function rotationDuty(
  { rotation }: ControllerConfig,
  parts: DutyParts,
  { missedBy }: ReturnType<typeof watchUsage>,
): RotationDuty {
  const { watched } = parts
  const stale = watchStale({ watched, missedBy, onChange: (workload) => duty.changed(workload) })
  const duty: RotationDuty = createRotationDuty(parts, stale, rotation)
  return duty
}

function managesBundles({ certificates, configurations }: ControllerConfig): boolean {
  return certificates?.mutatingConfigurations.includes(configurations.policies) ?? false
}

function measure({ metrics, watched, isLeading }: DutyParts, status: StatusDuty): void {
  metrics.gauge('controller_leader', 'Whether this instance leads: 0 or 1.', () => (isLeading() ? 1 : 0))
  metrics.gauge('controller_queue_depth', 'Credentials that wait to be looked at.', () => status.depth())
  metrics.credentials(() => countCredentials(watched.credentials()))
  metrics.staleness(() => watched.staleSeconds())
}

/** An instance that is the only one leads from the start. */
const ALONE: Election = { isLeading: () => true, leader: () => undefined, resign: async () => {} }

function standFor(
  { leaderElect, leaseDuration, namespace }: ControllerConfig,
  client: KubeClient,
  identity: string,
  metrics: ControllerMetrics,
  log: BaseLog,
  on: { onWon(): void; onLost(why: string): void },
): Election {
  if (!leaderElect) {
    on.onWon()
    return ALONE
  }
  return stand({
    client,
    namespace,
    name: NAME,
    identity,
    // The proportions of client-go: a leader gives up after two thirds of the time, and has tried five times by then.
    limits: {
      duration: leaseDuration,
      renewWithin: (leaseDuration * 2) / 3,
      renewEvery: (leaseDuration * 2) / 15,
    },
    ...on,
    onTrouble(error) {
      metrics.apiError('lease')
      log.warn({ problem: error.message }, 'the lease could not be read or written; it is tried again')
    },
  })
}

/** Exit code of a process that has to be started anew. */
const START_ANEW = 1

function startAnew(log: BaseLog): never {
  log.flush()
  process.exit(START_ANEW)
}

function announce({ namespace }: ControllerConfig, ops: FastifyInstance, watched: Watched): void {
  const count = [...watched.keys()].length
  process.stdout.write(
    `credential-injector controller is ready: it watches ${count} ${count === 1 ? 'credential' : 'credentials'}; its own namespace is ${namespace}\nMetrics: ${ops.listeningOrigin}/metrics\n`,
  )
}

// ---- The start -------------------------------------------------------------------------------------------------------

/** Exit code when it cannot start as asked; the sentence on stderr says why. */
const CANNOT_START = 2

try {
  // The first word is the command.
  await control(readControllerConfig(process.argv.slice(3)))
} catch (error) {
  process.stderr.write(startProblem(error))
  process.exit(error instanceof CommandLineEnd ? error.exitCode : CANNOT_START)
}

function startProblem(error: unknown): string {
  const { code, port, message } = error as NodeJS.ErrnoException & { port?: number }
  if (error instanceof CommandLineEnd || error instanceof AccessError) return message && `${message}\n`
  if (code === 'EADDRINUSE')
    return `Port ${port} is taken: choose another with --metrics-port; 0 takes a free one.\n`
  return `${message}\n`
}
