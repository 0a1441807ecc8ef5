/**
 * Measures the webhook on a real API server with 10,000 Credentials in 1,000 namespaces, and prints a table. Fails if a promise is
 * broken. The programs of the test cluster are built at the first time.
 *
 *     npm run bench:cluster
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeCertificates, writeCertificates } from '../certs/make.ts'
import manifest from '../package.json' with { type: 'json' }
import { createKubeClient } from '../src/kube/client.ts'
import { openCluster } from '../src/store/cluster.ts'
import { installCrds } from '../test/cluster/install-crds.ts'
import { startCluster } from '../test/cluster/kit/cluster.ts'
import {
  credentialNamed,
  grantRights,
  kubeconfigBy,
  makeWebhookAccount,
  podWith,
} from '../test/cluster/support/webhook-process.ts'
import { apiServerClient } from '../test/support/client.ts'
import { type Server, startServer } from './processes.ts'
import { type Promised, Table } from './table.ts'

const NAMESPACES = 1_000
const PER_NAMESPACE = 10
const STARTS = 5
const NEW_ONES = 300
/** Requests of the preparation at once. */
const LANES = 32

const START = [
  ...manifest.scripts.start.split(' ').filter((word) => word.startsWith('--')),
  'dist/webhook.js',
  'serve',
]

const table = new Table()
const cluster = await startCluster({ name: 'bench' })
try {
  const started = performance.now()
  await fill()
  table.row(
    `${NAMESPACES * PER_NAMESPACE} Credentials in ${NAMESPACES} namespaces, each with status`,
    `made in ${seconds(performance.now() - started)}`,
  )
  const args = await webhookArguments()
  await startUp(args)
  const webhook = await startServer(args)
  await byTheWebhook(webhook)
  await webhook.stop()
  await byTheWatchAlone()
} finally {
  await cluster.stop()
}
process.exitCode = table.finish() ? 0 : 1

// ---- The cluster -----------------------------------------------------------------------------------------------------

async function fill(): Promise<void> {
  await installCrds(cluster.client)
  const namespaces = Array.from({ length: NAMESPACES }, (_, index) => `team-${index}`)
  await inLanes(namespaces, async (name) => {
    await cluster.client.create('/api/v1/namespaces', { metadata: { name, labels: { team: name } } })
    for (let index = 0; index < PER_NAMESPACE; index++) await createCredential(name, `credential-${index}`)
  })
}

async function createCredential(namespace: string, name: string): Promise<void> {
  const path = `/apis/run.ai/v1/namespaces/${namespace}/credentials`
  await cluster.client.create(path, credentialNamed(name))
  const status = {
    observedGeneration: 1,
    keys: ['API_KEY', 'API_URL'],
    revision: 'b1946ac92492d234',
    conditions: ['Ready', 'Healthy'].map((type) => ({
      type,
      status: 'True',
      observedGeneration: 1,
      lastTransitionTime: '2026-01-01T00:00:00Z',
      reason: 'SecretFound',
      message: `Secret ${name}-secret has all that is needed.`,
    })),
  }
  await cluster.client.patch(`${path}/${name}/status`, 'application/merge-patch+json', { status })
}

async function inLanes<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items]
  const lane = async () => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) await work(item)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

async function webhookArguments(): Promise<string[]> {
  const { folder } = cluster
  await writeCertificates(folder, await makeCertificates())
  await cluster.client.create('/api/v1/namespaces', { metadata: { name: 'credential-injector' } })
  const token = await makeWebhookAccount(cluster, 'credential-injector')
  await grantRights(cluster, 'credential-injector')
  const kubeconfig = kubeconfigBy(cluster, cluster.url, token)
  const tls = ['--tls-cert', join(folder, 'tls.crt'), '--tls-key', join(folder, 'tls.key')]
  return [...START, '--kubeconfig', kubeconfig, '--port', '0', ...tls]
}

// ---- Measurements ----------------------------------------------------------------------------------------------------

async function startUp(args: readonly string[]): Promise<void> {
  const times: number[] = []
  const memories: number[] = []
  const processor: number[] = []
  for (let round = 0; round < STARTS; round++) {
    const server = await startServer(args)
    times.push(server.readyAfter)
    memories.push(server.memory())
    processor.push(server.processorTime() ?? Number.NaN)
    await server.stop()
  }
  table.row(
    'start until it is ready',
    `${seconds(median(times))} (${STARTS} starts, up to ${seconds(Math.max(...times))})`,
  )
  // The rest of the time is the API server's, or whoever else wanted the processor.
  table.row('  processor time of it', seconds(median(processor)))
  table.row('  memory then', `${median(memories).toFixed(0)} MiB`, below(Math.max(...memories), 200, 'MiB'))
}

/** From the API server's word that a credential is stored to the answer that injects it: what a pod right after it meets. */
async function byTheWebhook(webhook: Server): Promise<void> {
  const ca = readFileSync(join(cluster.folder, 'ca.crt'), 'utf8')
  const client = apiServerClient({ url: webhook.url, ca })
  const times: number[] = []
  let firstTries = 0
  for (let index = 0; index < NEW_ONES; index++) {
    const namespace = `team-${index % NAMESPACES}`
    const name = `new-${index}`
    await cluster.client.create(`/apis/run.ai/v1/namespaces/${namespace}/credentials`, credentialNamed(name))
    const created = performance.now()
    for (let tries = 1; ; tries++) {
      const { allowed, patch } = await client.createPod(podWith('p', name), namespace)
      if (!allowed || !patch) continue
      if (tries === 1) firstTries++
      break
    }
    times.push(performance.now() - created)
  }
  client.close()
  usable('created until a pod gets it', times)
  table.row('  at the first try', `${firstTries} of ${NEW_ONES}`, {
    sentence: 'every time',
    kept: firstTries === NEW_ONES,
  })
  table.row('  memory after it', `${webhook.memory().toFixed(0)} MiB`, below(webhook.memory(), 200, 'MiB'))
}

/** The same without direct reads, which is what a change of a credential needs, and what every other replica sees. */
async function byTheWatchAlone(): Promise<void> {
  const client = createKubeClient({
    server: cluster.url,
    ca: cluster.caData,
    token: () => cluster.adminToken,
  })
  const catalog = openCluster({ client })
  await catalog.synced
  const times: number[] = []
  for (let index = 0; index < NEW_ONES; index++) {
    const namespace = `team-${index % NAMESPACES}`
    const name = `later-${index}`
    await cluster.client.create(`/apis/run.ai/v1/namespaces/${namespace}/credentials`, credentialNamed(name))
    const created = performance.now()
    while (catalog.store.view(namespace).credential(name) === undefined)
      await new Promise((resolve) => setImmediate(resolve))
    times.push(performance.now() - created)
  }
  usable('created until the watch has brought it', times)
  await catalog.close()
  client.close()
}

function usable(what: string, times: number[]): void {
  const sorted = times.sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.floor(sorted.length * part)] as number
  table.row(
    what,
    `p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms, most ${at(0.9999).toFixed(1)} ms`,
    below(at(0.99), 1000, 'ms'),
  )
}

// ---- Figures ---------------------------------------------------------------------------------------------------------

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`
}

function below(value: number, limit: number, unit: string): Promised {
  return { sentence: `below ${limit} ${unit}`, kept: value < limit }
}
