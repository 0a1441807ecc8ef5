import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { CommandLineEnd } from './config/flags.ts'
import { type Config, readConfig } from './config/serve.ts'
import { endOnSignal, stayUp } from './process/ending.ts'
import type { Lifecycle } from './process/lifecycle.ts'
import { buildOps } from './process/ops.ts'
import type { Catalogue, CatalogueParts } from './serve/catalogue.ts'
import { excludedNamespaces } from './store/memory.ts'
import { buildWebhook, REVIEW_PATH } from './webhook/app.ts'
import { createLog, type Log } from './webhook/log.ts'
import { createMetrics, type Metrics } from './webhook/metrics.ts'
import { CertificateError, type CertificatePair, readPair, reloadOnChange } from './webhook/tls.ts'

/** `credential-injector serve`: settings → catalogue and certificate → servers → ready → graceful end. */
async function serve(config: Config): Promise<void> {
  const log = createLog(config.logLevel)
  const metrics = createMetrics()
  const certificate = await certificateFor(config)
  const catalogue = await openCatalogue(config, { namespace: config.namespace, log, metrics })
  const lifecycle: Lifecycle = {
    phase: 'starting',
    lameDuck: config.shutdownDelay,
    get startingWith() {
      return catalogue.waitingFor?.()
    },
  }

  const { store, reads, ownerEvents } = catalogue
  const admission = { store, reads, excludedNamespaces: excludedNamespaces(config.namespace) }
  const webhook = buildWebhook({ admission, certificate, lifecycle, metrics, log, ownerEvents })
  const ops = buildOps({ lifecycle, metrics, log })
  followCertificate(config, certificate, webhook, metrics, log)
  stayUp(log, metrics)
  endOnSignal(lifecycle, async () => {
    // Who has not begun to answer has nobody to wait for.
    if (webhook.server.listening) await webhook.close()
    await Promise.race([ownerEvents?.flush(), sleep(LAST_EVENTS_MS)])
    // Nobody is sent to this port: it need not wait once more.
    lifecycle.lameDuck = 0
    await ops.close()
    log.flush()
    process.exit(0)
  })

  await listenForOps(ops, config)
  // No review is answered by a part of the catalogue: it might be the part without the policy that is enforced.
  await catalogue.ready
  await webhook.listen({ host: config.host, port: config.port })
  // Last: whoever reads that it is ready may send a signal at once.
  lifecycle.phase = 'ready'
  announce(config, webhook, ops, catalogue)
}

/** An API server that does not answer must not hold up the end. */
const LAST_EVENTS_MS = 1_000

// ---- Parts -----------------------------------------------------------------------------------------------------------

async function certificateFor({ tls }: Config): Promise<CertificatePair> {
  if (tls) return readPair(tls)
  // Only who needs it pays for the library: it is a third of the time that a start takes.
  const { selfSigned } = await import('./webhook/self-signed.ts')
  return selfSigned()
}

function followCertificate(
  { tls }: Config,
  current: CertificatePair,
  { server }: FastifyInstance,
  metrics: Metrics,
  log: Log,
): void {
  metrics.certificateExpires(current.expires)
  if (tls) reloadOnChange({ files: tls, current, server: server as never, metrics, log })
}

/** Only the one that is asked for is loaded. */
async function openCatalogue({ catalog, ...choice }: Config, parts: CatalogueParts): Promise<Catalogue> {
  if (catalog === undefined) return (await import('./serve/from-cluster.ts')).fromCluster(choice, parts)
  return (await import('./serve/from-folder.ts')).fromFolder(catalog, parts)
}

async function listenForOps(
  ops: FastifyInstance,
  { host, metricsPort, metricsPortIsFlexible }: Config,
): Promise<void> {
  try {
    await ops.listen({ host, port: metricsPort })
  } catch (error) {
    if (!metricsPortIsFlexible || !isPortTaken(error)) throw error
    await ops.listen({ host, port: 0 })
  }
}

function announce(
  config: Config,
  webhook: FastifyInstance,
  ops: FastifyInstance,
  catalogue: Catalogue,
): void {
  const { counts, problems } = catalogue.status()
  const lines = [
    `credential-injector is ready: ${webhook.listeningOrigin}${REVIEW_PATH}`,
    `Metrics: ${ops.listeningOrigin}/metrics`,
    `${catalogue.name}: ${plural(counts.credentials, 'credential')} in ${plural(counts.namespaces, 'namespace')}, ` +
      `${plural(counts.clusterCredentials, 'cluster credential')}, ${plural(counts.policies, 'policy', 'policies')}` +
      (problems === 0 ? '' : `; ${plural(problems, 'problem')}, named in the log`),
  ]
  if (!config.tls) {
    lines.push(
      'The certificate is self-signed, for this machine and a day: try it with curl --insecure, or give --tls-cert and --tls-key.',
    )
  }
  process.stdout.write(`${lines.join('\n')}\n`)
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

// ---- The start -------------------------------------------------------------------------------------------------------

/** Exit code when it cannot start as asked; the sentence on stderr says why. */
const CANNOT_START = 2

try {
  await serve(readConfig(process.argv.slice(2)))
} catch (error) {
  process.stderr.write(startProblem(error))
  process.exit(error instanceof CommandLineEnd ? error.exitCode : CANNOT_START)
}

function startProblem(error: unknown): string {
  if (error instanceof CommandLineEnd || error instanceof CertificateError)
    return error.message && `${error.message}\n`
  const { port, message } = error as NodeJS.ErrnoException & { port?: number }
  if (isPortTaken(error))
    return `Port ${port} is taken: choose another with --port or --metrics-port; 0 takes a free one.\n`
  return `${message}\n`
}

function isPortTaken(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
}
