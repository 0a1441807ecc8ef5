import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { readGuardianFile } from './kit/layout.ts'
import { isAlive, type Running, startedIn } from './kit/processes.ts'
import { sharedCluster } from './kit/shared.ts'
import { removeStale } from './kit/teardown.ts'
import { whenObject } from './kit/watch.ts'

const deployment = (name: string) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec: { containers: [{ name: main, image: nothing }] }
`

describe('a control plane', () => {
  const shared = sharedCluster()
  let own: Cluster

  beforeAll(async () => {
    own = await startCluster({ users: { mallory: ['ml'] } })
  })
  afterAll(() => own.stop())

  test('two at once know nothing of each other', async () => {
    await own.kubectl(['create', 'configmap', 'mine'])

    const there = await shared.tryKubectl(['get', 'configmap', 'mine'])

    expect(there).toMatchObject({ code: 1, stderr: expect.stringContaining('"mine" not found') })
    expect(own.url).not.toBe(shared.url)
  })

  test('makes the pods of a Deployment, and writes down what was said', async () => {
    await own.kubectl(['apply', '-f', '-'], deployment('web'))
    await whenObject<any>(
      own.client,
      '/apis/apps/v1/namespaces/default/deployments',
      'web',
      ({ status }) => status.replicas === 1,
    )

    const { items } = await own.client.get<any>('/api/v1/namespaces/default/pods?labelSelector=app%3Dweb')

    expect(items).toHaveLength(1)
    const record = audited(own).find(
      ({ objectRef, verb }) => objectRef?.resource === 'pods' && verb === 'create' && !objectRef.subresource,
    )
    expect(record).toMatchObject({
      level: 'RequestResponse',
      user: { username: 'system:serviceaccount:kube-system:replicaset-controller' },
      responseObject: { metadata: { name: items[0].metadata.name } },
    })
    expect(audited(own).filter(({ objectRef }) => objectRef?.resource === 'configmaps')[0]).toMatchObject({
      level: 'Metadata',
    })
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'an API server that was ended by %s comes back with its data',
    async (signal) => {
      await own.createNamespace(`kept-${signal.toLowerCase()}`)

      await own.restartApiServer(signal)

      expect(await own.kubectl(['get', 'namespace', `kept-${signal.toLowerCase()}`, '-o', 'name'])).toMatch(
        /^namespace\/kept/,
      )
    },
  )

  test('a compacted history is gone: an old watch is told so', async () => {
    const { metadata } = await own.client.get<any>('/api/v1/namespaces/default/configmaps')
    await own.kubectl(['create', 'configmap', 'later'])
    await own.compact()
    // The API server remembers what it has seen itself, until it starts again.
    await own.restartApiServer()

    const watch = `/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=${metadata.resourceVersion}`
    await expect(own.client.stream(watch).next()).rejects.toMatchObject({ status: 410, reason: 'Expired' })
  })

  test('waiting for an object goes on over a restart of the API server', async () => {
    const configMaps = '/api/v1/namespaces/default/configmaps'
    const seen: unknown[] = []
    const waiting = whenObject<any>(own.client, configMaps, 'awaited', (object) => {
      seen.push(object.data)
      return object.data?.state === 'right'
    })
    await own.kubectl(['create', 'configmap', 'awaited', '--from-literal=state=wrong'])
    await vi.waitFor(() => expect(seen).toEqual([{ state: 'wrong' }]), { timeout: 20_000 })

    await own.restartApiServer('SIGKILL')
    await own.kubectl(['patch', 'configmap', 'awaited', '-p', '{"data":{"state":"right"}}'])

    expect((await waiting).data).toEqual({ state: 'right' })
    await expect(
      whenObject(own.client, `${configMaps}-misspelt`, 'awaited', () => true),
    ).rejects.toMatchObject({
      status: 404,
    })
    await expect(whenObject(own.client, configMaps, 'awaited', () => false, 500)).rejects.toThrow(
      /awaited is not as expected after 0.5 s: \{[\s\S]*"right"/,
    )
  })

  test('a service account and a user are who their tokens say', async () => {
    const whoami = async (token: string) =>
      JSON.parse(
        await own.kubectl(['--kubeconfig', own.kubeconfigFor(token), 'auth', 'whoami', '-o', 'json']),
      ).status.userInfo

    expect(await whoami(await own.tokenFor('default', 'default'))).toMatchObject({
      username: 'system:serviceaccount:default:default',
    })
    expect(await whoami(own.userTokens.mallory as string)).toMatchObject({
      username: 'mallory',
      groups: ['ml', 'system:authenticated'],
    })
  })

  test('goes with the process that started it, even if that was killed', async () => {
    const { child, folder } = await startElsewhere()
    const running = startedIn(folder)
    expect(running.filter(isAlive)).toHaveLength(3)

    child.kill('SIGKILL')

    await vi.waitFor(() => expect(existsSync(folder)).toBe(false), { timeout: 20_000 })
    expect(running.filter(isAlive)).toEqual([])
  })

  test('that nobody was left to take down goes before the next one starts', async () => {
    const { child, folder } = await startElsewhere()
    const running = startedIn(folder)
    const guardian = readGuardianFile(folder) as Running
    process.kill(guardian.pid, 'SIGKILL')
    await vi.waitFor(() => expect(isAlive(guardian)).toBe(false), { timeout: 20_000 })
    child.kill('SIGKILL')
    expect(running.filter(isAlive)).toHaveLength(3)

    await removeStale()

    expect(running.filter(isAlive)).toEqual([])
    expect(existsSync(folder)).toBe(false)
  })
})

/** A cluster of another process. */
async function startElsewhere() {
  const script = fileURLToPath(new URL('kit/start-and-wait.ts', import.meta.url))
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [folder] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return { child, folder }
}

function audited({ auditLog }: Cluster): any[] {
  return readFileSync(auditLog, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}
