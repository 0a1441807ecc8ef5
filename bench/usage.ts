/**
 * Measures on a real API server what a crowd of pods costs the controller that counts who uses which credential, and prints a
 * table. Fails if a promise is broken. Pods are made without nodes: they wait, and count all the same.
 *
 *     npm run bench:controller
 */
import type { CredentialStatus } from '../src/api/status.ts'
import type { KubeObject } from '../src/kube/client.ts'
import { installCrds } from '../test/cluster/install-crds.ts'
import { startCluster } from '../test/cluster/kit/cluster.ts'
import { whenObject } from '../test/cluster/kit/watch.ts'
import { auditPosition, auditRecords } from '../test/cluster/support/audit.ts'
import { makeControllerAccount } from '../test/cluster/support/controller-account.ts'
import { startController } from '../test/cluster/support/processes.ts'
import { residentMemory } from './processes.ts'
import { Table } from './table.ts'

const PODS = Number(process.env.BENCH_PODS ?? 5_000)
const PER_SECOND = 50
const LANES = 16
const OWN = 'credential-injector'
const TEAM = 'team'
const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
/** Every pod uses all of them. */
const NAMES = ['wandb', 'postgres']

interface Stored extends KubeObject {
  readonly status?: CredentialStatus
}

const table = new Table()
const cluster = await startCluster({ name: 'bench-usage' })
try {
  await installCrds(cluster.client)
  await cluster.createNamespace(OWN)
  await cluster.createNamespace(TEAM)
  const { kubeconfig } = await makeControllerAccount(cluster, OWN)
  for (const name of NAMES) await makeCredential(name)
  await crowd(kubeconfig)
  await newStart(kubeconfig)
} finally {
  await cluster.stop()
}
process.exitCode = table.finish() ? 0 : 1

async function makeCredential(name: string): Promise<void> {
  await cluster.client.create(`/api/v1/namespaces/${TEAM}/secrets`, { metadata: { name }, data: {} })
  await cluster.client.create(CREDENTIALS, {
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { name },
    spec: { secretRef: { name }, type: 'environment' },
  })
}

async function crowd(kubeconfig: string): Promise<void> {
  const controller = await startController(kubeconfig, ['--namespace', OWN])
  await Promise.all(NAMES.map((name) => when(name, ({ revision }) => revision !== undefined)))
  table.row('memory of the controller without pods', mebibytes(residentMemory(controller.pid)))
  const since = auditPosition(cluster)
  const began = performance.now()
  await makePods(began)
  const made = performance.now()
  await Promise.all(NAMES.map(whenCounted))
  const counted = performance.now()
  const took = (counted - began) / 1000
  table.row(
    `${PODS} pods`,
    `in ${seconds(made - began)}, ${(PODS / ((made - began) / 1000)).toFixed(0)} a second`,
  )
  for (const name of NAMES) {
    const writes = statusWrites(name, since)
    const rate = writes / took
    table.row(`  writes of the status of ${name}`, `${writes}, ${rate.toFixed(2)} a second`, {
      sentence: 'below 1 a second',
      kept: rate < 1,
    })
  }
  table.row('  the count is right after the last pod', seconds(counted - made))
  table.row('  memory of the controller then', mebibytes(residentMemory(controller.pid)))
  await controller.stop()
}

/** Nothing has changed meanwhile: there is nothing to write. */
async function newStart(kubeconfig: string): Promise<void> {
  const since = auditPosition(cluster)
  const began = performance.now()
  const controller = await startController(kubeconfig, ['--namespace', OWN])
  table.row(`start with ${PODS} pods until it is ready`, seconds(performance.now() - began))
  // It is written after everything else that a start could write.
  await makeCredential('another')
  await when('another', ({ revision }) => revision !== undefined)
  const writes = NAMES.reduce((sum, name) => sum + statusWrites(name, since), 0)
  table.row('  writes of their statuses', `${writes}`, { sentence: 'none', kept: writes === 0 })
  table.row('  memory', mebibytes(residentMemory(controller.pid)))
  await controller.stop()
}

async function makePods(began: number): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < PODS) {
      const index = next++
      await until(began + (index / PER_SECOND) * 1000)
      await cluster.client.create(`/api/v1/namespaces/${TEAM}/pods`, {
        metadata: { name: `pod-${index}` },
        spec: {
          containers: [
            { name: 'main', image: 'none', envFrom: NAMES.map((name) => ({ secretRef: { name } })) },
          ],
        },
      })
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

function until(time: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, time - performance.now())))
}

function when(name: string, isRight: (status: CredentialStatus) => boolean): Promise<Stored> {
  return whenObject<Stored>(cluster.client, CREDENTIALS, name, ({ status }) => !!status && isRight(status))
}

function whenCounted(name: string): Promise<Stored> {
  return when(name, ({ usedBy }) => usedBy?.pods === PODS)
}

function statusWrites(name: string, since: number): number {
  return auditRecords(cluster, since).filter(
    ({ verb, objectRef = {}, responseStatus }) =>
      verb === 'patch' &&
      objectRef.resource === 'credentials' &&
      objectRef.subresource === 'status' &&
      objectRef.name === name &&
      responseStatus?.code === 200,
  ).length
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`
}

function mebibytes(count: number): string {
  return `${count.toFixed(0)} MiB`
}
