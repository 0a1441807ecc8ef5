import type { FastifyInstance } from 'fastify'
import { CommandLineEnd, type Config, readConfig } from './config.ts'
import { endOnSignal, stayUp } from './process/ending.ts'
import type { Lifecycle } from './process/lifecycle.ts'
import { buildOps } from './process/ops.ts'
import { type Folder, openFolder } from './store/folder.ts'
import { excludedNamespaces } from './store/memory.ts'
import { buildWebhook, REVIEW_PATH } from './webhook/app.ts'
import { createLog, type Log } from './webhook/log.ts'
import { createMetrics, type Metrics } from './webhook/metrics.ts'
import { CertificateError, type CertificatePair, readPair, reloadOnChange } from './webhook/tls.ts'

/** `credential-injector serve`: settings → catalogue and certificate → servers → ready → graceful end. */
async function serve(config: Config): Promise<void> {
  const log = createLog(config.logLevel)
  const metrics = createMetrics()
  const lifecycle: Lifecycle = { phase: 'starting', lameDuck: config.shutdownDelay }
  const certificate = await certificateFor(config)
  const folder = openCatalog(config, log, metrics)

  const admission = { store: folder.store, excludedNamespaces: excludedNamespaces(config.namespace) }
  const webhook = buildWebhook({ admission, certificate, lifecycle, metrics, log })
  const ops = buildOps({ lifecycle, metrics, log })
  followCertificate(config, certificate, webhook, metrics, log)
  await webhook.listen({ host: config.host, port: config.port })
  await listenForOps(ops, config)

  stayUp(log, metrics)
  endOnSignal(lifecycle, async () => {
    await webhook.close()
    await ops.close()
    log.flush()
    process.exit(0)
  })
  // Last: whoever reads that it is ready may send a signal at once.
  lifecycle.phase = 'ready'
  announce(config, webhook, ops, folder)
}

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

function openCatalog({ catalog, namespace }: Config, log: Log, metrics: Metrics): Folder {
  const folder = openFolder(catalog, {
    ownerNamespace: namespace,
    onReload: ({ changed, problems }) => {
      log.info({ changed: changed.slice(0, 20), ...folder.status().counts }, 'the catalogue has changed')
      for (const problem of problems) log.error({ problem }, 'a manifest of the catalogue cannot be used')
    },
  })
  for (const problem of folder.status().problems)
    log.error({ problem }, 'a manifest of the catalogue cannot be used')
  metrics.gauge('catalog_credentials', 'Credentials of namespaces and of the cluster on offer.', () => {
    const { credentials, clusterCredentials } = folder.status().counts
    return credentials + clusterCredentials
  })
  metrics.gauge('catalog_policies', 'Policies in effect.', () => folder.status().counts.policies)
  metrics.gauge(
    'catalog_problems',
    'Manifests of the catalogue that cannot be used.',
    () => folder.status().problems.length,
  )
  return folder
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

function announce(config: Config, webhook: FastifyInstance, ops: FastifyInstance, folder: Folder): void {
  const { counts, problems } = folder.status()
  const lines = [
    `credential-injector is ready: ${webhook.listeningOrigin}${REVIEW_PATH}`,
    `Metrics: ${ops.listeningOrigin}/metrics`,
    `Catalogue ${config.catalog}: ${plural(counts.credentials, 'credential')} in ${plural(counts.namespaces, 'namespace')}, ` +
      `${plural(counts.clusterCredentials, 'cluster credential')}, ${plural(counts.policies, 'policy', 'policies')}` +
      (problems.length === 0 ? '' : `; ${plural(problems.length, 'problem')}, named in the log`),
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
