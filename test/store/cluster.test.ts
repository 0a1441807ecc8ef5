/** The catalogue of a cluster, against an API server in this process. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { NamespaceView } from '../../src/api/catalog.ts'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import type { Clock } from '../../src/kube/clock.ts'
import { type ClusterCatalog, type ClusterOptions, openCluster } from '../../src/store/cluster.ts'
import { type FakeApiServer, faults, startFakeApiServer } from '../support/fake-apiserver.ts'
import { eventually } from '../support/webhook.ts'

const CREDENTIALS = 'run.ai/v1/credentials'
const CLUSTER = 'run.ai/v1/clustercredentials'
const POLICIES = 'run.ai/v1/credentialpolicies'
const NAMESPACES = 'v1/namespaces'

let server: FakeApiServer
let client: KubeClient
let catalog: ClusterCatalog
let problems: string[]
let troubles: string[]
let now: number

beforeEach(async () => {
  server = await startFakeApiServer()
  client = createKubeClient({ server: server.url })
  problems = []
  troubles = []
  now = 0
  server.put(NAMESPACES, { metadata: { name: 'team', labels: { team: 'ml' } } })
})

afterEach(async () => {
  await catalog.close()
  client.close()
  await server.close()
})

const clock: Clock = {
  now: () => now,
  sleep: () => new Promise((resolve) => setImmediate(resolve)),
  random: () => 1,
}

function open(options: Partial<ClusterOptions> = {}): ClusterCatalog {
  catalog = openCluster({
    client,
    clock,
    onProblem: (problem) => problems.push(problem),
    onTrouble: (_kind, problem) => troubles.push(problem),
    ...options,
  })
  return catalog
}

const spec = { secretRef: { name: 's' }, type: 'environment' }
const credential = (name: string, more: object = {}) =>
  server.put(CREDENTIALS, { metadata: { name, namespace: 'team', generation: 1 }, spec, ...more })
const view = (): NamespaceView => catalog.store.view('team')
const ready = (status: string, reason: string, message: string) => ({
  type: 'Ready',
  status,
  reason,
  message,
  lastTransitionTime: '2026-01-01T00:00:00Z',
})

describe('what the objects of a cluster become', () => {
  test('credentials, with what their status says of the Secret', async () => {
    credential('bare')
    credential('known', {
      status: {
        observedGeneration: 1,
        keys: ['A', 'B'],
        revision: 'abc',
        conditions: [ready('True', 'SecretFound', 'Secret s is there.')],
      },
    })
    credential('waiting', {
      status: {
        conditions: [
          ready('False', 'SecretNotFound', 'Secret s does not exist yet. Create it, and more advice.'),
        ],
      },
    })
    credential('expired', { status: { keys: ['A'], conditions: [ready('False', 'Expired', 'expired')] } })
    credential('changed', { status: { observedGeneration: 0, keys: ['OLD'], revision: 'old' } })
    await open().synced
    const of = (name: string) => view().credential(name)
    const common = { kind: 'Credential', secretName: 's', spec }
    expect(of('bare')).toEqual({ ...common, name: 'bare', keys: undefined })
    expect(of('known')).toEqual({ ...common, name: 'known', keys: ['A', 'B'], revision: 'abc' })
    expect(of('waiting')).toEqual({
      ...common,
      name: 'waiting',
      keys: undefined,
      notReady: 'Secret s does not exist yet',
    })
    expect(of('expired')).toEqual({ ...common, name: 'expired', keys: ['A'] })
    expect(of('changed')).toEqual({ ...common, name: 'changed', keys: undefined })
    expect(catalog.status().counts).toMatchObject({ credentials: 5, namespaces: 1 })
  })

  test('shared credentials, policies and the labels that select', async () => {
    const shared = (name: string, namespaceSelector: object, status?: object) =>
      server.put(CLUSTER, { metadata: { name }, spec: { ...spec, namespaceSelector }, status })
    shared('hub', { matchLabels: { team: 'ml' } }, { keys: ['K'], revision: 'r' })
    shared('other', { matchLabels: { team: 'web' } })
    const late = [ready('False', 'KeyMissing', 'Secret s lacks key A. Add it.')]
    shared('late', {}, { keys: [], conditions: late })
    shared(
      'stuck',
      {},
      {
        failedNamespaces: [
          { namespace: 'team', reason: 'Conflict', message: 'a Secret of that name is there already.' },
        ],
      },
    )
    server.put(POLICIES, {
      metadata: { name: 'p' },
      spec: { namespaceSelector: {}, credentials: ['cluster/hub'], enforcement: 'Enforce' },
    })
    await open().synced
    expect(view().clusterCredential('hub')).toMatchObject({
      secretName: 'credential-hub',
      keys: ['K'],
      revision: 'r',
    })
    expect(view().clusterCredential('other')).toBeUndefined()
    expect(view().clusterCredential('late')).toMatchObject({ notReady: 'Secret credential-late lacks key A' })
    expect(view().clusterCredential('stuck')).toMatchObject({
      notReady: 'a Secret of that name is there already',
    })
    expect(catalog.store.view('elsewhere').clusterCredential('stuck')).not.toHaveProperty('notReady')
    expect(view().policies.map(({ name }) => name)).toEqual(['p'])
    server.put(NAMESPACES, { metadata: { name: 'team', labels: { team: 'web' } } })
    await eventually('the label counts', () => view().clusterCredential('other'))
    expect(view().clusterCredential('hub')).toBeUndefined()
    server.remove(POLICIES, 'p')
    await eventually('the policy is gone', () => view().policies.length === 0)
  })

  test('namespaces are read without anything but their metadata', async () => {
    await open().synced
    const asked = server.requests.filter(({ path }) => path === '/api/v1/namespaces')
    expect(asked.every(({ headers }) => headers.accept?.includes('as=PartialObjectMetadata'))).toBe(true)
  })

  test('an object that this version does not understand is broken, with a sentence, until it is mended', async () => {
    credential('odd', { spec: { ...spec, type: 'smoke' } })
    server.put(CLUSTER, { metadata: { name: 'odd' }, spec: { type: 'environment', namespaceSelector: {} } })
    server.put(POLICIES, { metadata: { name: 'odd' }, spec: { namespaceSelector: {} } })
    await open().synced
    expect(view().credential('odd')).toEqual({
      broken: expect.stringMatching(
        /^its object in the cluster is not what this version understands: spec\.type: /,
      ),
    })
    expect(view().clusterCredential('odd')).toEqual({ broken: expect.stringContaining('spec.secretRef') })
    expect(view().policies).toEqual([])
    expect(problems.map((problem) => problem.slice(0, problem.indexOf(':'))).sort()).toEqual([
      'ClusterCredential odd',
      'Credential team/odd',
      'CredentialPolicy odd',
    ])
    expect(catalog.status().problems).toBe(3)
    credential('odd')
    await eventually('it is usable', () => 'spec' in (view().credential('odd') ?? {}))
    expect(catalog.status().problems).toBe(2)
  })

  test('a status that only counts anew changes nothing, not even the view', async () => {
    credential('a', { status: { keys: ['A'], usedBy: { pods: 1, workloads: 1 } } })
    await open().synced
    const before = view()
    credential('a', { status: { keys: ['A'], usedBy: { pods: 2, workloads: 1 } } })
    server.put(NAMESPACES, { metadata: { name: 'later' } })
    await eventually('the next change', () => catalog.status().kinds.Namespace.objects === 2)
    await eventually('it was seen', () => catalog.status().kinds.Credential.staleSeconds === 0)
    expect(view()).toBe(before)
  })
})

describe('the first sync', () => {
  test.each([
    [
      403,
      'Forbidden',
      /^credentialpolicies may not be read: give this user get, list and watch on credentialpolicies/,
    ],
    [404, 'NotFound', /^the cluster has no credentialpolicies: install the CRDs/],
    [401, 'Unauthorized', /^the API server does not know who asks for credentialpolicies: renew/],
    [500, 'InternalError', /^credentialpolicies cannot be read: InternalError/],
  ])('waits for all kinds, and says why one is missing (%s)', async (code, reason, sentence) => {
    const held = Promise.withResolvers<void>()
    server.fault('list', faults.status(code, reason), '/apis/run.ai/v1/credentialpolicies')
    let isReady = false
    open({ clock: { ...clock, sleep: () => held.promise } })
    void catalog.synced.then(() => {
      isReady = true
    })
    await eventually('trouble', () => troubles[0])
    expect(troubles[0]).toMatch(sentence)
    await eventually('the others', () => {
      const { Credential, ClusterCredential, Namespace } = catalog.status().kinds
      return Credential.isSynced && ClusterCredential.isSynced && Namespace.isSynced
    })
    expect(isReady).toBe(false)
    held.resolve()
    await catalog.synced
    expect(catalog.status().kinds.CredentialPolicy.isSynced).toBe(true)
  })
})

describe('direct reads', () => {
  /** Nothing that happens now comes by the watches. */
  async function openBehind(): Promise<void> {
    await open().synced
    await eventually('all watches are open', () => server.watches.size === 4)
    for (const watch of server.watches) watch.write = (() => true) as never
  }
  const gets = () =>
    server.requests.filter(({ verb }) => verb === 'get').map(({ path }) => path.split('/v1/')[1])
  const own = (name: string) => ({ cluster: false, name })
  const shared = (name: string) => ({ cluster: true, name })

  test('bring what the watch has not brought yet', async () => {
    await openBehind()
    credential('new')
    server.put(CLUSTER, { metadata: { name: 'hub' }, spec: { ...spec, namespaceSelector: {} } })
    server.put(NAMESPACES, { metadata: { name: 'fresh', labels: { team: 'ml' } } })
    expect(await catalog.reads.lookUp('team', [own('new'), shared('hub')])).toEqual({
      unchecked: new Map(),
      policiesUnchecked: undefined,
    })
    expect(view().credential('new')).toMatchObject({ name: 'new' })
    expect(view().clusterCredential('hub')).toMatchObject({ name: 'hub' })
    expect(catalog.reads.knowsNamespace('fresh')).toBe(false)
    await catalog.reads.lookUp('fresh', [])
    expect(catalog.reads.knowsNamespace('fresh')).toBe(true)
    expect(gets()).toEqual([
      'namespaces/team/credentials/new',
      'clustercredentials/new',
      'clustercredentials/hub',
      'namespaces/fresh',
    ])
    expect(catalog.reads.counts).toMatchObject({ found: 3, absent: 1 })
  })

  test('of the same object are one question', async () => {
    await openBehind()
    await Promise.all([1, 2, 3, 4].map(() => catalog.reads.lookUp('team', [shared('x')])))
    expect(gets()).toEqual(['clustercredentials/x'])
  })

  test('remember for a moment that there is none', async () => {
    await openBehind()
    await catalog.reads.lookUp('team', [own('x')])
    now = 999
    expect(catalog.reads.lookUp('team', [own('x')])).toBeUndefined()
    expect(gets()).toHaveLength(2)
    now = 1000
    await catalog.reads.lookUp('team', [own('x')])
    expect(gets()).toHaveLength(4)
  })

  test('and forget it when the watch has news', async () => {
    await open().synced
    await catalog.reads.lookUp('team', [own('x')])
    credential('x')
    await eventually('it came', () => view().credential('x'))
    server.remove(CREDENTIALS, 'x', 'team')
    await eventually('it went', () => view().credential('x') === undefined)
    expect(catalog.reads.lookUp('team', [own('x')])).toBeInstanceOf(Promise)
  })

  test('an answer that is late does not bring back what is gone', async () => {
    await open().synced
    server.fault('get', (answer) => {
      const old = credential('x')
      server.remove(CREDENTIALS, 'x', 'team')
      credential('y')
      void eventually('the watch is ahead', () => view().credential('y')).then(() =>
        answer.end(JSON.stringify(old)),
      )
    })
    await catalog.reads.lookUp('team', [own('x')])
    expect(view().credential('x')).toBeUndefined()
  })

  test('errors say that it could not be checked, and are not remembered', async () => {
    await openBehind()
    server.fault(
      'get',
      faults.status(403, 'Forbidden', { message: 'you may not' }),
      '/apis/run.ai/v1/clustercredentials',
    )
    expect((await catalog.reads.lookUp('team', [shared('x')]))?.unchecked).toEqual(
      new Map([['cluster/x', 'you may not']]),
    )
    expect((await catalog.reads.lookUp('team', [shared('x')]))?.unchecked).toEqual(new Map())
    expect(catalog.reads.counts.failed).toBe(1)
  })

  test('a namespace that cannot be asked for matters only if labels do', async () => {
    await openBehind()
    const forbid = () => server.fault('get', faults.status(500, 'InternalError'), '/api/v1/namespaces')
    forbid()
    expect((await catalog.reads.lookUp('fresh', []))?.policiesUnchecked).toBeUndefined()
    server.put(POLICIES, {
      metadata: { name: 'p' },
      spec: { namespaceSelector: {}, credentials: ['x'], enforcement: 'Enforce' },
    })
    server.cutWatches()
    await eventually('the policy', () => view().policies.length === 1)
    forbid()
    expect((await catalog.reads.lookUp('fresh', []))?.policiesUnchecked).toBe(
      'namespace fresh could not be looked up: InternalError',
    )
  })

  test('are bounded: names of a pod, and questions of a namespace at once', async () => {
    await openBehind()
    const many = Array.from({ length: 40 }, (_, index) => shared(`n${index}`))
    await catalog.reads.lookUp('team', many)
    expect(gets()).toHaveLength(16)
    const held: (() => void)[] = []
    for (let count = 0; count < 16; count++)
      server.fault('get', (_answer, _request, goOn) => void held.push(goOn))
    const asked = Array.from({ length: 16 + 64 + 3 }, (_, index) =>
      catalog.reads.lookUp('team', [shared(`m${index}`)]),
    )
    await eventually('the first ones are under way', () => held.length === 16)
    expect(gets()).toHaveLength(32)
    expect(catalog.reads.counts.busy).toBe(3)
    for (const goOn of held) goOn()
    const answers = await Promise.all(asked)
    expect(answers.filter((answer) => answer?.unchecked.size === 1)).toHaveLength(3)
  })

  test('which have waited too long are not asked any more', async () => {
    await openBehind()
    const held: (() => void)[] = []
    for (let count = 0; count < 16; count++)
      server.fault('get', (_answer, _request, goOn) => void held.push(goOn))
    const asked = Array.from({ length: 17 }, (_, index) =>
      catalog.reads.lookUp('team', [shared(`m${index}`)]),
    )
    await eventually('the first ones are under way', () => held.length === 16)
    now = 1001
    for (const goOn of held) goOn()
    expect((await asked[16])?.unchecked.get('cluster/m16')).toContain('too busy')
    expect(gets()).toHaveLength(16)
  })
})
