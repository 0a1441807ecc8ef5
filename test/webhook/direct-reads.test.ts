/** Pods that come before the news of their credential: the webhook over real TLS, in front of a cluster whose watches are behind. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { policyPath } from '../../src/api/policy-path.ts'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import { type ClusterCatalog, openCluster } from '../../src/store/cluster.ts'
import { REVIEW_PATH } from '../../src/webhook/app.ts'
import { WORKLOAD_PATH } from '../../src/webhook/workloads.ts'
import { reviewOf } from '../support/client.ts'
import { type FakeApiServer, faults, startFakeApiServer } from '../support/fake-apiserver.ts'
import { eventually, type OpenWebhook, openWebhook } from '../support/webhook.ts'

const spec = { secretRef: { name: 's' }, type: 'environment' }

let server: FakeApiServer
let client: KubeClient
let catalog: ClusterCatalog
let webhook: OpenWebhook

beforeEach(async () => {
  server = await startFakeApiServer()
  client = createKubeClient({ server: server.url })
  server.put('v1/namespaces', { metadata: { name: 'team', labels: {} } })
})

afterEach(async () => {
  await webhook.close()
  await catalog.close()
  client.close()
  await server.close()
})

/** Nothing that happens after this comes by the watches. */
async function open(): Promise<void> {
  catalog = openCluster({ client })
  await catalog.synced
  await eventually('all watches are open', () => server.watches.size === 4)
  for (const watch of server.watches) watch.write = (() => true) as never
  webhook = await openWebhook({ store: catalog.store, reads: catalog.reads })
}

const credential = (name: string) =>
  server.put('run.ai/v1/credentials', { metadata: { name, namespace: 'team' }, spec })

const policy = (
  name: string,
  enforcement: string,
  credentials: string[],
  namespaceSelector: object = {},
  revision: object = {},
) =>
  server.put('run.ai/v1/credentialpolicies', {
    metadata: { name, ...revision },
    spec: { namespaceSelector, credentials, enforcement },
  })

const gets = () => server.requests.filter(({ verb }) => verb === 'get').length

async function create(inject: string | undefined, namespace = 'team', annotations: object = {}, path = '') {
  const named = { ...annotations, ...(inject !== undefined && { 'credentials.run.ai/inject': inject }) }
  const pod = {
    metadata: { name: 'p', namespace, annotations: named },
    spec: { containers: [{ name: 'main', image: 'i' }] },
  }
  const review = reviewOf(pod, namespace)
  const answer = await webhook.client.post(JSON.stringify(review), { path: REVIEW_PATH + path })
  const body = JSON.parse(answer.text)
  return { status: answer.status, headers: answer.headers, body, response: body.response }
}

describe('a pod that comes before the news', () => {
  test('of its credential is injected', async () => {
    await open()
    credential('new')
    const { response } = await create('new')
    expect(response).toMatchObject({ allowed: true, patchType: 'JSONPatch' })
    expect(Buffer.from(response.patch, 'base64').toString()).toContain('"name":"s"')
  })

  test('a workload that comes before its credential is not warned about', async () => {
    await open()
    credential('new')
    const check = async (name: string) => {
      const template = {
        metadata: { annotations: { 'credentials.run.ai/inject': name } },
        spec: { containers: [{ name: 'main', image: 'i' }] },
      }
      const ofPod = reviewOf({}, 'team')
      const workload = {
        kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
        resource: { group: 'apps', version: 'v1', resource: 'deployments' },
        object: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' }, spec: { template } },
      }
      const review = { ...ofPod, request: { ...ofPod.request, ...workload } }
      const answer = await webhook.client.post(JSON.stringify(review), { path: WORKLOAD_PATH })
      return answer.json().response
    }
    expect(await check('new')).toMatchObject({ allowed: true })
    expect(await check('new')).not.toHaveProperty('warnings')
    expect((await check('news')).warnings).toEqual([
      'CredentialNotFound: credential news does not exist; did you mean "new"?',
    ])
  })

  test('of its namespace gets what is offered there', async () => {
    server.put('run.ai/v1/clustercredentials', {
      metadata: { name: 'hub' },
      spec: { ...spec, namespaceSelector: { matchLabels: { team: 'ml' } } },
    })
    policy('p', 'Enforce', ['cluster/hub'], { matchLabels: { team: 'ml' } })
    await open()
    server.put('v1/namespaces', { metadata: { name: 'fresh', labels: { team: 'ml' } } })
    expect((await create('cluster/hub', 'fresh')).response).toMatchObject({
      allowed: true,
      patchType: 'JSONPatch',
    })
    server.put('v1/namespaces', { metadata: { name: 'fresher', labels: { team: 'ml' } } })
    // It names nothing: only the policy, by the label, gives it something.
    expect((await create(undefined, 'fresher')).response).toMatchObject({
      allowed: true,
      patchType: 'JSONPatch',
    })
  })

  test.each(['Enforce', 'Default'])('of what a policy names (%s) is injected', async (enforcement) => {
    policy('p', enforcement, ['new'])
    await open()
    credential('new')
    const { response } = await create(undefined)
    expect(response).toMatchObject({ allowed: true, patchType: 'JSONPatch' })
    expect(response.warnings ?? []).toEqual([])
  })

  test('all pods of a moment with one question', async () => {
    await open()
    credential('new')
    const answers = await Promise.all(Array.from({ length: 20 }, () => create('new')))
    expect(answers.every(({ response }) => response.allowed)).toBe(true)
    expect(gets()).toBe(2)
  })
})

describe('a pod that is sent for a policy', () => {
  const at = (generation: number, uid = 'u-1') => ({ uid, generation })
  const sentFor = (policy: string, generation: number, uid?: string, namespace?: string) =>
    create(undefined, namespace, {}, policyPath({ policy, revision: at(generation, uid) }))
  const patchOf = ({ patch = '' }: { patch?: string }) => Buffer.from(patch, 'base64').toString()
  const secrets = (...names: string[]) => {
    for (const name of names)
      server.put('run.ai/v1/credentials', {
        metadata: { name, namespace: 'team' },
        spec: { ...spec, secretRef: { name } },
      })
  }

  test('that nobody has told of is injected, all at once with one question each', async () => {
    secrets('a')
    await open()
    policy('new', 'Enforce', ['a'], {}, at(1))
    const answers = await Promise.all(Array.from({ length: 50 }, () => sentFor('new', 1)))
    for (const { response } of answers) expect(patchOf(response)).toContain('"name":"a"')
    expect(gets()).toBe(2)
    // From now on it is known.
    await sentFor('new', 1)
    expect(gets()).toBe(2)
  })

  test('whose credential is as new', async () => {
    await open()
    secrets('fresh')
    policy('new', 'Enforce', ['fresh'], {}, at(1))
    expect(patchOf((await sentFor('new', 1)).response)).toContain('"name":"fresh"')
  })

  test.each([
    ['has another spec', at(2)],
    ['has been made anew', at(1, 'u-2')],
  ])('that %s by now gets what it gives now', async (_title, now) => {
    secrets('old', 'new')
    policy('p', 'Enforce', ['old'], {}, at(1))
    await open()
    policy('p', 'Enforce', ['new'], {}, now)
    expect(patchOf((await sentFor('p', now.generation, now.uid)).response)).toContain('"name":"new"')
    expect(gets()).toBe(2)
  })

  test('by a state that is older than what is known needs no question', async () => {
    secrets('a')
    policy('p', 'Enforce', ['a'], {}, at(3))
    await open()
    expect(patchOf((await sentFor('p', 2)).response)).toContain('"name":"a"')
    expect(gets()).toBe(0)
  })

  test('whose namespace has just been given the label', async () => {
    secrets('a')
    policy('p', 'Enforce', ['a'], { matchLabels: { team: 'ml' } }, at(1))
    await open()
    server.put('v1/namespaces', { metadata: { name: 'team', labels: { team: 'ml' } } })
    expect(patchOf((await sentFor('p', 1)).response)).toContain('"name":"a"')
  })

  test('that is gone by now starts without', async () => {
    await open()
    const { response } = await sentFor('gone', 1)
    expect(response).toMatchObject({ allowed: true })
    expect(response).not.toHaveProperty('patch')
    // Absence is not remembered: a policy of that name may be made at any time.
    secrets('a')
    policy('gone', 'Enforce', ['a'], {}, at(1, 'u-9'))
    expect(patchOf((await sentFor('gone', 1, 'u-9')).response)).toContain('"name":"a"')
  })

  test('that cannot be looked up is not guessed', async () => {
    await open()
    server.fault('get', faults.status(500, 'InternalError', { message: 'not now' }), '/apis/run.ai')
    const { status, body } = await sentFor('new', 1)
    expect(status).toBe(503)
    expect(body.message).toBe('The pod cannot be judged yet: policy new could not be looked up: not now.')
  })

  test('of the longest name', async () => {
    const name = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`
    secrets('a')
    await open()
    policy(name, 'Enforce', ['a'], {}, at(1))
    expect(patchOf((await sentFor(name, 1)).response)).toContain('"name":"a"')
  })

  test.each(['', 'no-revision', '1_u', '../1-u', `1-${'u'.repeat(48)}`])(
    'by a path that nobody makes (%j) is judged like any other',
    async (revision) => {
      await open()
      const { status, response } = await create(
        undefined,
        'team',
        {},
        `/policies/p/${encodeURIComponent(revision)}`,
      )
      expect(status).toBe(200)
      expect(response).toMatchObject({ allowed: true })
      expect(gets()).toBe(0)
    },
  )
})

describe('what is known needs no question', () => {
  test('a credential, a pod without, a mirror pod, a namespace that is left alone', async () => {
    credential('known')
    await open()
    await create('known')
    await create(undefined)
    await create('nonsense', 'kube-system')
    await create('nonsense', 'fresh', { 'kubernetes.io/config.mirror': 'x' })
    expect(gets()).toBe(0)
  })
})

describe('what there is not', () => {
  test('is denied, and asked for once', async () => {
    await open()
    const [first, second] = [await create('missing'), await create('missing')]
    for (const { response } of [first, second]) {
      expect(response.allowed).toBe(false)
      expect(response.status.message).toContain('credential missing does not exist in namespace team')
      expect(response.status.message).not.toContain('could not be looked up')
    }
    expect(gets()).toBe(2)
  })

  test('and what could not be looked up is denied with that said', async () => {
    await open()
    server.fault('get', faults.status(403, 'Forbidden', { message: 'you may not' }))
    const { response } = await create('missing')
    expect(response.status.message).toContain(
      'credential missing does not exist in namespace team (it may be new, and could not be looked up: you may not)',
    )
  })

  test('a namespace whose policies cannot be known is not guessed: API servers ask again', async () => {
    policy('p', 'Enforce', ['cluster/hub'], { matchLabels: { team: 'ml' } })
    await open()
    server.fault('get', faults.status(500, 'InternalError', { message: 'not now' }))
    const { status, headers, body } = await create(undefined, 'fresh')
    expect(status).toBe(503)
    expect(headers['retry-after']).toBe('1')
    expect(body.message).toBe(
      'The pod cannot be judged yet: namespace fresh could not be looked up: not now.',
    )
  })

  test('an API server that does not answer delays no longer than the limit, and nobody else', async () => {
    credential('known')
    await open()
    for (const name of ['namespaces/team/credentials/slow', 'clustercredentials/slow'])
      server.fault('get', faults.nothing(), `/apis/run.ai/v1/${name}`)
    const slow = create('slow')
    await server.received(({ path }) => path.endsWith('/slow'))
    expect((await create('known')).response.allowed).toBe(true)
    expect((await slow).response.status.message).toContain('no answer from the API server in')
  })
})
