/**
 * Restarts of workloads for rotations: the controller as a process of its own, with the rights that the chart gives it, against a
 * real control plane. There is no node: a pretended kubelet says that pods run.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { CredentialStatus } from '../../src/api/status.ts'
import type { KubeObject } from '../../src/kube/client.ts'
import { base64, CANARY } from '../support/secrets.ts'
import { installCrds } from './install-crds.ts'
import type { Cluster } from './kit/cluster.ts'
import { say } from './kit/programs.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { type AuditRecord, auditPosition, auditRecords, callsBy, writesIn } from './support/audit.ts'
import { type ControllerAccount, makeControllerAccount } from './support/controller-account.ts'
import { randomly, startFaultyProxy } from './support/faulty-proxy.ts'
import { type PretendedKubelet, pretendKubelet } from './support/pretended-kubelet.ts'
import { type Process, startController } from './support/processes.ts'
import { diff, snapshot } from './support/world.ts'

const OWN = 'rotation-injector'
const RECORD = 'credentials.run.ai/restarted-for'
const MERGE = 'application/merge-patch+json'
const RELEASE = { fullnameOverride: 'rotation' }
const USER = `system:serviceaccount:${OWN}:rotation-controller`

let cluster: Cluster
let account: ControllerAccount
let said = ''

beforeAll(async () => {
  cluster = sharedCluster()
  await installCrds(cluster.client)
  await cluster.createNamespace(OWN)
  account = await makeControllerAccount(cluster, OWN, RELEASE)
})

afterAll(async () => {
  await account.remove()
  await cluster.kubectl(['delete', 'namespace', OWN, '--wait=false'])
})

// ---- A namespace for each test -----------------------------------------------------------------------------------------

let team: string
let kubelet: PretendedKubelet
let namespaces = 0

beforeEach(async () => {
  team = `rotation-team-${++namespaces}`
  await cluster.createNamespace(team)
  kubelet = pretendKubelet(cluster.client, team)
})

afterEach(async () => {
  await endControllers()
  await kubelet.stop()
  await cluster.kubectl(['delete', 'namespace', team, '--wait=false'])
})

const running: Process[] = []

/** Three seconds of settling are more than the edits of a test take, and a short lease is soon somebody else's. */
async function start(flags: string[] = [], kubeconfig = account.kubeconfig): Promise<Process> {
  const always = ['--namespace', OWN, '--lease-duration', '3', '--rotation-settle', '3']
  const controller = await startController(kubeconfig, [...always, ...flags])
  running.push(controller)
  return controller
}

async function endControllers(): Promise<void> {
  for (const controller of running.splice(0)) {
    controller.signal('SIGTERM')
    await controller.exited
    said += controller.stdout() + controller.stderr()
  }
}

// ---- Objects -----------------------------------------------------------------------------------------------------------

type Kind = 'Deployment' | 'StatefulSet' | 'DaemonSet'
const PLURALS = { Deployment: 'deployments', StatefulSet: 'statefulsets', DaemonSet: 'daemonsets' } as const

interface Stored extends KubeObject {
  readonly spec: any
  readonly status?: any
}

const workloadsPath = (kind: Kind) => `/apis/apps/v1/namespaces/${team}/${PLURALS[kind]}`
const secretsPath = () => `/api/v1/namespaces/${team}/secrets`
const credentialsPath = () => `/apis/run.ai/v1/namespaces/${team}/credentials`

async function makeCredential(name: string, restart = 'Automatic', more: object = {}): Promise<void> {
  await cluster.client.create(secretsPath(), {
    metadata: { name },
    data: { TOKEN: base64(`first-${CANARY}`) },
  })
  await cluster.client.create(credentialsPath(), {
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { name },
    spec: { secretRef: { name }, type: 'environment', rotation: { restart }, ...more },
  })
}

interface CredentialObject extends KubeObject {
  readonly status?: CredentialStatus
}

let edits = 0
/** Changes the Secret; resolves when the controller has seen it. */
async function rotate(name: string): Promise<CredentialStatus> {
  const { status } = await cluster.client.get<CredentialObject>(`${credentialsPath()}/${name}`)
  await edit(name)
  const after = await whenObject<CredentialObject>(
    cluster.client,
    credentialsPath(),
    name,
    (object) => object.status?.revision !== status?.revision,
  )
  return after.status as CredentialStatus
}

function edit(name: string): Promise<unknown> {
  const data = { TOKEN: base64(`edit-${++edits}-${CANARY}`) }
  return cluster.client.patch(`${secretsPath()}/${name}`, MERGE, { data })
}

interface Shape {
  readonly kind?: Kind
  readonly annotations?: Record<string, string>
  readonly onTemplate?: Record<string, string>
  readonly spec?: object
  readonly uses?: string
}

function manifest(name: string, shape: Shape = {}) {
  const { kind = 'Deployment', annotations, onTemplate, spec = {}, uses = 'wandb' } = shape
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: team, ...(annotations && { annotations }) },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name }, ...(onTemplate && { annotations: onTemplate }) },
        spec: podSpec(uses),
      },
      ...spec,
    },
  }
}

const podSpec = (uses: string) => ({
  containers: [{ name: 'main', image: 'i', envFrom: [{ secretRef: { name: uses } }] }],
})

/** Resolves when its pods are said to run. */
async function makeWorkload(name: string, shape: Shape = {}): Promise<void> {
  await cluster.client.create(workloadsPath(shape.kind ?? 'Deployment'), manifest(name, shape))
  if (shape.kind !== 'DaemonSet' && shape.spec === undefined) await whenAvailable(name, shape.kind)
}

function whenAvailable(name: string, kind: Kind = 'Deployment', generation = 1): Promise<Stored> {
  return when(
    name,
    ({ spec, status }) =>
      status?.observedGeneration >= generation &&
      status?.updatedReplicas === spec.replicas &&
      status?.availableReplicas === spec.replicas,
    kind,
  )
}

function when(name: string, isRight: (object: Stored) => boolean, kind: Kind = 'Deployment') {
  return whenObject<Stored>(cluster.client, workloadsPath(kind), name, isRight, 120_000)
}

const recordOf = ({ spec }: Stored): string => spec.template.metadata.annotations?.[RECORD] ?? ''

/** The workload as soon as it has been restarted for the credential's rotation. */
function whenRestarted(name: string, { revision, lastRotated }: CredentialStatus, kind?: Kind) {
  const item = `Credential/wandb@${revision}@${lastRotated}`
  return when(name, (object) => recordOf(object).split(',').includes(item), kind)
}

function get(name: string, kind: Kind = 'Deployment'): Promise<Stored> {
  return cluster.client.get<Stored>(`${workloadsPath(kind)}/${name}`)
}

interface EventObject extends KubeObject {
  readonly type: string
  readonly reason: string
  readonly message: string
  readonly count: number
  readonly involvedObject: { readonly kind: string; readonly name: string }
}

async function eventsAbout(name: string): Promise<string[]> {
  const path = `/api/v1/namespaces/${team}/events?fieldSelector=involvedObject.name=${name}`
  const { items } = await cluster.client.get<{ items: (EventObject & { source?: any })[] }>(path)
  return (
    items
      .filter(({ source }) => source?.component === 'credential-injector-controller')
      // That pods are stale is said by another duty.
      .filter(({ reason }) => reason !== 'Stale')
      .map(({ involvedObject, type, reason, count }) => `${involvedObject.kind} ${type} ${reason} ${count}`)
      .sort()
  )
}

async function whenEvent(name: string, reason: string): Promise<EventObject> {
  const signal = AbortSignal.timeout(120_000)
  const path = `/api/v1/namespaces/${team}/events?watch=true`
  const events = cluster.client.stream(path, { signal }) as AsyncIterable<{ object: EventObject }>
  for await (const { object } of events)
    if (object.involvedObject?.name === name && object.reason === reason) return object
  throw new Error('the watch ended')
}

/** Changes of workloads that the controller made, by name: only those that the API server carried out. */
function patches(since: number): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { verb, user, objectRef = {}, responseStatus } of auditRecords(cluster, since)) {
    const { resource = '', namespace, name = '' } = objectRef
    const isIts = user.username === USER && verb === 'patch' && namespace === team
    if (!isIts || !Object.values<string>(PLURALS).includes(resource) || responseStatus?.code !== 200) continue
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

/** A workload that is made and rotated for now has been restarted: so has all that was to be restarted before it. */
let markers = 0
async function settled(): Promise<void> {
  const name = `marker-${++markers}`
  const since = auditPosition(cluster)
  await makeCredential(name)
  await whenObject<CredentialObject>(
    cluster.client,
    credentialsPath(),
    name,
    ({ status }) => status?.revision !== undefined,
  )
  await makeWorkload(name, { uses: name })
  await rotate(name)
  await when(name, (object) => recordOf(object).includes(`Credential/${name}@`))
  // A watch may bring the change before the audit log has the request.
  await vi.waitFor(() => expect(patches(since)).toHaveProperty(name), { timeout: 60_000 })
}

async function firstSeen(): Promise<void> {
  await whenObject<CredentialObject>(
    cluster.client,
    credentialsPath(),
    'wandb',
    ({ status }) => status?.revision !== undefined,
  )
}

// ---- Tests -------------------------------------------------------------------------------------------------------------

describe('one controller', () => {
  test('restarts once for several edits, each kind of workload, and changes nothing else of them', async () => {
    await makeCredential('wandb')
    await makeWorkload('deployment')
    await makeWorkload('stateful', { kind: 'StatefulSet' })
    await makeWorkload('unconcerned', { uses: 'other' })
    await start()
    await firstSeen()
    const before = await snapshot(cluster, ['deployments.apps', 'statefulsets.apps'])
    const since = auditPosition(cluster)
    for (let count = 0; count < 3; count++) await rotate('wandb')
    const status = await rotate('wandb')
    const after = await whenRestarted('deployment', status)
    await whenRestarted('stateful', status, 'StatefulSet')
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(status.lastRotated as string) + 3_000)
    expect(recordOf(after)).toBe(`Credential/wandb@${status.revision}@${status.lastRotated}`)
    await whenAvailable('deployment', 'Deployment', 2)
    await settled()
    expect(patches(since)).toMatchObject({ deployment: 1, stateful: 1 })
    expect((await get('deployment')).metadata.generation).toBe(2)
    const changes = diff(
      before,
      await snapshot(cluster, ['deployments.apps', 'statefulsets.apps']),
      (key) => !key.includes(` ${team}/`) || key.includes('marker-'),
    )
    expect(changes).toEqual([
      `changed deployments.apps ${team}/deployment: metadata.annotations.deployment.kubernetes.io/revision, metadata.generation, spec.template.metadata.annotations`,
      `changed statefulsets.apps ${team}/stateful: metadata.generation, spec.template.metadata.annotations`,
    ])
    expect(await eventsAbout('deployment')).toEqual(['Deployment Normal RestartedForRotation 1'])
  })

  test('restarts nothing when it starts, and what was rotated while it was away', async () => {
    await makeCredential('wandb')
    await makeWorkload('web')
    await start()
    await firstSeen()
    await endControllers()
    const since = auditPosition(cluster)
    await start()
    await settled()
    await endControllers()
    expect(patches(since)).not.toHaveProperty('web')
    expect((await get('web')).metadata.generation).toBe(1)
    await edit('wandb')
    await start()
    await when('web', (object) => recordOf(object) !== '')
    await settled()
    await endControllers()
    await start()
    await settled()
    expect(patches(since)).toMatchObject({ web: 1 })
    expect((await get('web')).metadata.generation).toBe(2)
  })

  test('asks the template: its annotation turns restarts on and off', async () => {
    await makeCredential('wandb', 'Never')
    await makeCredential('hub')
    const key = 'credentials.run.ai/restart-on-rotation'
    await makeWorkload('on', { onTemplate: { [key]: 'true' } })
    await makeWorkload('says-nothing')
    await makeWorkload('off', { onTemplate: { [key]: 'false' }, uses: 'hub' })
    await start()
    await firstSeen()
    await whenObject<CredentialObject>(
      cluster.client,
      credentialsPath(),
      'hub',
      ({ status }) => status?.revision !== undefined,
    )
    const since = auditPosition(cluster)
    await rotate('hub')
    const status = await rotate('wandb')
    await whenRestarted('on', status)
    await settled()
    expect(Object.keys(patches(since)).sort()).toEqual([expect.stringMatching(/^marker-/), 'on'])
    // Turning it on restarts what is stale.
    await cluster.client.patch(`${credentialsPath()}/wandb`, MERGE, {
      spec: { rotation: { restart: 'Automatic' } },
    })
    await whenRestarted('says-nothing', status)
  })

  test('says of what it cannot restart why, and restarts it when that has changed', async () => {
    await makeCredential('wandb')
    await makeWorkload('paused')
    await makeWorkload('put-off', { annotations: { 'credentials.run.ai/restart-paused': 'true' } })
    await makeWorkload('on-delete', {
      kind: 'StatefulSet',
      spec: { replicas: 1, updateStrategy: { type: 'OnDelete' } },
    })
    await when('on-delete', ({ status }) => status?.readyReplicas === 1, 'StatefulSet')
    await cluster.kubectl(['rollout', 'pause', '-n', team, 'deployment/paused'])
    await start()
    await firstSeen()
    const since = auditPosition(cluster)
    const status = await rotate('wandb')
    const held = await whenEvent('paused', 'RolloutPaused')
    expect(held).toMatchObject({ type: 'Warning' })
    expect(held.message).toBe(
      'Not restarted, though the content of Credential/wandb has changed. The Deployment is paused, so that a change of its template would restart nothing. Resume it with kubectl rollout resume.',
    )
    await whenEvent('put-off', 'RestartPaused')
    await whenEvent('on-delete', 'RestartsOnDelete')
    await settled()
    expect(Object.keys(patches(since))).toEqual([expect.stringMatching(/^marker-/)])
    await cluster.kubectl(['rollout', 'resume', '-n', team, 'deployment/paused'])
    await cluster.kubectl([
      'annotate',
      '-n',
      team,
      'deployment/put-off',
      'credentials.run.ai/restart-paused-',
    ])
    await whenRestarted('paused', status)
    await whenRestarted('put-off', status)
    expect(await eventsAbout('on-delete')).toEqual(['StatefulSet Warning RestartsOnDelete 1'])
  })

  test('restarts one of a namespace after another, where that is asked for', async () => {
    await makeCredential('wandb')
    for (const name of ['one', 'two', 'three']) await makeWorkload(name)
    await start(['--rotation-one-at-a-time', 'true'])
    await firstSeen()
    const since = auditPosition(cluster)
    const status = await rotate('wandb')
    const names = ['one', 'two', 'three']
    kubelet.isHeld = () => true
    for (let done = 1; done <= names.length; done++) {
      await changes(since, done)
      // Its new pod does not run yet: nobody else's turn, however often the controller looks.
      await looks(3)
      expect(Object.keys(patches(since))).toHaveLength(done)
      const [last = ''] = Object.keys(patches(since)).slice(-1)
      await whenRestarted(last, status)
      kubelet.isHeld = ({ metadata: { labels } }) => labels?.app !== last
      await when(last, ({ status }) => status?.updatedReplicas === 1)
      await kubelet.look()
      await whenAvailable(last, 'Deployment', 2)
    }
    expect(patches(since)).toEqual({ one: 1, two: 1, three: 1 })
  })

  test('restarts for a ClusterCredential when the copy in the namespace has the new content, and not before', async () => {
    const [hub, copy] = ['rotation-hub', 'credential-rotation-hub']
    const clusterCredentials = '/apis/run.ai/v1/clustercredentials'
    const data = (value: string) => ({ TOKEN: base64(`${value}-${CANARY}`) })
    const write = (path: string, value: string) =>
      cluster.client.patch(`${path}/${path === secretsPath() ? copy : hub}`, MERGE, { data: data(value) })
    const source = `/api/v1/namespaces/${OWN}/secrets`
    await cluster.client.create(source, { metadata: { name: hub }, data: data('first') })
    // Nobody's but the test's own, so that it is the test that says when the copy comes.
    await cluster.client.create(secretsPath(), { metadata: { name: copy }, data: data('first') })
    await cluster.client.create(clusterCredentials, {
      apiVersion: 'run.ai/v1',
      kind: 'ClusterCredential',
      metadata: { name: hub },
      spec: {
        secretRef: { name: hub },
        type: 'environment',
        rotation: { restart: 'Automatic' },
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': team } },
      },
    })
    const whenHub = (isRight: (status: CredentialStatus) => boolean) =>
      whenObject<CredentialObject>(cluster.client, clusterCredentials, hub, ({ status }) =>
        isRight(status ?? {}),
      )
    try {
      await makeWorkload('web', { uses: copy })
      await start()
      await whenHub(({ revision }) => revision !== undefined)
      const since = auditPosition(cluster)
      await write(source, 'second')
      await whenHub(({ lastRotated }) => lastRotated !== undefined)
      await reads(copy, since, 2)
      expect(patches(since)).toEqual({})
      await write(secretsPath(), 'second')
      await when('web', (object) => recordOf(object).startsWith(`ClusterCredential/${hub}@`))
      await settled()
      expect(patches(since)).toMatchObject({ web: 1 })
    } finally {
      await cluster.client.delete(`${clusterCredentials}/${hub}`)
    }
  })

  test('never touches bare pods, Jobs, CronJobs and ReplicaSets', async () => {
    await makeCredential('wandb')
    const template = { metadata: { labels: { app: 'x' } }, spec: podSpec('wandb') }
    const job = { template: { spec: { ...podSpec('wandb'), restartPolicy: 'Never' } } }
    await cluster.client.create(`/api/v1/namespaces/${team}/pods`, {
      metadata: { name: 'bare' },
      spec: podSpec('wandb'),
    })
    await cluster.client.create(`/apis/batch/v1/namespaces/${team}/jobs`, {
      metadata: { name: 'job' },
      spec: job,
    })
    await cluster.client.create(`/apis/batch/v1/namespaces/${team}/cronjobs`, {
      metadata: { name: 'cron' },
      spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: job } },
    })
    await cluster.kubectl(['create', 'job', '-n', team, 'of-cron', '--from=cronjob/cron'])
    await cluster.client.create(`/apis/apps/v1/namespaces/${team}/replicasets`, {
      metadata: { name: 'replicas' },
      spec: { replicas: 1, selector: { matchLabels: { app: 'x' } }, template },
    })
    await whenRunning(4)
    await start()
    await firstSeen()
    const resources = ['pods', 'jobs.batch', 'cronjobs.batch', 'replicasets.apps']
    const before = await snapshot(cluster, resources)
    await rotate('wandb')
    await settled()
    const isOfTest = (key: string) => key.includes(` ${team}/`) && !key.includes('/marker-')
    expect(diff(before, await snapshot(cluster, resources), (key) => !isOfTest(key))).toEqual([])
  })
})

describe('whoever else changes the workload', () => {
  beforeEach(async () => {
    await makeCredential('wandb')
  })

  const applied = ['apply', '-f', '-']
  const serverSide = ['apply', '--server-side', '--field-manager=gitops', '-f', '-']

  test('applies the original manifest: the restart stays as it is, whatever applies it', async () => {
    const commands = { client: applied, server: serverSide, forced: [...serverSide, '--force-conflicts'] }
    const all = Object.entries(commands).flatMap(([name, command]) => [
      [command, manifest(name, { onTemplate: { mine: 'yes' } })] as const,
      [command, manifest(`${name}-empty`, { onTemplate: {} })] as const,
    ])
    const applyAll = async () => {
      for (const [command, object] of all) await cluster.kubectl(command, JSON.stringify(object))
    }
    const names = all.map(([, { metadata }]) => metadata.name)
    await applyAll()
    for (const name of names) await whenAvailable(name)
    await start()
    await firstSeen()
    const status = await rotate('wandb')
    for (const name of names) await whenRestarted(name, status)
    const since = auditPosition(cluster)
    for (let round = 0; round < 2; round++) await applyAll()
    await settled()
    for (const name of names) {
      const after = await get(name)
      expect(recordOf(after), name).toContain(`Credential/wandb@${status.revision}@`)
      expect(after.metadata.generation, name).toBe(2)
    }
    expect(Object.keys(patches(since))).toEqual([expect.stringMatching(/^marker-/)])
  })

  test('a rollback while its pods are being replaced is not fought', async () => {
    await cluster.client.create(workloadsPath('Deployment'), manifest('web', { spec: { replicas: 2 } }))
    await whenAvailable('web')
    await start()
    await firstSeen()
    const since = auditPosition(cluster)
    // The new pods do not come up, so the old ones stay.
    kubelet.isHeld = () => true
    await whenRestarted('web', await rotate('wandb'))
    await when('web', ({ status }) => status?.updatedReplicas >= 1)
    await cluster.kubectl(['rollout', 'undo', '-n', team, 'deployment/web'])
    kubelet.isHeld = () => false
    await kubelet.look()
    await whenAvailable('web', 'Deployment', 3)
    await settled()
    // Another controller knows it from the earlier templates.
    await endControllers()
    await start()
    await whenEvent('web', 'RestartUndone')
    await settled()
    expect(patches(since)).toMatchObject({ web: 1 })
    const { metadata, ...web } = await get('web')
    expect([metadata.generation, recordOf({ metadata, ...web })]).toEqual([3, ''])
    // The next rotation is another one.
    await whenRestarted('web', await rotate('wandb'))
  })

  test('a rollback after the restart starts new pods, which have the new content', async () => {
    await makeWorkload('web')
    await start()
    await firstSeen()
    const since = auditPosition(cluster)
    await whenRestarted('web', await rotate('wandb'))
    await whenAvailable('web', 'Deployment', 2)
    await cluster.kubectl(['rollout', 'undo', '-n', team, 'deployment/web'])
    await whenAvailable('web', 'Deployment', 3)
    await settled()
    expect(patches(since)).toMatchObject({ web: 1 })
    expect((await get('web')).metadata.generation).toBe(3)
  })
})

describe('without the right to restart', () => {
  test('it says so, and tries no more than now and then', async () => {
    await makeCredential('wandb')
    await makeWorkload('web')
    const values = { fullnameOverride: 'rotation-off', rotation: { restartWorkloads: false } }
    const other = await makeControllerAccount(cluster, OWN, values)
    try {
      await start([], other.kubeconfig)
      await firstSeen()
      await rotate('wandb')
      const { message } = await whenEvent('web', 'RestartRefused')
      expect(message).toContain('cannot get resource "deployments"')
      await endControllers()
      const since = auditPosition(cluster)
      await start(['--restart-workloads', 'false'], other.kubeconfig)
      await whenEvent('web', 'RestartsOff')
      const calls = callsBy(cluster, `system:serviceaccount:${OWN}:rotation-off-controller`, since)
      expect(Object.keys(calls).filter((call) => / (deployments|controllerrevisions)/.test(call))).toEqual([])
      expect((await get('web')).metadata.generation).toBe(1)
    } finally {
      await endControllers()
      await other.remove()
    }
  })
})

describe('whatever goes wrong', () => {
  const NAMES = Array.from({ length: 12 }, (_, index) => `w${index}`)

  beforeEach(async () => {
    await makeCredential('wandb')
    await Promise.all(NAMES.map((name) => makeWorkload(name)))
  })

  /** Each was restarted once, for the last content, and nothing is left to do. */
  async function expectOneRestartEach(status: CredentialStatus, since: number): Promise<void> {
    for (const name of NAMES) {
      await whenRestarted(name, status)
      await whenAvailable(name, 'Deployment', 2)
    }
    await settled()
    const { [`marker-${markers}`]: _, ...counts } = patches(since)
    // Of whoever is killed while it asks, the API server notes no answer; but it counts every change of a workload itself.
    for (const name of NAMES) expect((await get(name)).metadata.generation, name).toBe(2)
    expect(Object.values(counts).every((count) => count === 1)).toBe(true)
    expect(Object.keys(counts).length).toBeGreaterThan(NAMES.length / 2)
  }

  test('two instances that are killed at any moment restart each workload once', async () => {
    const limits = ['--rotation-at-once', '3']
    await start(limits)
    await firstSeen()
    const since = auditPosition(cluster)
    const status = await rotate('wandb')
    let kills = 0
    // By what it has done, not by the clock: after one more change, and then some milliseconds into whatever it does next.
    for (const reached of [1, 3, 5, 8]) {
      await start(limits)
      await changes(since, reached)
      await sleep(Math.random() * 50)
      const [first] = running.splice(0, 1)
      first?.signal('SIGKILL')
      await first?.exited
      said += `${first?.stdout()}${first?.stderr()}`
      kills++
    }
    await expectOneRestartEach(status, since)
    say(
      `${NAMES.length} workloads, ${kills} leaders killed: ${JSON.stringify(writesIn(callsBy(cluster, USER, since)))}`,
    )
  })

  test('an API server that refuses, loses and delays requests is asked again', async () => {
    const proxy = await startFaultyProxy(cluster, account.token)
    try {
      await start([], proxy.kubeconfig)
      await firstSeen()
      const since = auditPosition(cluster)
      const status = await rotate('wandb')
      proxy.plan = randomly(7, 0.3)
      for (const name of NAMES) await whenRestarted(name, status)
      proxy.plan = () => undefined
      await expectOneRestartEach(status, since)
      const faults = [...proxy.faults.values()].reduce((sum, count) => sum + count, 0)
      expect(faults).toBeGreaterThan(10)
      say(
        `${NAMES.length} workloads with ${faults} faults: ${JSON.stringify(Object.fromEntries(proxy.faults))}`,
      )
    } finally {
      await endControllers()
      await proxy.stop()
    }
  })
})

test('no secret value is in what controllers and events say', async () => {
  const events = await cluster.kubectl(['get', 'events', '-A', '-o', 'yaml'])
  for (const text of [events, said]) {
    expect(text.length).toBeGreaterThan(1_000)
    expect(text).not.toContain(CANARY)
    expect(text).not.toContain(base64(CANARY).slice(0, 12))
  }
})

// ---- What is waited for ------------------------------------------------------------------------------------------------

/** The controller has changed so many workloads since then. */
async function changes(since: number, count: number): Promise<void> {
  const signal = AbortSignal.timeout(120_000)
  while (Object.keys(patches(since)).length < count) await sleep(20, undefined, { signal })
}

/** The controller has looked at a workload so many more times. */
async function looks(count: number): Promise<void> {
  const since = auditPosition(cluster)
  const signal = AbortSignal.timeout(120_000)
  while ((callsBy(cluster, USER, since)['get deployments'] ?? 0) < count)
    await sleep(50, undefined, { signal })
}

/** The controller has read this Secret of the test's namespace so many times. */
async function reads(secret: string, since: number, count: number): Promise<void> {
  const signal = AbortSignal.timeout(120_000)
  const isRead = ({ verb, user, objectRef = {} }: AuditRecord) =>
    verb === 'get' && user.username === USER && objectRef.namespace === team && objectRef.name === secret
  while (auditRecords(cluster, since).filter(isRead).length < count) await sleep(50, undefined, { signal })
}

async function whenRunning(count: number): Promise<void> {
  const signal = AbortSignal.timeout(120_000)
  const isRunning = async () => {
    const path = `/api/v1/namespaces/${team}/pods?fieldSelector=status.phase=Running`
    return (await cluster.client.get<{ items: unknown[] }>(path)).items.length >= count
  }
  while (!(await isRunning())) await sleep(50, undefined, { signal })
}
