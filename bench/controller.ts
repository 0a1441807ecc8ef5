/**
 * Measures the controller on a real API server: one ClusterCredential that is offered to 2,000 namespaces, or with `--long` to
 * 10,000. Prints a table; fails if a promise is broken. The programs of the test cluster are built at the first time.
 *
 *     npm run bench:controller [-- --long]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeObject } from '../src/kube/client.ts'
import { installCrds } from '../test/cluster/install-crds.ts'
import { startCluster } from '../test/cluster/kit/cluster.ts'
import { auditPosition, callsBy, writesIn } from '../test/cluster/support/audit.ts'
import { makeControllerAccount } from '../test/cluster/support/controller-account.ts'
import { type Server, startServer } from './processes.ts'
import { Table } from './table.ts'

const IS_LONG = process.argv.includes('--long')
const NAMESPACES = IS_LONG ? 10_000 : 2_000
const OWN = 'credential-injector'
const NAME = 'shared'
const USER = `system:serviceaccount:${OWN}:credential-injector-controller`
/** Requests of the preparation at once. */
const LANES = 32
const IDLE_SECONDS = 120

const SELECTOR = 'labelSelector=credentials.run.ai%2Fcopy'

const table = new Table()
const cluster = await startCluster({ name: 'bench' })
try {
  const account = await prepare()
  const start = () => startServer(['dist/controller.js', 'controller', ...flags(account.kubeconfig)])
  let controller = await start()
  table.row('memory before there is anything to copy', megabytes(controller))
  await offer('first')
  controller = await distribution(controller, start)
  await rotation()
  table.row('memory after it', megabytes(controller))
  await idleness()
  await withdrawal()
  await controller.stop()
} finally {
  await cluster.stop()
}
process.exitCode = table.finish() ? 0 : 1

// ---- The cluster -----------------------------------------------------------------------------------------------------

async function prepare() {
  await installCrds(cluster.client)
  await cluster.client.create('/api/v1/namespaces', { metadata: { name: OWN } })
  const account = await makeControllerAccount(cluster, OWN)
  const names = Array.from({ length: NAMESPACES }, (_, index) => `team-${index}`)
  const lane = async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop())
      await cluster.client.create('/api/v1/namespaces', { metadata: { name, labels: { shared: 'true' } } })
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return account
}

function flags(kubeconfig: string): string[] {
  return ['--kubeconfig', kubeconfig, '--namespace', OWN, '--metrics-port', '0', '--lease-duration', '2']
}

async function offer(token: string): Promise<void> {
  await writeSource(token)
  await cluster.client.create('/apis/run.ai/v1/clustercredentials', {
    apiVersion: 'run.ai/v1',
    kind: 'ClusterCredential',
    metadata: { name: NAME },
    spec: {
      type: 'environment',
      secretRef: { name: NAME },
      namespaceSelector: { matchLabels: { shared: 'true' } },
    },
  })
}

async function writeSource(token: string): Promise<void> {
  const path = `/api/v1/namespaces/${OWN}/secrets/${NAME}?fieldManager=bench&force=true`
  await cluster.client.patch(path, 'application/apply-patch+yaml', {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: NAME, namespace: OWN },
    data: { TOKEN: encoded(token) },
  })
}

function encoded(token: string): string {
  return Buffer.from(token).toString('base64')
}

// ---- Measurements ----------------------------------------------------------------------------------------------------

/** Killed when half of the copies are there; the next one does the rest. */
async function distribution(first: Server, start: () => Promise<Server>): Promise<Server> {
  const since = auditPosition(cluster)
  const [half, whole] = await follow(async () => {
    await first.stop('SIGKILL')
    return start()
  })
  table.row(`${NAMESPACES / 2} copies, until the controller is killed`, `${seconds(half)}`)
  table.row(`all ${NAMESPACES}, by the next one, a lease of 2 s included`, seconds(whole.time))
  const { 'create secrets': creates = 0, ...others } = writesIn(callsBy(cluster, USER, since))
  table.row('  requests that create copies', `${(creates / NAMESPACES).toFixed(3)} for each copy`, {
    // Those that the killed one had under way may have been tried again.
    sentence: 'one, but for 16 under way',
    kept: creates <= NAMESPACES + 16,
  })
  const { 'patch clustercredentials/status': statuses = 0 } = others
  const most = (half + whole.time) / 1000 + 3
  table.row('  writes of the status', `${statuses}`, { sentence: 'one a second', kept: statuses <= most })
  return whole.next
}

async function rotation(): Promise<void> {
  const since = auditPosition(cluster)
  const times: number[] = []
  const value = encoded('second')
  const watching = new AbortController()
  const started = performance.now()
  const seen = (async () => {
    const right = new Set<string>()
    const { resourceVersion } = (await list()).metadata
    const path = `/api/v1/secrets?watch=true&resourceVersion=${resourceVersion}&${SELECTOR}`
    for await (const event of cluster.client.stream(path, { signal: watching.signal })) {
      const { object } = event as { object: Copy }
      if (object.data?.TOKEN !== value || right.has(object.metadata.namespace as string)) continue
      right.add(object.metadata.namespace as string)
      times.push(performance.now() - started)
      if (right.size === NAMESPACES) return
    }
  })()
  await writeSource('second')
  await seen
  watching.abort()
  const at = (part: number) => times[Math.ceil(times.length * part) - 1] as number
  table.row('rotation: half of the copies have it after', seconds(at(0.5)))
  table.row(
    '  99 % after',
    `${seconds(at(0.99))} (${Math.round(NAMESPACES / (at(1) / 1000))} copies a second)`,
  )
  await sleep(3_000)
  const { 'update secrets': updates = 0 } = callsBy(cluster, USER, since)
  table.row('  requests', `${(updates / NAMESPACES).toFixed(3)} for each copy`, {
    sentence: 'one',
    kept: updates === NAMESPACES,
  })
}

async function idleness(): Promise<void> {
  const since = auditPosition(cluster)
  await sleep(IDLE_SECONDS * 1000)
  const { 'update leases': renewals = 0, ...writes } = writesIn(callsBy(cluster, USER, since))
  table.row(`idle for ${IDLE_SECONDS} s`, `${JSON.stringify(writes)} but ${renewals} renewals of the lease`, {
    sentence: 'no write',
    kept: Object.keys(writes).length === 0,
  })
}

async function withdrawal(): Promise<void> {
  const started = performance.now()
  await cluster.client.patch(`/apis/run.ai/v1/clustercredentials/${NAME}`, 'application/merge-patch+json', {
    spec: { namespaceSelector: { matchLabels: { shared: 'no' } } },
  })
  while ((await list()).items.length > 0) await sleep(100)
  table.row('offered to nobody any more: all copies gone after', seconds(performance.now() - started))
}

interface Copy extends KubeObject {
  readonly data?: { readonly TOKEN?: string }
}

function list(): Promise<{ metadata: { resourceVersion: string }; items: Copy[] }> {
  return cluster.client.get(`/api/v1/secrets?${SELECTOR}`)
}

/** Times until half of the copies are there and `then` is done, and from there until all are. */
async function follow(
  then: () => Promise<Server>,
): Promise<[half: number, whole: { time: number; next: Server }]> {
  const started = performance.now()
  while ((await list()).items.length < NAMESPACES / 2) await sleep(20)
  const half = performance.now() - started
  const again = performance.now()
  const next = await then()
  while ((await list()).items.length < NAMESPACES) await sleep(20)
  return [half, { time: performance.now() - again, next }]
}

// ---- Figures ---------------------------------------------------------------------------------------------------------

function megabytes(server: Server): string {
  return `${server.memory().toFixed(0)} MiB`
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`
}
