/** The program on a cluster: how it finds it, when it is ready, and what it says until then. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type FakeApiServer, faults, startFakeApiServer } from '../support/fake-apiserver.ts'
import { type Run, run, writeFolder } from '../support/server.ts'
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
