/** The means by which tests of the controller make API errors, and by which they see what was done: are they to be trusted? */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { clusterAccess } from '../../src/kube/access.ts'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import { base64 } from '../support/secrets.ts'
import { installCrds } from './install-crds.ts'
import type { Cluster } from './kit/cluster.ts'
import { program, say } from './kit/programs.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { auditPosition, auditRecords, callsBy, writesIn } from './support/audit.ts'
import { type FaultyProxy, randomly, startFaultyProxy } from './support/faulty-proxy.ts'
import { render } from './support/helm.ts'
import type { Manifest } from './support/objects.ts'
import { type Process, startController } from './support/processes.ts'
import { diff, snapshot } from './support/world.ts'

const TEAM = 'behind-the-proxy'
const USER = `system:serviceaccount:${TEAM}:caller`
const CONFIG_MAPS = `/api/v1/namespaces/${TEAM}/configmaps`
const MERGE = 'application/merge-patch+json'

let cluster: Cluster
let token: string

beforeAll(async () => {
  // Where it is not built yet, that takes longer than a test may.
  await program('helm')
  cluster = sharedCluster()
  await cluster.createNamespace(TEAM)
  await cluster.kubectl(['-n', TEAM, 'create', 'serviceaccount', 'caller'])
  await cluster.kubectl(
    ['-n', TEAM, 'create', 'rolebinding', 'caller', '--clusterrole=admin'].concat(
      `--serviceaccount=${TEAM}:caller`,
    ),
  )
  token = await cluster.tokenFor('caller', TEAM)
})
afterAll(async () => void (await cluster.kubectl(['delete', 'namespace', TEAM, '--wait=false'])))

describe('a faulty proxy', () => {
  let proxy: FaultyProxy
  let client: KubeClient
  let names = 0
  let name: string

  beforeEach(async () => {
    name = `of-proxy-${++names}`
    proxy = await startFaultyProxy(cluster, token)
    client = createKubeClient(await clusterAccess({ kubeconfig: proxy.kubeconfig }))
  })
  afterEach(async () => {
    client.close()
    await proxy.stop()
  })

  const isThere = async () =>
    (await cluster.kubectl(['-n', TEAM, 'get', 'configmap', name, '--ignore-not-found', '-o', 'name'])) !== ''

  test('passes requests on for who has the token, and counts them', async () => {
    const since = auditPosition(cluster)

    await client.create(CONFIG_MAPS, { metadata: { name } })
    await client.patch(`${CONFIG_MAPS}/${name}`, MERGE, { data: { a: 'b' } })
    expect(await client.get(`${CONFIG_MAPS}/${name}`)).toMatchObject({ data: { a: 'b' } })
    await expect(client.get('/api/v1/namespaces')).rejects.toMatchObject({ status: 403 })

    expect(Object.fromEntries(proxy.calls)).toEqual({
      'POST configmaps': 1,
      'PATCH configmaps': 1,
      'GET configmaps': 1,
      'GET namespaces': 1,
    })
    expect(proxy.faults.size).toBe(0)
    // The API server has seen the same, by whoever the token is of.
    const calls = callsBy(cluster, USER, since)
    expect(calls).toEqual({
      'create configmaps': 1,
      'patch configmaps': 1,
      'get configmaps': 1,
      'list namespaces': 1,
    })
    expect(writesIn(calls)).toEqual({ 'create configmaps': 1, 'patch configmaps': 1 })
  })

  test.each([409, 429, 500, 503] as const)('answers %i in the API server’s place', async (status) => {
    proxy.plan = ({ method }) => (method === 'POST' ? { status, retryAfter: 3 } : undefined)

    await expect(client.create(CONFIG_MAPS, { metadata: { name } })).rejects.toMatchObject({
      status,
      retryAfter: 3,
      reason: expect.stringMatching(/^[A-Z]/),
    })

    expect(await isThere()).toBe(false)
    expect(Object.fromEntries(proxy.faults)).toEqual({ 'POST configmaps': 1 })
  })

  test('cuts a request off before it has been seen, or after it has been done', async () => {
    proxy.plan = () => 'cut'
    await expect(client.create(CONFIG_MAPS, { metadata: { name } })).rejects.toThrow(/ECONNRESET|hang up/)
    expect(await isThere()).toBe(false)

    proxy.plan = () => 'cutAfterWrite'
    await expect(client.create(CONFIG_MAPS, { metadata: { name } })).rejects.toThrow(/ECONNRESET|hang up/)
    expect(await isThere()).toBe(true)
  })

  test('holds a request back, and others overtake it', async () => {
    await client.create(CONFIG_MAPS, { metadata: { name, labels: { step: '0' } } })
    const label = (step: string) =>
      client.patch<any>(`${CONFIG_MAPS}/${name}`, MERGE, { metadata: { labels: { step } } })
    proxy.plan = ({ method, count }) => (method === 'PATCH' && count === 1 ? { delay: 1_500 } : undefined)

    const first = label('1')
    const second = await label('2')

    expect(Number((await first).metadata.resourceVersion)).toBeGreaterThan(
      Number(second.metadata.resourceVersion),
    )
  })

  test('lets watches stream, and breaks them all at once', async () => {
    const { metadata } = await client.get<any>(CONFIG_MAPS)
    const from = `${CONFIG_MAPS}?watch=true&resourceVersion=${metadata.resourceVersion}`
    const watches = [client.stream(from), client.stream(from)]
    const seen = watches.map((watch) => watch.next())
    await cluster.kubectl(['-n', TEAM, 'create', 'configmap', name])
    for (const { value } of await Promise.all(seen))
      expect(value).toMatchObject({ type: 'ADDED', object: { metadata: { name } } })

    const ends = watches.map((watch) => watch.next().catch((error: Error) => error.message))
    expect(proxy.cutWatches()).toBe(2)

    for (const end of await Promise.all(ends)) expect(end).toMatch(/broke off|ECONNRESET/)
    expect(proxy.cutWatches()).toBe(0)
    // New ones get through.
    expect((await client.stream(from).next()).value).toMatchObject({ type: 'ADDED' })
    expect(proxy.calls.get('WATCH configmaps')).toBe(3)
  })

  test('who does not listen to a watch any more ends it at the API server too', async () => {
    const since = auditPosition(cluster)
    const end = new AbortController()
    const watch = client.stream(`${CONFIG_MAPS}?watch=true`, { signal: end.signal })
    await cluster.kubectl(['-n', TEAM, 'create', 'configmap', name])
    await watch.next()

    end.abort()

    await expect.poll(() => watchesThatEnded(since), { timeout: 20_000 }).toBe(1)
  })

  /** Of those that began since then. */
  function watchesThatEnded(since: number): number {
    const own = auditRecords(cluster, since).filter(
      ({ verb, user }) => verb === 'watch' && user.username === USER,
    )
    const begun = own.filter(({ stage }) => stage === 'ResponseStarted').map(({ auditID }) => auditID)
    return own.filter(({ stage, auditID }) => stage === 'ResponseComplete' && begun.includes(auditID)).length
  }

  test('an API server that is not there is a connection that breaks', async () => {
    const nowhere = await startFaultyProxy({ ...cluster, url: 'https://127.0.0.1:1' }, token)
    const lost = createKubeClient(await clusterAccess({ kubeconfig: nowhere.kubeconfig }))
    await expect(lost.create(CONFIG_MAPS, { metadata: { name } })).rejects.toThrow(/ECONNRESET|hang up/)
    lost.close()
    await nowhere.stop()
  })
})

describe('the controller behind a faulty proxy', () => {
  const OWN = 'controller-behind-the-proxy'
  const ACCOUNT = 'credential-injector-controller'
  const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
  const MOST = 30
  let proxy: FaultyProxy
  let controller: Process
  let clusterWide: Manifest[]

  beforeAll(async () => {
    await installCrds(cluster.client)
    await cluster.createNamespace(OWN)
    // As the chart gives them, and no others.
    const rights = (await render({}, { namespace: OWN })).objects.filter(
      ({ kind, metadata }) =>
        /^(ServiceAccount|(Cluster)?Role(Binding)?)$/.test(kind) && metadata.name === ACCOUNT,
    )
    clusterWide = rights.filter(({ metadata }) => metadata.namespace === undefined)
    await cluster.kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: rights }),
    )
    proxy = await startFaultyProxy(cluster, await cluster.tokenFor(ACCOUNT, OWN))
    controller = await startController(proxy.kubeconfig, ['--namespace', OWN])
  })
  afterAll(async () => {
    await controller?.stop()
    await proxy?.stop()
    for (const { kind, metadata } of clusterWide) await cluster.kubectl(['delete', kind, metadata.name])
    await cluster.kubectl(['delete', 'namespace', OWN, '--wait=false'])
  })

  test.each([1, 2, 3])(
    'says of every credential what is true, whatever fails on the way: seed %i',
    async (seed) => {
      const before = await snapshot(cluster)
      const made = Array.from({ length: MOST }, (_, index) => `seed-${seed}-${index}`)
      proxy.plan = randomly(seed, 0.25)
      for (const [index, name] of made.entries()) {
        await cluster.client.create(CREDENTIALS, {
          apiVersion: 'run.ai/v1',
          kind: 'Credential',
          metadata: { name },
          spec: { secretRef: { name }, type: 'environment' },
        })
        if (index % 2 === 0)
          await cluster.client.create(`/api/v1/namespaces/${TEAM}/secrets`, {
            metadata: { name },
            data: { KEY: base64(`value-${name}`) },
          })
        if (index % 10 === 9) proxy.cutWatches()
      }

      const reasons = await Promise.all(
        made.map(async (name, index) => {
          const wanted = index % 2 === 0 ? 'SecretFound' : 'SecretNotFound'
          await whenObject<any>(cluster.client, CREDENTIALS, name, ({ status }) =>
            status?.conditions?.some(({ type, reason }: any) => type === 'Ready' && reason === wanted),
          )
          return wanted
        }),
      )

      expect(reasons).toHaveLength(MOST)
      const faults = [...proxy.faults.values()].reduce((sum, count) => sum + count, 0)
      expect(faults).toBeGreaterThan(0)
      say(
        `Seed ${seed}: ${faults} faults in ${[...proxy.calls.values()].reduce((sum, count) => sum + count, 0)} requests so far`,
      )
      const isOurs = (key: string) =>
        made.some((name) => key.endsWith(` ${TEAM}/${name}`)) || key.includes(` ${OWN}/`)
      expect(diff(before, await snapshot(cluster), isOurs)).toEqual([])
      expect(controller.process.exitCode).toBeNull()
    },
  )
})

describe('faults by chance', () => {
  const asked = (count: number, more = {}) => ({
    method: 'PATCH',
    path: `${CONFIG_MAPS}/a`,
    query: new URLSearchParams(),
    resource: 'configmaps',
    count,
    ...more,
  })
  const fates = (seed: number, rate: number, more = {}) => {
    const plan = randomly(seed, rate)
    return Array.from({ length: 2_000 }, (_, count) => plan(asked(count, more)))
  }

  test('are the same for the same seed, and others for another', () => {
    expect(fates(1, 0.3)).toEqual(fates(1, 0.3))
    expect(fates(1, 0.3)).not.toEqual(fates(2, 0.3))
  })

  test('meet the share that was asked for, and all kinds of them', () => {
    const met = fates(7, 0.3).filter((fault) => fault !== undefined)
    expect(met.length / 2_000).toBeCloseTo(0.3, 1)
    expect(new Set(met.map((fault) => JSON.stringify(fault))).size).toBe(7)
  })

  test('no read is a conflict, and leases are left alone', () => {
    expect(fates(7, 1, { method: 'GET' })).not.toContainEqual({ status: 409 })
    expect(fates(7, 1)).toContainEqual({ status: 409 })
    expect(new Set(fates(7, 1, { resource: 'leases' }))).toEqual(new Set([undefined]))
  })
})

describe('a snapshot of the world', () => {
  const secret = (data: object) => ({ metadata: { name: 'secret-of-the-world' }, data })
  const SECRETS = `/api/v1/namespaces/${TEAM}/secrets`

  test('knows what came, went, changed and was made anew, and says no value', async () => {
    await cluster.client.create(SECRETS, secret({ A: base64('value-one'), B: base64('value-two') }))
    for (const name of ['goes', 'again', 'stays']) await cluster.kubectl(['-n', TEAM, 'create', 'cm', name])
    const before = await snapshot(cluster)

    expect(diff(before, await snapshot(cluster), isOthers)).toEqual([])
    await cluster.client.patch(`${SECRETS}/secret-of-the-world`, MERGE, {
      metadata: { labels: { a: 'b' } },
      data: { A: base64('value-three'), C: base64('value-four'), B: null },
    })
    await cluster.kubectl(['-n', TEAM, 'create', 'configmap', 'comes'])
    await cluster.kubectl(['-n', TEAM, 'delete', 'configmap', 'goes', 'again'])
    await cluster.kubectl(['-n', TEAM, 'create', 'configmap', 'again'])

    const lines = diff(before, await snapshot(cluster), isOthers)
    expect(lines).toEqual([
      `added configmaps ${TEAM}/comes`,
      `changed configmaps ${TEAM}/again: metadata.uid`,
      `changed secrets ${TEAM}/secret-of-the-world: data.A, data.B, data.C, metadata.labels`,
      `removed configmaps ${TEAM}/goes`,
    ])
  })

  test('of some resources has those only', async () => {
    const keys = [...(await snapshot(cluster, ['secrets', 'deployments.apps'])).keys()]
    expect(keys).toContain(`secrets ${TEAM}/secret-of-the-world`)
    expect(keys.filter((key) => !/^(secrets|deployments.apps) /.test(key))).toEqual([])
  })

  /** The cluster is shared; other files may have left something that is still on its way out. */
  const isOthers = (key: string) => !key.includes(` ${TEAM}/`)
})
