/** The webhook on a real API server: news that has not come yet, watches that are cut, history that is forgotten, a server that restarts. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { KubeError, type KubeObject } from '../../src/kube/client.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import {
  credentialNamed,
  grantRights,
  kubeconfigBy,
  makeWebhookAccount,
  podWith,
  register,
  startWebhook,
  type WebhookProcess,
} from './support/webhook-process.ts'
import { layWire, type Wire } from './support/wire.ts'

const HOME = 'credential-injector'
const TEAM = 'team'
const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
const PODS = `/api/v1/namespaces/${TEAM}/pods`

// A cluster of its own: its API server is restarted.
let cluster: Cluster
let wire: Wire
let webhook: WebhookProcess

beforeAll(async () => {
  cluster = await startCluster({ name: 'store' })
  wire = await layWire(cluster.url)
  await cluster.createNamespace(HOME)
  await cluster.createNamespace(TEAM, { injected: 'yes' })
  const token = await makeWebhookAccount(cluster, HOME)
  // Not a line for each pod.
  webhook = await startWebhook(kubeconfigBy(cluster, wire.url, token), ['--log-level', 'warn'])
})

afterAll(async () => {
  await webhook?.stop()
  await wire?.close()
  await cluster?.stop()
})

beforeEach(({ onTestFailed }) => {
  onTestFailed(
    () => void process.stderr.write(`The webhook's log ends with:\n${webhook.stderr().slice(-8_000)}\n`),
  )
})

const problems = () => webhook.log().map(({ problem }) => String(problem))

/** Env or envFrom of the pod that was stored. */
async function injectedSecret(name: string, path = PODS): Promise<string | undefined> {
  const pod = await cluster.client.get<any>(`${path}/${name}`)
  return pod.spec.containers[0].envFrom?.[0]?.secretRef?.name
}

describe('until everything has been read', () => {
  test('missing rights are told, with what to give', async () => {
    await eventually('the sentence', () =>
      problems().some((problem) =>
        /^namespaces may not be read: give this user get, list and watch on namespaces, as the chart's ClusterRole does \(namespaces is forbidden: User "system:serviceaccount:credential-injector:credential-injector-webhook" cannot list resource "namespaces"/.test(
          problem,
        ),
      ),
    )
    await grantRights(cluster, HOME)
  })

  test('missing CRDs are told, with where they are', async () => {
    await eventually('the sentence', () =>
      problems().includes(
        'the cluster has no credentials: install the CRDs, with the chart or with kubectl apply -f charts/credential-injector/files/crds',
      ),
    )
    expect(webhook.isReady()).toBe(false)
    await installCrds(cluster.client)
    await eventually('it is ready', () => webhook.isReady())
    await register(cluster, webhook, TEAM)
  })

  test('its service account may not read a Secret', async () => {
    const answer = await cluster.tryKubectl([
      'auth',
      'can-i',
      'get',
      'secrets',
      `--as=system:serviceaccount:${HOME}:credential-injector-webhook`,
      '-A',
    ])
    expect(answer.stdout).toBe('no\n')
  })
})

describe('a pod right after its credential', () => {
  test('works every time in 200 tries', async () => {
    for (let count = 0; count < 200; count++) {
      await cluster.client.create(CREDENTIALS, credentialNamed(`try-${count}`))
      await cluster.client.create(PODS, podWith(`try-${count}`, `try-${count}`))
    }
    const pods = await cluster.client.get<{ items: any[] }>(PODS)
    const secrets = pods.items.map(({ spec }) => spec.containers[0].envFrom?.[0]?.secretRef?.name)
    expect(secrets.sort()).toEqual(Array.from({ length: 200 }, (_, count) => `try-${count}-secret`).sort())
    const found = await webhook.metric('direct_reads_total{outcome="found"}')
    process.stdout.write(`of 200 pods right after their credential, ${found} needed a direct read\n`)
    await cluster.kubectl(['delete', 'pods', '--all', '-n', TEAM, '--wait=false'])
  })

  test('works while its watches are held, by a direct read and nothing else', async () => {
    const before = await webhook.metric('direct_reads_total{outcome="found"}')
    wire.cut()
    for (let count = 0; count < 20; count++) {
      await cluster.client.create(CREDENTIALS, credentialNamed(`cut-${count}`))
      wire.cut()
      await cluster.client.create(PODS, podWith(`cut-${count}`, `cut-${count}`))
      expect(await injectedSecret(`cut-${count}`)).toBe(`cut-${count}-secret`)
    }
    expect(await webhook.metric('direct_reads_total{outcome="found"}')).toBeGreaterThan(before)
  })

  test('works by one kubectl apply, namespace and shared credential included', async () => {
    for (let count = 0; count < 5; count++) {
      const namespace = `fresh-${count}`
      const manifests = [
        {
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: { name: namespace, labels: { injected: 'yes', shares: 'yes' } },
        },
        { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'runner', namespace } },
        {
          apiVersion: 'run.ai/v1',
          kind: 'ClusterCredential',
          metadata: { name: `hub-${count}` },
          spec: {
            secretRef: { name: 'hub' },
            type: 'environment',
            namespaceSelector: { matchLabels: { shares: 'yes' } },
          },
        },
        withNamespace(credentialNamed('own'), namespace),
        withNamespace(podOf('runner', podWith('a', `own, cluster/hub-${count}`)), namespace),
      ]
      await cluster.kubectl(
        ['apply', '-f', '-'],
        manifests.map((each) => JSON.stringify(each)).join('\n---\n'),
      )
      const pod = await cluster.client.get<any>(`/api/v1/namespaces/${namespace}/pods/a`)
      expect(pod.spec.containers[0].envFrom.map(({ secretRef }: any) => secretRef.name)).toEqual([
        'own-secret',
        `credential-hub-${count}`,
      ])
    }
  })

  test('what does not exist is denied, and when it exists a moment later it works', async () => {
    await expect(cluster.client.create(PODS, podWith('late', 'late'))).rejects.toThrow(
      'credential late does not exist in namespace team',
    )
    await cluster.client.create(CREDENTIALS, credentialNamed('late'))
    await eventually('the pod is created', () =>
      cluster.client.create(PODS, podWith('late', 'late')).then(
        () => true,
        () => false,
      ),
    )
    expect(await injectedSecret('late')).toBe('late-secret')
  })
})

describe('faults, while pods are created steadily', () => {
  beforeAll(async () => {
    await cluster.client.create(CREDENTIALS, credentialNamed('steady'))
  })

  test('watches that are cut: no failed creation, and changes come through', async () => {
    const load = createPods('watch-cut')
    for (let count = 0; count < 10; count++) {
      wire.cut()
      await cluster.client.create(CREDENTIALS, credentialNamed(`after-cut-${count}`))
      await load.more(5)
    }
    await cacheIsRight()
    const { created, failures } = await load.end()
    expect(failures).toEqual([])
    process.stdout.write(`watches cut 10 times: ${created} pods created, 0 failed\n`)
  })

  test('history that is forgotten (410): no failed creation by the webhook, and the difference is noticed', async () => {
    const relists = () => webhook.metric('cluster_relists_total{kind="Credential"}')
    const before = await relists()
    wire.hold()
    await cluster.client.delete(`${CREDENTIALS}/after-cut-0`)
    await cluster.client.create(CREDENTIALS, credentialNamed('after-410'))
    await cluster.compact()
    // The API server would answer from its own memory of what happened.
    await cluster.restartApiServer()
    const load = createPods('compacted')
    await load.more(5)
    wire.mend()
    await eventually('it has listed anew', async () => (await relists()) > before)
    await load.more(5)
    await cacheIsRight()
    const { created, failures } = await load.end()
    expect(failures).toEqual([])
    expect(await injectedSecretOf('after-410')).toBe('after-410-secret')
    await expect(cluster.client.create(PODS, podWith('gone', 'after-cut-0'))).rejects.toThrow(
      'does not exist',
    )
    process.stdout.write(`compaction and 410: ${created} pods created, 0 failed\n`)
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'an API server that restarts (%s): no creation fails but by the API server being away',
    async (signal) => {
      const load = createPods(`restart-${signal.toLowerCase()}`)
      await load.more(10)
      await load.withoutServer(() => cluster.restartApiServer(signal))
      await cluster.client.create(CREDENTIALS, credentialNamed(`after-${signal.toLowerCase()}`))
      await load.more(10)
      await cacheIsRight()
      const { created, failures, away } = await load.end()
      expect(failures).toEqual([])
      process.stdout.write(
        `API server restarted by ${signal}: ${created} pods created, 0 failed, ${away} tries met no API server\n`,
      )
    },
  )

  test('nothing of all that was a bug', async () => {
    expect(await webhook.metric('uncaught_errors_total')).toBe(0)
    expect(await webhook.metric('crashes_total')).toBe(0)
    for (const kind of ['Credential', 'ClusterCredential', 'CredentialPolicy', 'Namespace'])
      expect(await webhook.metric(`cluster_handler_errors_total{kind="${kind}"}`)).toBe(0)
  })
})

// ---- Helpers ---------------------------------------------------------------------------------------------------------

async function injectedSecretOf(credential: string): Promise<string | undefined> {
  const name = `uses-${credential}`
  await cluster.client.create(PODS, podWith(name, credential))
  return injectedSecret(name)
}

/** The copy has exactly the objects that the API server has. */
async function cacheIsRight(): Promise<void> {
  await eventually('the copy is what the API server has', async () => {
    const { items } = await cluster.client.get<{ items: KubeObject[] }>('/apis/run.ai/v1/credentials')
    return (await webhook.metric('cluster_objects{kind="Credential"}')) === items.length
  })
}

interface Load {
  /** Creations that begin during this may meet no API server. */
  withoutServer(restart: () => Promise<void>): Promise<void>
  /** Resolves when so many more have been created. */
  more(count: number): Promise<void>
  end(): Promise<{ created: number; failures: string[]; away: number }>
}

/** One pod after the other, as fast as it goes, until its end. */
function createPods(prefix: string): Load {
  let created = 0
  let away = 0
  let isEnding = false
  let mayBeAway = false
  const failures: string[] = []
  const waiting = new Set<() => void>()
  const work = async () => {
    for (let count = 0; !isEnding; count++) {
      const isExcused = mayBeAway
      try {
        await cluster.client.create(`${PODS}?dryRun=All`, podWith(`${prefix}-${count}`, 'steady'))
        created++
      } catch (error) {
        if ((isExcused || mayBeAway) && isAway(error)) away++
        else failures.push((error as Error).message)
      }
      for (const check of waiting) check()
    }
  }
  const working = work()
  return {
    async withoutServer(restart) {
      mayBeAway = true
      await restart()
      mayBeAway = false
    },
    more(count) {
      const goal = created + count
      return new Promise((resolve) => {
        const check = () => {
          if (created < goal) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
      })
    },
    async end() {
      isEnding = true
      await working
      return { created, failures: failures.slice(0, 3), away }
    },
  }
}

/** There is no API server, or one that is only starting or ending: what it says then is not about the webhook. */
function isAway(error: unknown): boolean {
  if (!(error instanceof KubeError))
    return ['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')
  const isAboutWebhook = error.message.includes('pods.credentials.run.ai')
  return (
    !isAboutWebhook &&
    (error.status >= 500 || error.status === 429 || /not yet ready|Unauthorized/.test(error.message))
  )
}

function withNamespace(object: any, namespace: string): object {
  return { ...object, metadata: { ...object.metadata, namespace } }
}

function podOf(serviceAccountName: string, pod: any): object {
  return { ...pod, spec: { ...pod.spec, serviceAccountName } }
}
