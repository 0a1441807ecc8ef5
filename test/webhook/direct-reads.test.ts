/** Pods that come before the news of their credential: the webhook over real TLS, in front of a cluster whose watches are behind. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import { type ClusterCatalog, openCluster } from '../../src/store/cluster.ts'
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

const policy = (name: string, enforcement: string, credentials: string[], namespaceSelector: object = {}) =>
  server.put('run.ai/v1/credentialpolicies', {
    metadata: { name },
    spec: { namespaceSelector, credentials, enforcement },
  })

const gets = () => server.requests.filter(({ verb }) => verb === 'get').length

async function create(inject: string | undefined, namespace = 'team', annotations: object = {}) {
  const named = { ...annotations, ...(inject !== undefined && { 'credentials.run.ai/inject': inject }) }
  const pod = {
    metadata: { name: 'p', namespace, annotations: named },
    spec: { containers: [{ name: 'main', image: 'i' }] },
  }
  const review = reviewOf(pod, namespace)
  const answer = await webhook.client.post(JSON.stringify(review))
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
