/** Who uses which credential, on a real API server: pods of all origins, crowds of them, and controllers that die or are cut off. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { ClusterCredentialStatus } from '../../src/api/status.ts'
import type { KubeObject } from '../../src/kube/client.ts'
import { base64 } from '../support/secrets.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { whenObject } from './kit/watch.ts'
import { auditPosition, auditRecords } from './support/audit.ts'
import { type ControllerAccount, makeControllerAccount } from './support/controller-account.ts'
import { randomly, startFaultyProxy } from './support/faulty-proxy.ts'
import { type Process, startController as startProcess } from './support/processes.ts'
import {
  grantRights,
  kubeconfigBy,
  makeWebhookAccount,
  register,
  startWebhook,
  type WebhookProcess,
} from './support/webhook-process.ts'
import { diff, snapshot } from './support/world.ts'

const OWN = 'credential-injector'
const TEAM = 'runai-team-a'
/** The webhook is not asked about its pods. */
const CROWDED = 'runai-team-b'
const USER = `system:serviceaccount:${OWN}:credential-injector-controller`
const credentialsIn = (namespace: string) => `/apis/run.ai/v1/namespaces/${namespace}/credentials`
const CREDENTIALS = credentialsIn(TEAM)
const CLUSTER_CREDENTIALS = '/apis/run.ai/v1/clustercredentials'
const podsIn = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`
const PODS = podsIn(TEAM)
const MERGE = 'application/merge-patch+json'

// A cluster of its own: its API server dies, and it holds more pods than others should have to list.
let cluster: Cluster
let account: ControllerAccount
let webhook: WebhookProcess
const running: Process[] = []

beforeAll(async () => {
  cluster = await startCluster({ name: 'usage' })
  await installCrds(cluster.client)
  await cluster.createNamespace(OWN)
  await cluster.createNamespace(TEAM, { injected: 'yes', team: 'a' })
  await cluster.createNamespace(CROWDED)
  account = await makeControllerAccount(cluster, OWN)
  const token = await makeWebhookAccount(cluster, OWN)
  await grantRights(cluster, OWN)
  webhook = await startWebhook(kubeconfigBy(cluster, cluster.url, token), ['--log-level', 'warn'])
  await eventually('the webhook is ready', () => webhook.isReady())
  await register(cluster, webhook, TEAM)
})

afterEach(stopAll)

afterAll(async () => {
  await webhook?.stop()
  await cluster?.stop()
})

async function stopAll(): Promise<void> {
  await Promise.all(running.splice(0).map((process) => process.stop()))
}

async function startController(kubeconfig = account.kubeconfig, leaseSeconds = 3): Promise<Process> {
  const flags = ['--namespace', OWN, '--lease-duration', `${leaseSeconds}`, '--log-level', 'info']
  const process = await startProcess(kubeconfig, flags)
  running.push(process)
  return process
}

const leads = (process: Process) =>
  eventually('it leads', () => process.stderr().includes('this instance leads'))

// ---- Objects ---------------------------------------------------------------------------------------------------------

interface Stored extends KubeObject {
  readonly status?: ClusterCredentialStatus
}

async function makeCredential(name: string, namespace = TEAM): Promise<void> {
  const secret = `${name}-secret`
  await cluster.client.create(`/api/v1/namespaces/${namespace}/secrets`, {
    metadata: { name: secret },
    data: { TOKEN: base64(`token of ${name}`) },
  })
  await cluster.client.create(credentialsIn(namespace), {
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { name },
    spec: { secretRef: { name: secret }, type: 'environment' },
  })
}

const rotate = (secret: string, value: string) =>
  cluster.client.patch(`/api/v1/namespaces/${TEAM}/secrets/${secret}`, MERGE, {
    data: { TOKEN: base64(value) },
  })

const annotated = (names: string) => ({ annotations: { 'credentials.run.ai/inject': names } })

const container = (secret?: string) => ({
  name: 'main',
  image: 'none',
  ...(secret && { envFrom: [{ secretRef: { name: secret } }] }),
})

function pod(name: string, metadata: object, secret?: string) {
  return {
    metadata: { name, ...metadata },
    spec: { containers: [container(secret)], terminationGracePeriodSeconds: 0 },
  }
}

function template(app: string, metadata: object, secret?: string) {
  return { metadata: { labels: { app }, ...metadata }, spec: { containers: [container(secret)] } }
}

const create = (group: string, plural: string, body: object) =>
  cluster.client.create<KubeObject>(`/apis/${group}/v1/namespaces/${TEAM}/${plural}`, body)

/** The credential as soon as its status is so. */
const whenStatus = (
  name: string,
  isRight: (status: ClusterCredentialStatus) => boolean,
  collection = CREDENTIALS,
) =>
  whenObject<Stored>(
    cluster.client,
    collection,
    name,
    ({ status }) => status !== undefined && isRight(status),
    150_000,
  )

const whenUsedBy = (name: string, pods: number, collection = CREDENTIALS) =>
  whenStatus(name, ({ usedBy }) => usedBy?.pods === pods, collection)

/** Writes of the controller to that credential's status since then. */
function statusWrites(name: string, since: number): number {
  return auditRecords(cluster, since).filter(
    ({ verb, user, objectRef = {}, responseStatus }) =>
      verb === 'patch' &&
      user.username === USER &&
      objectRef.subresource === 'status' &&
      objectRef.name === name &&
      responseStatus?.code === 200,
  ).length
}

/** Notes how many pods every stored status of the credential says, each time that it is another number. */
async function noteCounts(name: string): Promise<{ counts: number[]; until(last: number): Promise<void> }> {
  const end = new AbortController()
  const path = `${credentialsIn(CROWDED)}?fieldSelector=metadata.name=${name}`
  const { items, metadata } = await cluster.client.get<any>(path)
  const counts: number[] = [items[0]?.status?.usedBy?.pods ?? 0]
  const events = cluster.client.stream(`${path}&watch=true&resourceVersion=${metadata.resourceVersion}`, {
    signal: end.signal,
  }) as AsyncIterable<{ object: Stored }>
  const noting = (async () => {
    for await (const { object } of events) {
      const pods = object.status?.usedBy?.pods ?? 0
      if (pods !== counts.at(-1)) counts.push(pods)
    }
  })().catch(() => {})
  return {
    counts,
    async until(last) {
      await eventually(`it says ${last}`, () => counts.at(-1) === last)
      end.abort()
      await noting
    },
  }
}

/** Pods that refer to the Secret, a few at a time; `perSecond` is how many of them begin in a second. */
async function makePods(prefix: string, count: number, secret: string, perSecond?: number): Promise<void> {
  const began = Date.now()
  let next = 0
  const row = async () => {
    while (next < count) {
      const n = next++
      if (perSecond) await until(began + (n / perSecond) * 1000)
      await cluster.client.create(podsIn(CROWDED), pod(`${prefix}-${n}`, {}, secret))
    }
  }
  await Promise.all(Array.from({ length: 16 }, row))
}

/** The rate of pods is what the test is about, not something that it waits for. */
const until = (time: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, time - Date.now())))

const deletePods = () =>
  cluster.kubectl(['-n', TEAM, 'delete', 'pods', '--all', '--force', '--grace-period=0', '--wait=false'])

/** As a kubelet would say it. */
async function run(name: string, startedAt: number): Promise<void> {
  const state = { running: { startedAt: `${new Date(startedAt).toISOString().slice(0, 19)}Z` } }
  const one = { name: 'main', image: 'none', imageID: '', restartCount: 0, ready: true, state }
  await cluster.client.patch(`${PODS}/${name}/status`, MERGE, {
    status: { phase: 'Running', containerStatuses: [one] },
  })
}

async function eventsOf(reason: string, kind: string): Promise<any[]> {
  const path = `/api/v1/namespaces/${TEAM}/events?fieldSelector=reason=${reason},involvedObject.kind=${kind}`
  return (await cluster.client.get<{ items: any[] }>(path)).items
}

// ---- Tests -----------------------------------------------------------------------------------------------------------

describe('who uses a credential', () => {
  afterAll(async () => {
    await cluster.kubectl(['-n', TEAM, 'delete', 'deploy,sts,job,cronjob,pod', '--all', '--wait=false'])
  })

  test('is every pod that refers to its Secret, by its workload; the platform documentation finds the same', async () => {
    await makeCredential('wandb')
    await cluster.client.create(CLUSTER_CREDENTIALS, {
      apiVersion: 'run.ai/v1',
      kind: 'ClusterCredential',
      metadata: { name: 'shared' },
      spec: {
        secretRef: { name: 'shared-source' },
        type: 'environment',
        namespaceSelector: { matchLabels: { team: 'a' } },
      },
    })
    await startController()
    const asks = annotated('wandb, cluster/shared')
    const workload = (app: string, metadata: object, secret?: string) => ({
      metadata: { name: app },
      spec: { replicas: 2, selector: { matchLabels: { app } }, template: template(app, metadata, secret) },
    })
    const podsOf = (count: number) => ({
      completions: count,
      parallelism: count,
      template: { ...template('j', asks), spec: { ...template('j', asks).spec, restartPolicy: 'Never' } },
    })
    // The webhook learns of credentials by a watch.
    await eventually('the webhook injects them', () =>
      cluster.client.create(`${PODS}?dryRun=All`, pod('first', asks)).then(
        () => true,
        () => false,
      ),
    )
    await create('apps', 'deployments', workload('notebook', asks))
    await create('apps', 'statefulsets', { ...workload('by-hand', {}, 'wandb-secret') })
    await create('batch', 'jobs', { metadata: { name: 'once' }, spec: podsOf(1) })
    const nightly = await create('batch', 'cronjobs', {
      metadata: { name: 'nightly' },
      spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: podsOf(1) } },
    })
    const { name, uid } = nightly.metadata
    await create('batch', 'jobs', {
      metadata: {
        name: 'nightly-1',
        ownerReferences: [{ apiVersion: 'batch/v1', kind: 'CronJob', name, uid, controller: true }],
      },
      spec: podsOf(1),
    })
    await cluster.client.create(PODS, pod('bare', asks))
    await cluster.client.create(
      PODS,
      pod('forged', { annotations: { 'credentials.run.ai/injected': 'Credential/wandb' } }),
    )

    // A StatefulSet without a node has one pod: the next waits for the first.
    const { status } = await whenUsedBy('wandb', 6)
    expect(status?.usedBy).toEqual({
      pods: 6,
      workloads: 4,
      names: [
        'CronJob/nightly',
        'Deployment/notebook',
        'Job/once',
        'Pod/bare',
        'StatefulSet/by-hand (by hand)',
      ],
    })
    expect(Date.parse(status?.lastUsed ?? '')).toBeGreaterThan(0)
    const shared = await whenUsedBy('shared', 5, CLUSTER_CREDENTIALS)
    expect(shared.status?.usedBy?.names?.slice(1, 3)).toEqual([
      `${TEAM}/Deployment/notebook`,
      `${TEAM}/Job/once`,
    ])

    const line = '{.items[*].spec.containers[*].envFrom[*].secretRef.name}'
    const found = await cluster.kubectl(['get', 'pods', '-n', TEAM, '-o', `jsonpath=${line}`])
    const count = (secret: string) => found.split(' ').filter((each) => each === secret).length
    expect([count('wandb-secret'), count('credential-shared')]).toEqual([6, 5])

    const columns = await cluster.kubectl(['get', 'credential', '-n', TEAM, 'wandb'])
    expect(columns).toMatch(/USED BY[\s\S]*True +6/)
    const metrics = await (await fetch(running[0]?.metricsUrl as string)).text()
    const series = `credential_injector_controller_credential_pods{kind="Credential",namespace="${TEAM}",name="wandb"`
    expect(metrics).toContain(`${series},by="injector"} 5`)
    expect(metrics).toContain(`${series},by="hand"} 1`)
  })

  test('is nobody any more when they have ended or are gone, and it says since when', async () => {
    await startController()
    await cluster.kubectl(['-n', TEAM, 'delete', 'deploy,sts,job,cronjob', '--all', '--wait=false'])
    await cluster.client.patch(`${PODS}/bare/status`, MERGE, { status: { phase: 'Succeeded' } })
    const { status } = await whenUsedBy('wandb', 0)
    expect(status?.usedBy).toEqual({ pods: 0, workloads: 0, names: [] })
  })
})

describe('stale', () => {
  test('are pods with variables from before a rotation, said once, whoever leads', async () => {
    await makeCredential('rotated')
    const controller = await startController()
    await whenStatus('rotated', ({ revision }) => revision !== undefined)
    await eventually('the webhook injects it', () =>
      cluster.client.create(`${PODS}?dryRun=All`, pod('first', annotated('rotated'))).then(
        () => true,
        () => false,
      ),
    )
    await create('apps', 'deployments', {
      metadata: { name: 'server' },
      spec: { selector: { matchLabels: { app: 's' } }, template: template('s', annotated('rotated')) },
    })
    await cluster.client.create(PODS, pod('old', {}, 'rotated-secret'))
    await cluster.client.create(PODS, pod('waits', annotated('rotated')))
    await whenUsedBy('rotated', 3)
    const [server] = (await cluster.client.get<any>(`${PODS}?labelSelector=app%3Ds`)).items
    const long = Date.now() - 60_000
    await run(server.metadata.name, long)
    await run('old', long)

    await rotate('rotated-secret', 'the next token')
    const { status } = await whenStatus('rotated', ({ stale }) => stale !== undefined)
    expect(status?.stale).toEqual({ pods: 2, names: ['Deployment/server', 'Pod/old'] })

    // A new leader has nothing to add to that.
    const next = await startController()
    controller.signal('SIGKILL')
    await controller.exited
    await leads(next)
    // Made after the rotation: fresh at once, by its record.
    await cluster.client.create(PODS, pod('new', annotated('rotated')))
    await run('new', Date.parse(status?.lastRotated ?? ''))
    // Its container was restarted long after the rotation.
    await run('old', Date.now() + 60_000)
    const after = await whenStatus('rotated', ({ stale, usedBy }) => stale?.pods === 1 && usedBy?.pods === 4)
    expect(after.status?.stale?.names).toEqual(['Deployment/server'])

    const about = async (kind: string) =>
      (await eventsOf('Stale', kind)).map(({ involvedObject, message, count }) => [
        involvedObject.name,
        message,
        count,
      ])
    const at = status?.lastRotated
    const remedy =
      'Restart to take the new content, as with kubectl rollout restart, or let the controller do it: rotation.restart: Automatic.'
    expect(await about('Credential')).toEqual([
      [
        'rotated',
        `2 pods run with variables from before the rotation at ${at}. ${remedy} Who: Deployment/server, Pod/old`,
        1,
      ],
    ])
    expect(await about('Deployment')).toEqual([
      [
        'server',
        `Its pods run with variables from before the rotation of Credential rotated at ${at}. ${remedy}`,
        1,
      ],
    ])
    expect(await about('Pod')).toEqual([
      ['old', `It runs with variables from before the rotation of Credential rotated at ${at}. ${remedy}`, 1],
    ])
    const metrics = await (await fetch(next.metricsUrl)).text()
    expect(metrics).toContain(
      `credential_stale_pods{kind="Credential",namespace="${TEAM}",name="rotated"} 1\n`,
    )

    await cluster.kubectl(['-n', TEAM, 'delete', 'deploy', '--all'])
    await deletePods()
    const last = await whenUsedBy('rotated', 0)
    expect(last.status).not.toHaveProperty('stale')
  })

  test('of a ClusterCredential are those that started before their copy had the new content', async () => {
    const write = (namespace: string, name: string, value: string) =>
      cluster.client.patch(`/api/v1/namespaces/${namespace}/secrets/${name}`, MERGE, {
        data: { TOKEN: base64(value) },
      })
    // Copies are another duty's; here they come when the test says so.
    for (const [namespace, name] of [
      [OWN, 'shared-source'],
      [TEAM, 'credential-shared'],
    ])
      await cluster.client.create(`/api/v1/namespaces/${namespace}/secrets`, {
        metadata: { name },
        data: { TOKEN: base64('first token') },
      })
    await startController()
    await whenStatus('shared', ({ revision }) => revision !== undefined, CLUSTER_CREDENTIALS)
    await cluster.client.create(PODS, pod('of-copy', {}, 'credential-shared'))
    await cluster.client.create(PODS, pod('long-ago', {}, 'credential-shared'))
    await write(OWN, 'shared-source', 'second token')
    const { status } = await whenStatus(
      'shared',
      ({ lastRotated }) => lastRotated !== undefined,
      CLUSTER_CREDENTIALS,
    )
    const rotated = Date.parse(status?.lastRotated ?? '')
    await run('of-copy', rotated + 6_000)
    await run('long-ago', rotated - 60_000)
    const listed = async () => {
      const { status: its } = await cluster.client.get<Stored>(`${CLUSTER_CREDENTIALS}/shared`)
      return its?.stale?.names ?? []
    }
    await eventually('one is stale', async () => (await listed()).length === 1)
    expect(await listed()).toEqual([`${TEAM}/Pod/long-ago`])
    // Times have whole seconds: it has come later than the rotation when it has come in another one.
    let count = 0
    await eventually('both are stale', async () => {
      await write(TEAM, 'credential-shared', `second token, ${++count}`)
      return (await listed()).length === 2
    })
    expect(await listed()).toEqual([`${TEAM}/Pod/long-ago`, `${TEAM}/Pod/of-copy`])
    await deletePods()
  })
})

describe('a crowd of pods', () => {
  const CROWD = 1_500
  const PER_SECOND = 50
  let since: number
  let seconds: number

  const whenPopular = (pods: number) => whenUsedBy('popular', pods, credentialsIn(CROWDED))
  const onePod = (name: string, secret = 'popular-secret') =>
    cluster.client.create(podsIn(CROWDED), pod(name, {}, secret))

  beforeAll(async () => {
    await makeCredential('popular', CROWDED)
    await makeCredential('quiet', CROWDED)
    await startController()
    const isSeen = ({ revision }: ClusterCredentialStatus) => revision !== undefined
    await whenStatus('popular', isSeen, credentialsIn(CROWDED))
    since = auditPosition(cluster)
    const began = Date.now()
    await makePods('crowd', CROWD, 'popular-secret', PER_SECOND)
    seconds = (Date.now() - began) / 1000
  })

  test('costs a status less than a write a second, and is counted right', async () => {
    const { status } = await whenPopular(CROWD)
    expect(status?.usedBy?.names).toHaveLength(20)
    const writes = statusWrites('popular', since)
    process.stderr.write(`${CROWD} pods in ${seconds.toFixed(1)} s: ${writes} writes of the status\n`)
    expect(writes).toBeGreaterThan(0)
    expect(writes).toBeLessThan(seconds)
    expect(statusWrites('quiet', since)).toBeLessThanOrEqual(1)
  })

  test('is known before a new controller says anything, however often it dies', async () => {
    const noted = await noteCounts('popular')
    for (let round = 0; round < 3; round++) {
      const controller = await startController()
      await leads(controller)
      await onePod(`after-${round}`)
      // In the middle of the write, before it or after it.
      if (round > 0) await whenPopular(CROWD + round + 1)
      controller.signal('SIGKILL')
      await controller.exited
    }
    const both = [await startController(), await startController()] as const
    const isLeader = (each: Process) => each.stderr().includes('this instance leads')
    await eventually('one of them leads', () => both.some(isLeader))
    await whenPopular(CROWD + 3)
    const [leader, other] = isLeader(both[0]) ? both : ([both[1], both[0]] as const)
    leader.signal('SIGKILL')
    await leader.exited
    await leads(other)
    await onePod('after-3')
    await whenPopular(CROWD + 4)
    await noted.until(CROWD + 4)
    // Only upwards: nobody began with less than all.
    expect(noted.counts).toEqual([...noted.counts].sort((a, b) => a - b))
    expect(noted.counts[0]).toBe(CROWD)
  })

  test('is still known when the API server was away', async () => {
    // Whoever cannot renew its lease for long ends, and is started anew: that is not what this is about.
    const controller = await startController(account.kubeconfig, 300)
    await leads(controller)
    await cluster.stopApiServer('SIGKILL')
    await cluster.startApiServer()
    const noted = await noteCounts('popular')
    await onePod('after-4')
    await whenPopular(CROWD + 5)
    await noted.until(CROWD + 5)
    expect(noted.counts).toEqual([CROWD + 4, CROWD + 5])
  })

  test('costs nothing while it stays, and nothing else is touched', async () => {
    const ours = ['secrets', 'pods', 'credentials.run.ai', 'clustercredentials.run.ai']
    const before = await snapshot(cluster, ours)
    const controller = await startController()
    await leads(controller)
    const start = auditPosition(cluster)
    await onePod('last', 'quiet-secret')
    await whenUsedBy('quiet', 1, credentialsIn(CROWDED))
    expect(statusWrites('popular', start)).toBe(0)
    expect(statusWrites('quiet', start)).toBe(1)
    expect(diff(before, await snapshot(cluster, ours))).toEqual([`added pods ${CROWDED}/last`])
  })

  test('comes out right through a server that answers with errors and breaks connections', async () => {
    const proxy = await startFaultyProxy(cluster, account.token)
    try {
      const controller = await startController(proxy.kubeconfig)
      await leads(controller)
      proxy.plan = randomly(1, 0.5)
      await makeCredential('unlucky', CROWDED)
      for (let round = 0; round < 5; round++) {
        await makePods(`unlucky-${round}`, 20, 'unlucky-secret')
        proxy.cutWatches()
      }
      await cluster.client.delete(`${podsIn(CROWDED)}/unlucky-0-0?gracePeriodSeconds=0`)
      await whenUsedBy('unlucky', 99, credentialsIn(CROWDED))
      expect([...proxy.faults.values()].reduce((a, b) => a + b, 0)).toBeGreaterThan(2)
    } finally {
      await stopAll()
      await proxy.stop()
    }
  })
})
