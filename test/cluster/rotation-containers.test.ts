/** Rotation as processes in real containers see it: the webhook, the controller and a kubelet, all of them real. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CredentialStatus } from '../../src/api/status.ts'
import type { KubeObject } from '../../src/kube/client.ts'
import { base64 } from '../support/secrets.ts'
import { testCertificates } from '../support/server.ts'
import { installCrds } from './install-crds.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { whyNoNode } from './kit/node.ts'
import { whenObject } from './kit/watch.ts'
import { register } from './kit/webhooks.ts'
import { type ControllerAccount, makeControllerAccount } from './support/controller-account.ts'
import { apply } from './support/objects.ts'
import { type Process, startController, startWebhook } from './support/processes.ts'

const OWN = 'credential-injector'
const TEAM = 'rotation-containers'
const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
const DEPLOYMENTS = `/apis/apps/v1/namespaces/${TEAM}/deployments`
const PODS = `/api/v1/namespaces/${TEAM}/pods`

type Stored = KubeObject & { readonly spec: any; readonly status?: any }

const reason = whyNoNode()

describe.skipIf(reason)(`rotation in real containers${reason ? ` (${reason})` : ''}`, () => {
  let cluster: Cluster
  let account: ControllerAccount
  let controller: Process
  let webhook: Process

  beforeAll(async () => {
    cluster = await startCluster({ node: true, name: 'rotation' })
    await installCrds(cluster.client)
    for (const namespace of [OWN, TEAM]) await cluster.createNamespace(namespace)
    account = await makeControllerAccount(cluster, OWN)
    controller = await startController(account.kubeconfig, ['--namespace', OWN])
    webhook = await startWebhook(cluster.kubeconfig)
    const { ca } = await testCertificates()
    await register(cluster, { name: 'rotation', url: webhook.url, ca, namespaces: [TEAM] })
    for (const [name, spec] of Object.entries(CREDENTIALS_OF_TEST)) {
      await writeSecret(name, 'first')
      const metadata = { name, namespace: TEAM }
      await apply(cluster.client, {
        apiVersion: 'run.ai/v1',
        kind: 'Credential',
        metadata,
        spec: { secretRef: { name }, ...spec },
      })
      await whenCredential(name, ({ revision }) => revision !== undefined)
    }
  })
  afterAll(async () => {
    await Promise.all([controller?.stop(), webhook?.stop()])
    await cluster?.stop()
  })

  test('a restarted workload has the new variables, once, and never without a pod that serves', async () => {
    await run('automatic', 'token')
    await run('by-hand', 'other')
    expect(await seen('automatic')).toBe('first')
    await Promise.all([writeSecret('token', 'second'), writeSecret('other', 'second')])
    const restarted = await whenDeployment('automatic', ({ metadata, status }) => {
      expect(
        status.availableReplicas ?? 0,
        'its old pod serves until the new one does',
      ).toBeGreaterThanOrEqual(1)
      return metadata.generation === 2 && isRolledOut(status, 2)
    })
    expect(await seen('automatic')).toBe('second')
    expect(restarted.spec.template.metadata.annotations).toEqual({
      'credentials.run.ai/inject': 'token',
      'credentials.run.ai/restarted-for': expect.stringMatching(/^Credential\/token@[0-9a-f]{16}@.+Z$/),
    })
    // Its new pods are of the present revision: nothing is stale, and nothing happens again.
    await whenCredential('token', ({ stale, usedBy }) => stale === undefined && usedBy?.pods === 1)
    expect((await cluster.client.get<Stored>(`${DEPLOYMENTS}/automatic`)).metadata.generation).toBe(2)
    // Who does not ask for it keeps what it has, and is shown.
    await whenCredential('other', ({ stale }) => stale?.names?.includes('Deployment/by-hand') === true)
    expect(await seen('by-hand')).toBe('first')
    await cluster.kubectl(['rollout', 'restart', '-n', TEAM, 'deployment/by-hand'])
    await whenDeployment('by-hand', ({ status }) => isRolledOut(status, 2))
    await whenCredential('other', ({ stale }) => stale === undefined)
    expect(await seen('by-hand')).toBe('second')
  })

  test('files are renewed in place: nothing is stale, and nothing is restarted that does not ask for it', async () => {
    await run('reader', 'files', 'echo $(cat /files/TOKEN)')
    await run('reads-once', 'read-once', 'echo $(cat /files/TOKEN)')
    const before = await podOf('reader')
    await Promise.all([writeSecret('files', 'second'), writeSecret('read-once', 'second')])
    const { revision } = await whenCredential('files', ({ lastRotated }) => lastRotated !== undefined)
    const command = 'until [ "$(cat /files/TOKEN)" = second ]; do sleep 0.2; done; echo renewed'
    expect(await cluster.kubectl(['exec', '-n', TEAM, before.metadata.name, '--', 'sh', '-c', command])).toBe(
      'renewed\n',
    )
    // A program that reads its file once is restarted where its credential asks for it.
    await whenDeployment(
      'reads-once',
      ({ metadata, status }) => metadata.generation === 2 && isRolledOut(status, 2),
    )
    expect(await seen('reads-once')).toBe('second')
    // Longer than a Secret settles: another one, rotated later, has been restarted for.
    await run('marker', 'marker')
    await writeSecret('marker', 'second')
    await whenDeployment(
      'marker',
      ({ metadata, status }) => metadata.generation === 2 && isRolledOut(status, 2),
    )
    const status = await whenCredential('files', () => true)
    expect([status.revision, status.stale]).toEqual([revision, undefined])
    expect((await podOf('reader')).metadata.uid).toBe(before.metadata.uid)
    expect((await cluster.client.get<Stored>(`${DEPLOYMENTS}/reader`)).metadata.generation).toBe(1)
  })

  // ---- Objects --------------------------------------------------------------------------------------------------------

  async function writeSecret(name: string, value: string): Promise<void> {
    const metadata = { name, namespace: TEAM }
    await apply(cluster.client, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata,
      data: { TOKEN: base64(value) },
    })
  }

  /** Resolves when its pod runs. */
  async function run(name: string, credential: string, shows = 'echo $TOKEN'): Promise<void> {
    const labels = { app: name }
    await cluster.client.create(DEPLOYMENTS, {
      metadata: { name },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels, annotations: { 'credentials.run.ai/inject': credential } },
          spec: {
            terminationGracePeriodSeconds: 1,
            containers: [
              {
                name: 'main',
                image: 'test.local/busybox:latest',
                imagePullPolicy: 'Never',
                command: ['sh', '-c', `${shows}; exec sleep 3600`],
              },
            ],
          },
        },
      },
    })
    await whenDeployment(name, ({ status }) => isRolledOut(status, 1))
  }

  async function whenCredential(
    name: string,
    isRight: (status: CredentialStatus) => boolean,
  ): Promise<CredentialStatus> {
    type Credential = KubeObject & { readonly status?: CredentialStatus }
    const { status = {} } = await whenObject<Credential>(
      cluster.client,
      CREDENTIALS,
      name,
      (object) => isRight(object.status ?? {}),
      150_000,
    )
    return status
  }

  function whenDeployment(name: string, isRight: (object: Stored) => boolean): Promise<Stored> {
    return whenObject<Stored>(cluster.client, DEPLOYMENTS, name, isRight, 150_000)
  }

  function isRolledOut(
    { observedGeneration, replicas, updatedReplicas, availableReplicas }: any,
    generation: number,
  ): boolean {
    const counts = [replicas, updatedReplicas, availableReplicas]
    return observedGeneration >= generation && counts.every((count) => count === 1)
  }

  /** The one that is not being deleted. */
  async function podOf(name: string): Promise<Stored> {
    const { items } = await cluster.client.get<{ items: Stored[] }>(`${PODS}?labelSelector=app%3D${name}`)
    const alive = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    expect(alive).toHaveLength(1)
    return alive[0] as Stored
  }

  /** What its pod's process has said first. */
  async function seen(name: string): Promise<string> {
    const { metadata } = await podOf(name)
    const signal = AbortSignal.timeout(60_000)
    // It runs a moment before it has said anything.
    for (; ; await sleep(100, undefined, { signal })) {
      const said = await cluster.kubectl(['logs', '-n', TEAM, metadata.name])
      if (said !== '') return said.trim()
    }
  }
})

const CREDENTIALS_OF_TEST: Readonly<Record<string, object>> = {
  token: { type: 'environment', rotation: { restart: 'Automatic' } },
  other: { type: 'environment' },
  marker: { type: 'environment', rotation: { restart: 'Automatic' } },
  files: { type: 'file', mountPath: '/files' },
  'read-once': { type: 'file', mountPath: '/files', rotation: { restart: 'Automatic' } },
}
