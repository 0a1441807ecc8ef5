/** The controller as a process with the chart's rights: copies of ClusterCredentials, and everybody else's Secrets left alone. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { ClusterCredentialStatus } from '../../src/api/status.ts'
import { KubeError, type KubeObject } from '../../src/kube/client.ts'
import { base64, CANARY } from '../support/secrets.ts'
import { installCrds } from './install-crds.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { say } from './kit/programs.ts'
import { whenGone, whenObject } from './kit/watch.ts'
import { auditPosition, auditRecords, callsBy, expectNoSecretInAuditLog, writesIn } from './support/audit.ts'
import { type ControllerAccount, makeControllerAccount } from './support/controller-account.ts'
import { type FaultyProxy, randomly, startFaultyProxy } from './support/faulty-proxy.ts'
import { apply, ensureNamespace, type Manifest, remove } from './support/objects.ts'
import { type Process, startController } from './support/processes.ts'
import { podWith, register, startWebhook } from './support/webhook-process.ts'
import { diff, snapshot, type World } from './support/world.ts'

const OWN = 'credential-injector'
const USER = `system:serviceaccount:${OWN}:credential-injector-controller`
const CLUSTER_CREDENTIALS = '/apis/run.ai/v1/clustercredentials'
const LIMIT = { timeout: 150_000, interval: 100 }

let cluster: Cluster
let account: ControllerAccount
let running: Process[] = []

beforeAll(async () => {
  cluster = await startCluster()
  await installCrds(cluster.client)
  await ensureNamespace(cluster.client, OWN)
  account = await makeControllerAccount(cluster, OWN)
})

afterAll(async () => {
  await expectNoSecretInAuditLog(cluster)
  await cluster.stop()
})

afterEach(async () => {
  for (const controller of running) {
    controller.signal('SIGKILL')
    await controller.exited
    expect(controller.stdout() + controller.stderr()).not.toContain(CANARY)
    expect(controller.stderr()).not.toContain('BUG')
  }
  running = []
})

async function controller(kubeconfig = account.kubeconfig): Promise<Process> {
  const started = await startController(kubeconfig, ['--namespace', OWN, '--lease-duration', '2'])
  running.push(started)
  return started
}

async function kill(victim: Process, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  victim.signal(signal)
  await victim.exited
  running = running.filter((other) => other !== victim)
}

// ---- Objects ---------------------------------------------------------------------------------------------------------

interface Secret extends Manifest {
  metadata: Manifest['metadata'] & {
    uid?: string
    annotations?: Record<string, string>
    ownerReferences?: { uid: string }[]
  }
  data?: Record<string, string>
  type?: string
}

const secrets = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`

function source(name: string, data: Record<string, string>, type = 'Opaque'): Secret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: OWN },
    type,
    data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, base64(value)])),
  }
}

function shared(name: string, labels: Record<string, string>, more: object = {}): Manifest {
  return {
    apiVersion: 'run.ai/v1',
    kind: 'ClusterCredential',
    metadata: { name },
    spec: {
      secretRef: { name: `${name}-source` },
      type: 'environment',
      namespaceSelector: { matchLabels: labels },
      ...more,
    },
  }
}

function copy(namespace: string, name: string, isRight: (secret: Secret) => boolean = () => true) {
  return whenObject<KubeObject & Secret>(
    cluster.client,
    secrets(namespace),
    `credential-${name}`,
    (object) => isRight(object),
    150_000,
  )
}

const noCopy = (namespace: string, name: string) =>
  whenGone(cluster.client, secrets(namespace), `credential-${name}`, 150_000)

function status(name: string, isRight: (status: ClusterCredentialStatus) => boolean) {
  return whenObject<KubeObject & { status?: ClusterCredentialStatus }>(
    cluster.client,
    CLUSTER_CREDENTIALS,
    name,
    (object) => isRight(object.status ?? {}),
    150_000,
  )
}

async function label(namespace: string, labels: Record<string, string | null>): Promise<void> {
  await cluster.client.patch(`/api/v1/namespaces/${namespace}`, 'application/merge-patch+json', {
    metadata: { labels },
  })
}

async function offer(name: string, labels: Record<string, string>, data: Record<string, string>) {
  await apply(cluster.client, source(`${name}-source`, data))
  return apply(cluster.client, shared(name, labels))
}

const isOurs = (name: string) => (key: string) =>
  new RegExp(`^secrets \\S+/credential-${name}$|^clustercredentials.run.ai ${name}$`).test(key)

async function othersIn(cluster: Cluster): Promise<World> {
  return snapshot(cluster)
}

// ---- One credential --------------------------------------------------------------------------------------------------

describe('a copy', () => {
  beforeAll(async () => {
    await ensureNamespace(cluster.client, 'one', { team: 'one' })
    await ensureNamespace(cluster.client, 'two', { team: 'one' })
    await ensureNamespace(cluster.client, 'other', { team: 'other' })
  })

  test('is made where it is offered, and nowhere else; follows its source, and the selector', async () => {
    const before = await othersIn(cluster)
    await controller()
    const made = await offer('alpha', { team: 'one' }, { TOKEN: `${CANARY}-1` })
    for (const namespace of ['one', 'two']) {
      const secret = await copy(namespace, 'alpha')
      expect(secret).toMatchObject({
        type: 'Opaque',
        data: { TOKEN: base64(`${CANARY}-1`) },
        metadata: {
          labels: {
            'credentials.run.ai/copy': 'true',
            'app.kubernetes.io/managed-by': 'credential-injector',
          },
          annotations: { 'credentials.run.ai/copy-of': 'alpha' },
          ownerReferences: [
            {
              apiVersion: 'run.ai/v1',
              kind: 'ClusterCredential',
              name: 'alpha',
              uid: (made as any).metadata.uid,
            },
          ],
        },
      })
    }
    await status(
      'alpha',
      ({ namespaces, selectedNamespaces }) => namespaces === 2 && selectedNamespaces === 2,
    )

    await apply(cluster.client, source('alpha-source', { TOKEN: `${CANARY}-2`, MORE: `${CANARY}-3` }))
    for (const namespace of ['one', 'two'])
      await copy(namespace, 'alpha', ({ data }) => data?.TOKEN === base64(`${CANARY}-2`) && 'MORE' in data)
    await apply(cluster.client, source('alpha-source', { TOKEN: `${CANARY}-2` }))
    await copy('one', 'alpha', ({ data }) => data !== undefined && !('MORE' in data))

    await label('other', { team: 'one' })
    await copy('other', 'alpha')
    await label('two', { team: null })
    await noCopy('two', 'alpha')
    await apply(cluster.client, shared('alpha', { team: 'none' }))
    for (const namespace of ['one', 'other']) await noCopy(namespace, 'alpha')
    await status(
      'alpha',
      ({ namespaces, selectedNamespaces }) => namespaces === 0 && selectedNamespaces === 0,
    )

    await label('other', { team: 'other' })
    await label('two', { team: 'one' })
    const after = await othersIn(cluster)
    const ours = (key: string) =>
      isOurs('alpha')(key) || key === `secrets ${OWN}/alpha-source` || isBookkeeping(key)
    expect(diff(before, after, ours)).toEqual([])
    await remove(cluster.client, shared('alpha', {}))
  })

  test('is mended when it is edited, deleted, or loses its label or its owner', async () => {
    await controller()
    await offer('beta', { team: 'one' }, { TOKEN: `${CANARY}-1` })
    const first = await copy('one', 'beta')
    const path = `${secrets('one')}/credential-beta`
    const isRight = ({ data, type, metadata }: Secret) =>
      data?.TOKEN === base64(`${CANARY}-1`) &&
      Object.keys(data).length === 1 &&
      type === 'Opaque' &&
      metadata.labels?.['credentials.run.ai/copy'] === 'true' &&
      metadata.annotations?.['credentials.run.ai/copy-of'] === 'beta' &&
      metadata.ownerReferences?.length === 1

    const edits: [string, object][] = [
      ['another value', { data: { TOKEN: base64('mine') } }],
      ['another key', { data: { EXTRA: base64('x') } }],
      ['the label gone', { metadata: { labels: { 'credentials.run.ai/copy': null } } }],
      ['the annotation gone', { metadata: { annotations: { 'credentials.run.ai/copy-of': null } } }],
      ['the owner gone', { metadata: { ownerReferences: null } }],
    ]
    for (const [what, edit] of edits) {
      const { metadata } = await cluster.client.patch<KubeObject>(path, 'application/merge-patch+json', edit)
      const mended = await copy(
        'one',
        'beta',
        (secret) => isRight(secret) && secret.metadata.resourceVersion !== metadata.resourceVersion,
      )
      expect(mended.metadata.uid, what).toBe(first.metadata.uid)
    }

    await cluster.client.delete(path)
    const again = await copy('one', 'beta', ({ metadata }) => metadata.uid !== first.metadata.uid)
    expect(isRight(again)).toBe(true)

    // Immutable, it cannot be changed back: it is made anew.
    await cluster.client.patch(path, 'application/merge-patch+json', { immutable: true })
    await copy('one', 'beta', (secret) => secret.metadata.uid !== again.metadata.uid && isRight(secret))
    await remove(cluster.client, shared('beta', {}))
    await noCopy('one', 'beta')
  })

  test('is made anew where the type of its source changes', async () => {
    await controller()
    await offer('gamma', { team: 'one' }, { 'tls.crt': CANARY, 'tls.key': CANARY })
    const opaque = await copy('one', 'gamma')
    await remove(cluster.client, source('gamma-source', {}))
    await apply(
      cluster.client,
      source('gamma-source', { 'tls.crt': CANARY, 'tls.key': CANARY }, 'kubernetes.io/tls'),
    )
    const tls = await copy('one', 'gamma', ({ type }) => type === 'kubernetes.io/tls')
    expect(tls.metadata.uid).not.toBe(opaque.metadata.uid)
    await remove(cluster.client, shared('gamma', {}))
    await noCopy('one', 'gamma')
  })

  test('stays when its source is made anew, and goes when its source is gone for good', async () => {
    await controller()
    await offer('delta', { team: 'one' }, { TOKEN: `${CANARY}-1` })
    const before = await copy('one', 'delta')
    const text = JSON.stringify(source('delta-source', { TOKEN: `${CANARY}-2` }))
    await cluster.kubectl(['replace', '--force', '-f', '-'], text)
    const after = await copy('one', 'delta', ({ data }) => data?.TOKEN === base64(`${CANARY}-2`))
    expect(after.metadata.uid).toBe(before.metadata.uid)

    await remove(cluster.client, source('delta-source', {}))
    await noCopy('one', 'delta')
    await status('delta', ({ namespaces }) => namespaces === 0)
    await apply(cluster.client, source('delta-source', { TOKEN: `${CANARY}-3` }))
    await copy('one', 'delta')
    await remove(cluster.client, shared('delta', {}))
    await noCopy('one', 'delta')
  })

  test('is never put over a Secret of somebody else, who is told of in the status', async () => {
    const foreign: Manifest = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'credential-epsilon', namespace: 'one' },
      data: { MINE: base64('mine') },
    }
    await apply(cluster.client, foreign)
    const stored = await copy('one', 'epsilon')
    await controller()
    await offer('epsilon', { team: 'one' }, { TOKEN: `${CANARY}-1` })
    const { status: failed } = await status(
      'epsilon',
      ({ failedNamespaces, namespaces }) => failedNamespaces !== undefined && namespaces === 1,
    )
    expect(failed?.failedNamespaces).toEqual([
      {
        namespace: 'one',
        reason: 'SecretNotOurs',
        message:
          'Secret credential-epsilon exists and is not a copy of this ClusterCredential. Delete or rename it there, and the copy will be made.',
      },
    ])
    expect(failed?.selectedNamespaces).toBe(2)
    const now = await cluster.client.get<Secret>(`${secrets('one')}/credential-epsilon`)
    expect(now.metadata.resourceVersion).toBe(stored.metadata.resourceVersion)
    const events = await vi.waitFor(async () => {
      const { items } = await cluster.client.get<{ items: any[] }>('/api/v1/namespaces/default/events')
      const about = items.filter(({ involvedObject }) => involvedObject.name === 'epsilon')
      expect(about.map(({ reason }) => reason)).toContain('SecretNotOurs')
      return about
    }, LIMIT)
    expect(events.filter(({ reason }) => reason === 'SecretNotOurs')).toHaveLength(1)

    // It stays even where the ClusterCredential goes; and it is the owner's to remove.
    await remove(cluster.client, foreign)
    await copy('one', 'epsilon', ({ data }) => data?.TOKEN === base64(`${CANARY}-1`))
    await status('epsilon', ({ failedNamespaces, namespaces }) => !failedNamespaces && namespaces === 2)
    await remove(cluster.client, shared('epsilon', {}))
    await noCopy('one', 'epsilon')
  })

  test('goes with its ClusterCredential: also where no controller runs, and where the owner was left an orphan', async () => {
    const first = await controller()
    await offer('zeta', { team: 'one' }, { TOKEN: `${CANARY}-1` })
    await offer('eta', { team: 'one' }, { TOKEN: `${CANARY}-1` })
    for (const name of ['zeta', 'eta']) for (const namespace of ['one', 'two']) await copy(namespace, name)
    await kill(first)
    await remove(cluster.client, shared('zeta', {}))
    for (const namespace of ['one', 'two']) await noCopy(namespace, 'zeta')
    await cluster.kubectl(['delete', 'clustercredential', 'eta', '--cascade=orphan'])
    await copy('one', 'eta', ({ metadata }) => !metadata.ownerReferences)
    await controller()
    for (const namespace of ['one', 'two']) await noCopy(namespace, 'eta')
  })

  test('of a ClusterCredential that was made anew is taken over', async () => {
    await controller()
    await offer('theta', { team: 'one' }, { TOKEN: `${CANARY}-1` })
    await copy('one', 'theta')
    await cluster.kubectl(['delete', 'clustercredential', 'theta', '--cascade=orphan'])
    const made = (await apply(cluster.client, shared('theta', { team: 'one' }))) as any
    await copy('one', 'theta', ({ metadata }) => metadata.ownerReferences?.[0]?.uid === made.metadata.uid)
    await remove(cluster.client, shared('theta', {}))
    await noCopy('one', 'theta')
  })

  test('is made for every namespace but the cluster’s own, and holds up the end of none', async () => {
    await controller()
    await ensureNamespace(cluster.client, 'short-lived')
    await apply(cluster.client, source('iota-source', { TOKEN: `${CANARY}-1` }))
    await apply(cluster.client, {
      ...shared('iota', {}),
      spec: { ...(shared('iota', {}).spec as object), namespaceSelector: {} },
    })
    await copy('short-lived', 'iota')
    await copy('default', 'iota')
    await cluster.client.delete('/api/v1/namespaces/short-lived')
    await whenGone(cluster.client, '/api/v1/namespaces', 'short-lived', 150_000)
    const { items } = await cluster.client.get<{ items: any[] }>('/api/v1/namespaces')
    const expected = items.length - 4
    await status('iota', ({ namespaces, failedNamespaces }) => namespaces === expected && !failedNamespaces)
    for (const namespace of ['kube-system', 'kube-public', 'kube-node-lease', OWN])
      await expect(cluster.client.get(`${secrets(namespace)}/credential-iota`)).rejects.toThrow(KubeError)
    await remove(cluster.client, shared('iota', {}))
    await noCopy('default', 'iota')
  })

  test('that is on its way is waited for: the pod is admitted with its name', async () => {
    const first = await controller()
    await offer('nu', { team: 'late' }, { TOKEN: `${CANARY}-1` })
    await status('nu', ({ namespaces, revision }) => namespaces === 0 && revision !== undefined)
    // Whoever makes copies is away when the namespace comes.
    await kill(first)
    await ensureNamespace(cluster.client, 'late', { team: 'late', injected: 'yes' })
    const webhook = await startWebhook(cluster.kubeconfig, ['--namespace', OWN])
    try {
      await vi.waitFor(() => expect(webhook.isReady()).toBe(true), LIMIT)
      await register(cluster, webhook, 'late')
      const pod = await cluster.client.create<any>(
        '/api/v1/namespaces/late/pods',
        podWith('early', 'cluster/nu'),
      )
      expect(pod.spec.containers[0].envFrom).toEqual([{ secretRef: { name: 'credential-nu' } }])
      await controller()
      await copy('late', 'nu')
    } finally {
      await webhook.stop()
    }
    await remove(cluster.client, shared('nu', {}))
  })

  test('that a quota refuses is told of, and made when there is room', async () => {
    await ensureNamespace(cluster.client, 'full', { team: 'full' })
    const quota = { metadata: { name: 'none' }, spec: { hard: { 'count/secrets': '0' } } }
    await cluster.client.create('/api/v1/namespaces/full/resourcequotas', quota)
    await whenObject<KubeObject & { status?: { hard?: object } }>(
      cluster.client,
      '/api/v1/namespaces/full/resourcequotas',
      'none',
      ({ status: its }) => its?.hard !== undefined,
    )
    await controller()
    await offer('kappa', { team: 'full' }, { TOKEN: `${CANARY}-1` })
    const { status: failed } = await status('kappa', ({ failedNamespaces }) => failedNamespaces !== undefined)
    expect(failed?.failedNamespaces?.[0]).toMatchObject({
      namespace: 'full',
      reason: 'Forbidden',
      message: expect.stringContaining('exceeded quota'),
    })
    await cluster.client.delete('/api/v1/namespaces/full/resourcequotas/none')
    await copy('full', 'kappa')
    await status('kappa', ({ failedNamespaces, namespaces }) => !failedNamespaces && namespaces === 1)
    await remove(cluster.client, shared('kappa', {}))
  })
})

/** What the control plane itself writes for a controller that leads. */
function isBookkeeping(key: string): boolean {
  return key.startsWith(`secrets ${OWN}/credential-injector-revision-key`)
}

// ---- Many ------------------------------------------------------------------------------------------------------------

describe('many copies', () => {
  const MANY = 300
  const names = Array.from({ length: MANY }, (_, index) => `many-${index}`)

  beforeAll(async () => {
    await inTurns(names, (name) =>
      cluster.client.create('/api/v1/namespaces', { metadata: { name, labels: { team: 'many' } } }),
    )
    // What the control plane puts into a new namespace is no doing of the controller's.
    for (const resource of ['serviceaccounts', 'configmaps'])
      await vi.waitFor(async () => {
        const { items } = await cluster.client.get<{ items: KubeObject[] }>(`/api/v1/${resource}`)
        const there = items.filter(({ metadata }) => metadata.namespace?.startsWith('many-'))
        expect(there).toHaveLength(MANY)
      }, LIMIT)
  })

  async function copies(name: string): Promise<Secret[]> {
    const { items } = await cluster.client.get<{ items: Secret[] }>(
      '/api/v1/secrets?labelSelector=credentials.run.ai%2Fcopy',
    )
    return items.filter(({ metadata }) => metadata.name === `credential-${name}`)
  }

  async function writtenSince(since: number, verb: string): Promise<string[]> {
    const records = auditRecords(cluster, since).filter(
      (record) =>
        record.user.username === USER &&
        record.verb === verb &&
        record.objectRef?.resource === 'secrets' &&
        record.objectRef.namespace !== OWN &&
        (record.responseStatus?.code ?? 0) < 300,
    )
    return records.map(({ objectRef }) => objectRef?.namespace as string)
  }

  test('whoever is killed half-way is followed by one who does the rest, and nothing twice; idle, nothing is written', async () => {
    const before = await othersIn(cluster)
    const since = auditPosition(cluster)
    let current = await controller()
    await offer('lambda', { team: 'many' }, { TOKEN: `${CANARY}-1` })
    for (const part of [MANY / 6, MANY / 3, MANY / 2]) {
      await vi.waitFor(async () => expect((await copies('lambda')).length).toBeGreaterThan(part), LIMIT)
      await kill(current)
      current = await controller()
    }
    await status('lambda', ({ namespaces }) => namespaces === MANY)
    // Requests that a killed controller had under way are done, and nobody is there to be answered.
    const created = await writtenSince(since, 'create')
    expect(new Set(created).size).toBe(created.length)
    expect(created.length).toBeGreaterThanOrEqual(MANY - 3 * 16)
    expect((await copies('lambda')).map(({ metadata }) => metadata.namespace).sort()).toEqual(
      [...names].sort(),
    )
    expect(await writtenSince(since, 'update')).toEqual([])
    expect(await writtenSince(since, 'delete')).toEqual([])

    const statuses = auditRecords(cluster, since).filter(
      ({ user, verb, objectRef }) =>
        user.username === USER && verb === 'patch' && objectRef?.resource === 'clustercredentials',
    )
    // Each of the four controllers writes once a second, and not for every copy.
    expect(statuses.length).toBeLessThan(MANY / 4)

    const rotation = auditPosition(cluster)
    await apply(cluster.client, source('lambda-source', { TOKEN: `${CANARY}-2` }))
    await vi.waitFor(async () => {
      const all = await copies('lambda')
      expect(all.filter(({ data }) => data?.TOKEN === base64(`${CANARY}-2`))).toHaveLength(MANY)
    }, LIMIT)
    expect((await writtenSince(rotation, 'update')).sort()).toEqual([...names].sort())
    expect(await writtenSince(rotation, 'create')).toEqual([])

    const ours = (key: string) => isOurs('lambda')(key) || key === `secrets ${OWN}/lambda-source`
    expect(diff(before, await othersIn(cluster), ours)).toEqual([])

    await status('lambda', ({ lastRotated }) => lastRotated !== undefined)
    await quiet()
    const idle = auditPosition(cluster)
    await sleep(IDLE_MS)
    expect(writesOf(idle)).toEqual({})
    say(`Idle for ${IDLE_MS / 1000} s with ${MANY} copies: no write but the lease's`)
  })

  test('with errors, cut connections and leaders that change, the same state is reached', async () => {
    const before = await othersIn(cluster)
    const token = account.token
    const proxies: FaultyProxy[] = []
    const proxied = async (seed: number) => {
      const proxy = await startFaultyProxy(cluster, token)
      proxy.plan = randomly(seed, 0.1)
      proxies.push(proxy)
      return proxy.kubeconfig
    }
    try {
      const [one, two] = [await controller(await proxied(1)), await controller(await proxied(2))]
      await offer('mu', { team: 'many' }, { TOKEN: `${CANARY}-1` })
      await vi.waitFor(async () => expect((await copies('mu')).length).toBeGreaterThan(MANY / 4), LIMIT)
      await kill(one)
      for (const proxy of proxies) proxy.cutWatches()
      await apply(cluster.client, source('mu-source', { TOKEN: `${CANARY}-2` }))
      await vi.waitFor(async () => {
        const all = await copies('mu')
        expect(all.filter(({ data }) => data?.TOKEN === base64(`${CANARY}-2`))).toHaveLength(MANY)
      }, LIMIT)
      const injected = proxies.flatMap(({ faults }) => [...faults.values()]).reduce((sum, n) => sum + n, 0)
      expect(injected).toBeGreaterThan(20)
      await status('mu', ({ namespaces }) => namespaces === MANY)
      await remove(cluster.client, shared('mu', {}))
      await vi.waitFor(async () => expect(await copies('mu')).toEqual([]), LIMIT)
      await kill(two, 'SIGTERM')
    } finally {
      for (const proxy of proxies) await proxy.stop()
    }
    const ours = (key: string) => key === `secrets ${OWN}/mu-source` || isOurs('lambda')(key)
    expect(diff(before, await othersIn(cluster), ours)).toEqual([])
  })
})

const IDLE_MS = 60_000

/** Resolves when the controller has written nothing for some seconds. */
async function quiet(): Promise<void> {
  await vi.waitFor(async () => {
    const since = auditPosition(cluster)
    await sleep(3_000)
    expect(writesOf(since)).toEqual({})
  }, LIMIT)
}

/** All but the renewals of the lease. */
function writesOf(since: number): Readonly<Record<string, number>> {
  const { 'update leases': _renewals, ...writes } = writesIn(callsBy(cluster, USER, since))
  return writes
}

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < items.length; at += 20) await Promise.all(items.slice(at, at + 20).map(work))
}
