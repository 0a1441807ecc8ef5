/** The program on a cluster: how it finds it, when it is ready, and what it says until then. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type ApiServerClient, apiServerClient, podAsking } from '../support/client.ts'
import { type FakeApiServer, faults, startFakeApiServer } from '../support/fake-apiserver.ts'
import { type Run, run, testCertificates, writeFolder } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'

let server: FakeApiServer | undefined
let child: Run | undefined

afterEach(async () => {
  child?.signal('SIGKILL')
  await child?.exited
  await server?.close()
  child = undefined
  server = undefined
})

function kubeconfigOf({ url }: FakeApiServer): string {
  const folder = writeFolder({
    config: JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c' } }],
      clusters: [{ name: 'c', cluster: { server: url } }],
    }),
  })
  return join(folder, 'config')
}

/** Where its metrics are is announced only when it is ready. */
async function freePort(): Promise<string> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, 'close')
  return String(port)
}

function start(kubeconfig: string, ...flags: string[]): Run {
  child = run(['serve', '--kubeconfig', kubeconfig, '--port', '0', ...flags])
  return child
}

describe('serve --kubeconfig', () => {
  test('is ready when the cluster has been read, and says what it found', async () => {
    server = await startFakeApiServer()
    server.put('v1/namespaces', { metadata: { name: 'team' } })
    server.put('run.ai/v1/credentials', {
      metadata: { name: 'a', namespace: 'team' },
      spec: { secretRef: { name: 's' }, type: 'environment' },
    })
    server.put('run.ai/v1/credentials', { metadata: { name: 'b', namespace: 'team' }, spec: {} })
    const { stdout, log } = start(kubeconfigOf(server))
    await eventually('ready', () => stdout().includes('is ready:'))
    expect(stdout()).toContain(
      `Cluster ${server.url}: 1 credential in 1 namespace, 0 cluster credentials, 0 policies; 1 problem, named in the log`,
    )
    await eventually('the problem', () =>
      log().some(({ problem }) => String(problem).startsWith('Credential team/b: its object in the cluster')),
    )
    const metrics = await (await fetch(/http:\S+metrics/.exec(stdout())?.[0] as string)).text()
    for (const line of [
      'credential_injector_catalog_credentials 1',
      'credential_injector_catalog_problems 1',
      'credential_injector_cluster_objects{kind="Credential"} 2',
      'credential_injector_cluster_synced{kind="Namespace"} 1',
      'credential_injector_cluster_relists_total{kind="CredentialPolicy"} 0',
      'credential_injector_cluster_failures_total{kind="Credential"} 0',
      'credential_injector_direct_reads_total{outcome="found"} 0',
    ])
      expect(metrics).toContain(`${line}\n`)
    expect(metrics).toMatch(/credential_injector_cluster_stale_seconds\{kind="Credential"\} \d/)
  })

  test('until then it is alive, not ready, and says why', async () => {
    server = await startFakeApiServer()
    for (let count = 0; count < 1000; count++)
      server.fault('list', faults.status(403, 'Forbidden', { message: 'no' }), '/apis/run.ai/v1/credentials')
    const port = await freePort()
    const { log, signal, exited, stdout } = start(kubeconfigOf(server), '--metrics-port', port)
    const line = await eventually('trouble in the log', () => log()[0])
    expect(line).toMatchObject({
      level: 'warn',
      kind: 'Credential',
      problem: expect.stringContaining('give this user get, list and watch on credentials'),
    })
    const answerAt = (path: string) => fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined)
    const healthz = await eventually('it is alive', () => answerAt('/healthz'))
    expect(healthz.status).toBe(200)
    const readyz = await eventually('the others have been read', async () => {
      const answer = await answerAt('/readyz')
      const body = (await answer?.json()) as { message: string }
      return answer?.status === 503 && body.message.includes('cluster: Credential;') ? body : undefined
    })
    expect(readyz.message).toMatch(
      /^Still to be read from the cluster: Credential; credentials may not be read: /,
    )
    expect(stdout()).toBe('')
    signal('SIGTERM')
    expect(await exited).toEqual({ code: 0, signal: null })
  })
})

describe('the owner of a refused pod', () => {
  const EVENTS = '/api/v1/namespaces/team/events'
  const owner = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: 'train-5d9',
    uid: 'uid-1',
    controller: true,
  }
  const pod = (credential: string) => {
    const annotations = { 'credentials.run.ai/inject': credential }
    return podAsking('', { generateName: 'train-5d9-', ownerReferences: [owner], annotations })
  }
  let client: ApiServerClient
  let metrics: () => Promise<string>

  const open = async (...flags: string[]) => {
    server = await startFakeApiServer()
    server.put('v1/namespaces', { metadata: { name: 'team' } })
    const { folder, ca } = await testCertificates()
    const tls = ['--tls-cert', join(folder, 'tls.crt'), '--tls-key', join(folder, 'tls.key')]
    const { stdout } = start(kubeconfigOf(server), ...tls, '--shutdown-delay', '0', ...flags)
    await eventually('ready', () => stdout().includes('Metrics:'))
    client = apiServerClient({ url: /https:\S+/.exec(stdout())?.[0] as string, ca })
    metrics = async () => (await fetch(/http:\S+metrics/.exec(stdout())?.[0] as string)).text()
    return server
  }
  afterEach(() => client?.close())

  test('gets one event, however often it is tried', async () => {
    const { objects } = await open()
    for (let tries = 0; tries < 20; tries++)
      expect(await client.createPod(pod('nothing'), 'team')).toMatchObject({ allowed: false })
    await client.createPod(pod('something-else'), 'team')
    await eventually('two events', () => objects('v1/events').length === 2)

    expect(objects('v1/events')[0]).toMatchObject({
      type: 'Warning',
      reason: 'CredentialNotFound',
      message: expect.stringMatching(/^CredentialNotFound: .*nothing/),
      metadata: { namespace: 'team', name: expect.stringMatching(/^train-5d9\.[0-9a-f]{16}$/) },
      involvedObject: { kind: 'ReplicaSet', name: 'train-5d9', uid: 'uid-1', namespace: 'team' },
      source: { component: 'credential-injector-webhook' },
      count: 1,
    })
    await eventually('they are counted', async () =>
      (await metrics()).includes('credential_injector_owner_events_total{outcome="sent"} 2\n'),
    )
    expect(await metrics()).toContain('credential_injector_owner_events_total{outcome="repeated"} 19\n')
  })

  test('is not told by a webhook that has no right to; pods are answered all the same', async () => {
    const { fault } = await open()
    for (let tries = 0; tries < 3; tries++)
      fault('create', faults.status(403, 'Forbidden', { message: 'no right to create events' }), EVENTS)
    for (let tries = 1; tries <= 3; tries++) {
      expect(await client.createPod(pod('nothing'), 'team')).toMatchObject({ allowed: false })
      await eventually('lost', async () =>
        (await metrics()).includes(`credential_injector_owner_events_total{outcome="lost"} ${tries}\n`),
      )
    }
    // Once a minute is enough.
    const lines = await eventually('the log', () => {
      const found = child?.log().filter(({ msg }) => String(msg).includes('an event for the owner'))
      return found?.length && found
    })
    expect(lines).toMatchObject([
      {
        level: 'warn',
        reason: 'CredentialNotFound',
        namespace: 'team',
        problem: 'no right to create events',
      },
    ])
  })

  test('is told nothing where that is switched off', async () => {
    const { requests } = await open('--owner-events', 'false')
    expect(await client.createPod(pod('nothing'), 'team')).toMatchObject({ allowed: false })
    client.close()
    child?.signal('SIGTERM')
    await child?.exited
    expect(requests.filter(({ verb }) => !['get', 'list', 'watch'].includes(verb))).toEqual([])
  })

  test('an API server that does not answer holds up neither reviews nor the end', async () => {
    const { fault, received } = await open()
    fault('create', () => {}, EVENTS)
    for (let tries = 0; tries < 50; tries++)
      expect(await client.createPod(pod(`nothing-${tries}`), 'team')).toMatchObject({ allowed: false })
    await received(({ verb, path }) => verb === 'create' && path === EVENTS)
    client.close()
    child?.signal('SIGTERM')
    expect(await child?.exited).toEqual({ code: 0, signal: null })
  })
})

describe('without a way to a cluster it ends with a sentence and exit code 2', () => {
  const folder = writeFolder({ empty: '' })
  test.each([
    [
      'no flag',
      [],
      /^This is not a pod of a cluster: name a kubeconfig with --kubeconfig FILE\. Without a cluster/,
    ],
    ['no file', ['--kubeconfig', join(folder, 'none')], /^The kubeconfig .*none cannot be read: ENOENT/],
    ['an empty one', ['--kubeconfig', join(folder, 'empty')], /^The kubeconfig .*empty is empty/],
    [
      'only a context',
      ['--context', 'c'],
      /^--context names a context of a kubeconfig: give --kubeconfig FILE too/,
    ],
    [
      'two sources',
      ['--catalog', folder, '--kubeconfig', 'x'],
      /^Credentials come from a folder or from a cluster/,
    ],
  ])('%s', async (_what, flags, sentence) => {
    child = run(['serve', '--port', '0', ...flags], { KUBERNETES_SERVICE_HOST: '' })
    expect(await child.exited).toMatchObject({ code: 2 })
    expect(child.stderr()).toMatch(sentence)
  })
})
