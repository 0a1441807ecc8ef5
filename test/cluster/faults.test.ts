/**
 * Faults of the installed product and of the cluster around it, each while pods are created steadily. The table at the end is
 * what operators can expect. Certificates and authorities that change under load are in install.test.ts.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { whyNoNode } from './kit/node.ts'
import { say } from './kit/programs.ts'
import { whenObject } from './kit/watch.ts'
import { CHART, helm } from './support/helm.ts'
import { BASE, CREDENTIAL, importProduct, OWN, podThatAsks, trusted } from './support/installation.ts'
import { createSteadily } from './support/steadily.ts'

const DEPLOYMENTS = `/apis/apps/v1/namespaces/${OWN}/deployments`
const WEBHOOK = `${OWN}-webhook`
const CONTROLLER = `${OWN}-controller`

const reason = whyNoNode()

describe.skipIf(reason)(`faults, while pods are created${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let cluster: Cluster
  const table: string[] = []

  beforeAll(async () => {
    cluster = await startCluster({ node: true, name: 'faults' })
    await importProduct(cluster)
    for (const namespace of [OWN, 'team-a']) await cluster.createNamespace(namespace)
    const secret = [
      'create',
      'secret',
      'generic',
      'wandb-secret',
      '--from-literal',
      'WANDB_API_KEY=canary-of-the-faults',
    ]
    await cluster.kubectl(['-n', 'team-a', ...secret])
    const install = ['install', OWN, CHART, '--values', '-', '--wait', '--timeout', '5m']
    const to = ['--kubeconfig', cluster.kubeconfig, '--namespace', OWN]
    await helm([...install, ...to], { ...BASE, certificates: { mode: 'selfManaged' } })
    await cluster.kubectl(['apply', '-f', '-'], CREDENTIAL)
    await trusted(cluster)
  })
  afterAll(async () => {
    if (table.length > 0) say(`What happened while pods were created:\n${table.join('\n')}`)
    await cluster?.stop()
  })

  test('a rolling restart', async () => {
    const { failures, bare } = await during('rolling restart of the webhook', async () => {
      await cluster.kubectl(['-n', OWN, 'rollout', 'restart', `deployment/${WEBHOOK}`])
      await cluster.kubectl(['-n', OWN, 'rollout', 'status', `deployment/${WEBHOOK}`, '--timeout=3m'])
    })
    expect({ failures, bare }).toEqual({ failures: [], bare: 0 })
  })

  test('the controller is down', async () => {
    const { failures, bare } = await during('controller down', async ({ more }) => {
      await scale(CONTROLLER, 0)
      await more(60)
      await scale(CONTROLLER, 2)
    })
    expect({ failures, bare }).toEqual({ failures: [], bare: 0 })
  })

  test('the API server is restarted, and the history that watches go back to is gone', async () => {
    const { failures, bare } = await during('API server restarted after a compaction of etcd', async () => {
      await cluster.compact()
      await cluster.restartApiServer()
      await ready(WEBHOOK)
    })
    expect({ failures: failures.filter((failure) => !isOfTheApiServer(failure)), bare }).toEqual({
      failures: [],
      bare: 0,
    })

    // The webhook's watches have found their way: what is new is known to it.
    await cluster.kubectl(
      ['apply', '-f', '-'],
      CREDENTIAL.replaceAll('wandb-credentials', 'of-the-new-history'),
    )
    const pod = podThatAsks({ name: 'new-history' })
    pod.metadata.annotations['credentials.run.ai/inject'] = 'of-the-new-history'
    await expect(
      cluster.client.create('/api/v1/namespaces/team-a/pods?dryRun=All', pod),
    ).resolves.toBeDefined()
  })

  test('one replica is killed: by policy some pods are refused until it is out of the way, and none goes without', async () => {
    const { failures, bare } = await during('one of two replicas killed (SIGKILL)', async ({ more }) => {
      const [victim] = processesRunning('credential-injector.js\0serve', cluster)
      expect(victim).toBeDefined()
      process.kill(victim as number, 'SIGKILL')
      await more(20)
      await ready(WEBHOOK)
    })
    expect(bare).toBe(0)
    for (const failure of failures)
      expect(failure).toContain('failed calling webhook "pods.credentials.run.ai"')
  })

  test('the webhook is wholly down: who asks for nothing notices nothing, and who asks is refused', async () => {
    await scale(WEBHOOK, 0)
    try {
      await expect(
        cluster.client.create('/api/v1/namespaces/team-a/pods?dryRun=All', podThatAsks({ name: 'refused' })),
      ).rejects.toThrow('failed calling webhook "pods.credentials.run.ai"')
      const plain = podThatAsks({ generateName: 'steady-' }, undefined, true)
      plain.metadata.annotations = {}
      const { failures } = await during(
        'webhook wholly down, pods that ask for nothing',
        ({ more }) => more(60),
        plain,
      )
      expect(failures).toEqual([])
    } finally {
      await scale(WEBHOOK, 2)
    }
  })

  test('no value of the Secret was written down anywhere', async () => {
    const texts = {
      'the audit log': readFileSync(cluster.auditLog, 'utf8'),
      'the webhook’s log': await cluster.kubectl(['-n', OWN, 'logs', `deployment/${WEBHOOK}`, '--all-pods']),
      'the controller’s log': await cluster.kubectl([
        '-n',
        OWN,
        'logs',
        `deployment/${CONTROLLER}`,
        '--all-pods',
      ]),
      'the events': await cluster.kubectl(['get', 'events', '-A', '-o', 'json']),
      'what is stored of credentials': await cluster.kubectl(['get', 'credentials', '-A', '-o', 'json']),
    }
    const canary = 'canary-of-the-faults'
    const forms = [canary, Buffer.from(canary).toString('base64').slice(0, 24)]
    for (const [where, text] of Object.entries(texts))
      expect({ where, found: forms.filter((form) => text.includes(form)) }).toEqual({ where, found: [] })
    expect(texts['the audit log']).toContain('credentials.run.ai/injected')
  })

  // ---- Helpers --------------------------------------------------------------------------------------------------------

  /** Lets the fault happen while pods are created before, during and after it, and adds a row to the table. */
  async function during(
    fault: string,
    happen: (creating: ReturnType<typeof createSteadily>) => Promise<void>,
    pod: object = podThatAsks({ generateName: 'steady-' }, undefined, true),
  ) {
    const creating = createSteadily(cluster.client, () => pod)
    await creating.reached(20)
    await happen(creating)
    await creating.more(20)
    const result = await creating.end()
    const { created, failures } = result
    table.push(
      `  ${fault.padEnd(56)} ${created} created, ${failures.length} not${failures.length > 0 ? `: ${failures[0]}` : ''}`,
    )
    await cluster.kubectl(['-n', 'team-a', 'delete', 'pods', '-l', 'steady=yes', '--wait=false'])
    return result
  }

  async function scale(deployment: string, replicas: number): Promise<void> {
    await cluster.client.patch(`${DEPLOYMENTS}/${deployment}/scale`, 'application/merge-patch+json', {
      spec: { replicas },
    })
    if (replicas > 0) return ready(deployment)
    const gone = async () =>
      (await cluster.kubectl(['-n', OWN, 'get', 'pods', '-o', 'name'])).includes(deployment)
    await expect.poll(gone, { timeout: 90_000 }).toBe(false)
  }

  async function ready(deployment: string): Promise<void> {
    await whenObject<any>(
      cluster.client,
      DEPLOYMENTS,
      deployment,
      ({ spec, status }) =>
        status.readyReplicas === spec.replicas && status.updatedReplicas === spec.replicas,
    )
  }
})

/** Connections that break off with the server, and its own words while it starts. */
function isOfTheApiServer(failure: string): boolean {
  return /ECONNREFUSED|ECONNRESET|socket hang up|EPIPE|apiserver is shutting down|not yet ready|not ready|etcdserver/i.test(
    failure,
  )
}

/** Ids of processes of containers of this cluster whose command line has these words, each ended by a NUL. */
function processesRunning(words: string, { node }: Cluster): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const inCluster = readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(String(node?.cgroup))
        return inCluster && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(words)
      } catch {
        return false
      }
    })
}
