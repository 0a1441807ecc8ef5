/** What the webhook leaves behind in a real cluster: events for owners, lines in its log, annotations in the API server's audit log. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { KubeObject } from '../../src/kube/client.ts'
import { apiServerClient, podAsking } from '../support/client.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import type { Cluster } from './kit/cluster.ts'
import { say } from './kit/programs.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { auditPosition, auditRecords, callsBy } from './support/audit.ts'
import { apply } from './support/objects.ts'
import {
  credentialNamed,
  grantRights,
  makeWebhookAccount,
  podWith,
  register,
  startWebhook,
  type WebhookProcess,
} from './support/webhook-process.ts'
import { diff, snapshot } from './support/world.ts'

const HOME = 'records-home'
const TEAM = 'records-team'
const USER = `system:serviceaccount:${HOME}:credential-injector-webhook`
const PODS = `/api/v1/namespaces/${TEAM}/pods`
const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
const APPS = `/apis/apps/v1/namespaces/${TEAM}`
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
/** The entry of a policy, which has the same pods sent to the same webhook under another name. */
const POLICY_ENTRY = 'ml.policies.credentials.run.ai'

let cluster: Cluster
let kubeconfig: string
let webhook: WebhookProcess
let since: number

beforeAll(async () => {
  cluster = sharedCluster()
  await installCrds(cluster.client)
  await cluster.createNamespace(HOME)
  await cluster.createNamespace(TEAM, { injected: 'yes' })
  const token = await makeWebhookAccount(cluster, HOME)
  await grantRights(cluster, HOME)
  kubeconfig = cluster.kubeconfigFor(token)
  webhook = await startWebhook(kubeconfig)
  await eventually('the webhook is ready', () => webhook.isReady())
  await register(cluster, webhook, TEAM)
  await addPolicyEntry()
})

afterAll(async () => {
  await webhook?.stop()
  await cluster.kubectl(['delete', 'mutatingwebhookconfigurations', 'credential-injector'])
  await cluster.kubectl(['delete', 'clusterrole,clusterrolebinding', 'credential-injector-webhook'])
  await cluster.kubectl(['delete', 'namespace', HOME, TEAM, '--wait=false'])
})

beforeEach(() => {
  since = auditPosition(cluster)
})

// ---- What is done ----------------------------------------------------------------------------------------------------

async function addPolicyEntry(): Promise<void> {
  const { webhooks } = await cluster.client.get<any>(`${CONFIGURATIONS}/credential-injector`)
  const both = [webhooks[0], { ...webhooks[0], name: POLICY_ENTRY }]
  await cluster.client.patch(`${CONFIGURATIONS}/credential-injector`, 'application/merge-patch+json', {
    webhooks: both,
  })
  await eventually('the API server asks for both', async () => {
    const from = auditPosition(cluster)
    await cluster.client.create(`${PODS}?dryRun=All`, podWith('probe', ''))
    const [record] = auditRecords(cluster, from).filter(({ objectRef }) => objectRef?.resource === 'pods')
    return record?.annotations?.[`${POLICY_ENTRY}/outcome`]
  })
}

const deployment = (name: string, credentials: string, replicas = 1) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: TEAM },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: {
        labels: { app: name, secretish: 'label-of-the-pod' },
        annotations: { 'credentials.run.ai/inject': credentials, other: 'annotation-of-the-pod' },
      },
      spec: {
        containers: [{ name: 'main', image: 'none', env: [{ name: 'A', value: 'value-of-the-pod' }] }],
      },
    },
  },
})

/** Its controller looks at it again at once, however long it meant to wait. */
function scale(name: string, replicas: number) {
  return cluster.client.patch(`${APPS}/deployments/${name}/scale`, 'application/merge-patch+json', {
    spec: { replicas },
  })
}

const owned = (name: string, credential: string, owner: object = {}) => {
  const reference = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid: `uid-of-${name}` }
  const pod: any = podWith(`of-${name}`, credential)
  pod.metadata.ownerReferences = [{ ...reference, controller: true, ...owner }]
  return pod
}

// ---- What is seen ----------------------------------------------------------------------------------------------------

interface EventObject extends KubeObject {
  readonly reason: string
  readonly message: string
  readonly count: number
  readonly involvedObject: Readonly<Record<string, string>>
}

/** The webhook's own, not Kubernetes'. */
async function eventsOn(name: string, namespace = TEAM): Promise<EventObject[]> {
  const query = `fieldSelector=involvedObject.name=${name},source=credential-injector-webhook`
  const path = `/api/v1/namespaces/${namespace}/events?${query}`
  return (await cluster.client.get<{ items: EventObject[] }>(path)).items
}

async function replicaSetOf(name: string): Promise<any> {
  const { items } = await cluster.client.get<any>(`${APPS}/replicasets?labelSelector=app%3D${name}`)
  return items[0]
}

const denied = () => webhook.metric('reviews_total{outcome="Denied"}')
const told = (outcome: string) => webhook.metric(`owner_events_total{outcome="${outcome}"}`)
const lines = (message: string) => webhook.log().filter(({ msg }) => msg === message)

// ---- Tests -----------------------------------------------------------------------------------------------------------

describe('a Deployment with credentials that do not exist', () => {
  const NAME = 'train'
  let replicaSet: any

  beforeAll(async () => {
    await apply(cluster.client, deployment(NAME, 'wandb-credentails, hugging-face', 3))
    replicaSet = await eventually('its ReplicaSet', () => replicaSetOf(NAME))
  })

  test('has one event on its ReplicaSet after many tries', async () => {
    await eventually('its pods were refused many times', async () => (await denied()) >= 8)
    for (const replicas of [4, 5, 6]) await scale(NAME, replicas)
    await eventually('and more times', async () => (await denied()) >= 12)
    const name = replicaSet.metadata.name
    const [event, ...others] = await eventsOn(name)

    expect(others).toEqual([])
    expect(event).toMatchObject({
      reason: 'CredentialNotFound',
      message: expect.stringMatching(
        /^2 problems .*: \(1\) CredentialNotFound: .*wandb-credentails.* \(2\) CredentialNotFound: .*hugging-face/,
      ),
      count: 1,
      involvedObject: { apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid: replicaSet.metadata.uid },
    })
    expect(await cluster.kubectl(['-n', TEAM, 'describe', 'replicaset', name])).toMatch(
      /Warning +CredentialNotFound .* credential-injector-webhook +2 problems with the credentials/,
    )
    say(`${await denied()} pods of a ReplicaSet were refused: 1 event, ${await told('repeated')} repeats`)
  })

  test('has another one when something else is wrong', async () => {
    await cluster.client.create(CREDENTIALS, credentialNamed('hugging-face'))
    await scale(NAME, 1)
    await scale(NAME, 2)

    const events = await eventually('the second event', async () => {
      const found = await eventsOn(replicaSet.metadata.name)
      return found.length > 1 ? found : undefined
    })
    expect(events.map(({ message }) => message.slice(0, 30)).sort()).toEqual([
      '2 problems with the credential',
      'CredentialNotFound: credential',
    ])
    expect(events.map(({ count }) => count)).toEqual([1, 1])
  })

  test('starts when they exist; there is one line in the log for each pod, and nothing of the pod in it', async () => {
    await cluster.client.create(CREDENTIALS, credentialNamed('wandb-credentails'))
    await scale(NAME, 1)
    await scale(NAME, 2)
    await whenObject<any>(cluster.client, `${APPS}/replicasets`, replicaSet.metadata.name, ({ status }) => {
      return status.replicas === 2
    })
    // The two entries ask for each pod, and the second finds everything in place.
    await eventually('both lines', () => lines('injected').length >= 2)
    const injected = lines('injected')

    expect(injected).toEqual(
      [0, 1].map(() => ({
        level: 'info',
        time: expect.any(String),
        uid: expect.stringMatching(/^[0-9a-f-]{36}$/),
        namespace: TEAM,
        name: expect.stringMatching(/^train-[0-9a-z]+-/),
        owner: `ReplicaSet/${replicaSet.metadata.name}`,
        credentials: ['Credential/wandb-credentails: environment', 'Credential/hugging-face: environment'],
        msg: 'injected',
      })),
    )
    const everything = webhook.stderr()
    for (const ofThePod of ['label-of-the-pod', 'annotation-of-the-pod', 'value-of-the-pod'])
      expect(everything).not.toContain(ofThePod)
  })

  test('is in the API server’s audit log with outcome and credentials, once for each entry', async () => {
    const created = auditRecords(cluster, 0).filter(
      ({ verb, objectRef, stage }) =>
        verb === 'create' &&
        objectRef?.resource === 'pods' &&
        objectRef.namespace === TEAM &&
        stage === 'ResponseComplete',
    )
    const outcomes = (entry: string) => created.map(({ annotations }) => annotations?.[`${entry}/outcome`])
    const stored = created.filter(({ responseStatus, user }) => {
      return responseStatus?.code === 201 && user.username.endsWith(':replicaset-controller')
    })

    expect(stored).toHaveLength(2)
    for (const { annotations } of stored) {
      const credentials = 'Credential/wandb-credentails,Credential/hugging-face'
      expect(annotations).toMatchObject({
        'pods.credentials.run.ai/outcome': 'Injected',
        'pods.credentials.run.ai/credentials': credentials,
        [`${POLICY_ENTRY}/outcome`]: 'Injected',
        [`${POLICY_ENTRY}/credentials`]: credentials,
      })
    }
    expect(outcomes('pods.credentials.run.ai')).toContain('Denied')
    // Whom the first one refuses, the second is not asked about.
    expect(outcomes(POLICY_ENTRY)).not.toContain('Denied')
  })
})

test('two replicas that are asked in turns write one event, and count it up once', async () => {
  const second = await startWebhook(kubeconfig)
  await eventually('the second replica is ready', () => second.isReady())
  const clients = [webhook, second].map(({ url, ca }) => apiServerClient({ url: url(), ca }))
  for (let tries = 0; tries < 40; tries++)
    for (const client of clients) await client.createPod(owned('in-turns', 'nothing-of-that-name'), TEAM)
  const counts = async () => (await eventsOn('in-turns')).map(({ count }) => count)

  await eventually('both have said it', async () => (await counts())[0] === 2)
  for (const client of clients) client.close()
  // What was still waiting has been sent at its end.
  await second.stop()
  expect(await counts()).toEqual([2])
})

test('a dry run is told to nobody', async () => {
  const before = [await told('sent'), await told('repeated'), await denied()]
  await expect(
    cluster.client.create(`${PODS}?dryRun=All`, owned('tried', 'nothing-of-that-name')),
  ).rejects.toThrow('nothing-of-that-name does not exist')

  await eventually('it was refused', async () => (await denied()) === (before[2] as number) + 1)
  expect([await told('sent'), await told('repeated')]).toEqual(before.slice(0, 2))
  expect(await eventsOn('tried')).toEqual([])
  expect(callsBy(cluster, USER, since)).not.toHaveProperty('create events')
})

test('a bare pod has nobody to be told', async () => {
  const before = [await told('sent'), await denied()]
  await expect(cluster.client.create(PODS, podWith('bare', 'nothing-of-that-name'))).rejects.toThrow(
    'nothing-of-that-name does not exist',
  )
  await eventually('it was refused', async () => (await denied()) === (before[1] as number) + 1)
  expect(await told('sent')).toBe(before[0])
})

describe('who writes pods writes their owners', () => {
  test('an owner of another namespace is an event in the pod’s own, and nothing else changes', async () => {
    const victim = await replicaSetLike('victim')
    const before = await snapshot(cluster)
    const events = await otherNamespacesEvents()

    await expect(
      cluster.client.create(PODS, owned('victim', 'nothing-of-that-name', { uid: victim.metadata.uid })),
    ).rejects.toThrow('does not exist')

    const [event] = await eventually('the event', async () => {
      const found = await eventsOn('victim')
      return found.length > 0 ? found : undefined
    })
    expect(event?.involvedObject).toMatchObject({ namespace: TEAM, name: 'victim' })
    expect(await otherNamespacesEvents()).toEqual(events)
    expect(diff(before, await snapshot(cluster))).toEqual([])
  })

  test('a flood of invented owners is limited, and the API server is asked no more than that', async () => {
    const FLOOD = 300
    const before = await told('limited')
    const started = performance.now()
    for (let index = 0; index < FLOOD; index++)
      await cluster.client
        .create(PODS, owned(`made-up-${index}`, 'nothing-of-that-name'))
        .then(() => expect.fail('it was created'), String)
    const seconds = (performance.now() - started) / 1000
    await eventually('all are told or held back', async () => {
      const limited = (await told('limited')) - before
      return limited + calls('create events') >= FLOOD && limited > 0
    })

    expect(calls('create events')).toBeLessThanOrEqual(25 + Math.ceil(seconds))
    say(
      `${FLOOD} pods with invented owners in ${seconds.toFixed(1)} s: ${calls('create events')} events, the others held back`,
    )
  })

  const calls = (name: string) => callsBy(cluster, USER, since)[name] ?? 0

  /** Of a namespace that is not the attacker's. */
  async function replicaSetLike(name: string): Promise<KubeObject> {
    return cluster.client.create<KubeObject>(`/apis/apps/v1/namespaces/${HOME}/replicasets`, {
      metadata: { name },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: name } },
        template: {
          metadata: { labels: { app: name } },
          spec: { containers: [{ name: 'main', image: 'none' }] },
        },
      },
    })
  }

  async function otherNamespacesEvents(): Promise<string[]> {
    const query = 'fieldSelector=source=credential-injector-webhook'
    const { items } = await cluster.client.get<{ items: KubeObject[] }>(`/api/v1/events?${query}`)
    return items
      .filter(({ metadata }) => metadata.namespace !== TEAM)
      .map(({ metadata }) => metadata.uid as string)
  }
})

test('whoever reaches the port past the API server gets names, and events of what it wrote; nothing else in the cluster changes', async () => {
  await cluster.client.create(
    `/apis/run.ai/v1/namespaces/${HOME}/credentials`,
    credentialNamed('of-the-home'),
  )
  const before = await snapshot(cluster)
  const attacker = apiServerClient({ url: webhook.url(), ca: webhook.ca })
  const owner = { apiVersion: 'apps/v1', kind: 'Job', name: 'invented', uid: 'invented', controller: true }
  const metadata = { annotations: { 'credentials.run.ai/inject': 'of-the-hom' }, ownerReferences: [owner] }

  const answer = await attacker.createPod({ ...podAsking(''), metadata }, HOME)
  await attacker.createPod({ ...podAsking(''), metadata }, 'kube-system')
  attacker.close()

  // The nearest name is said, as it is to whoever may create pods there.
  expect(answer).toMatchObject({
    allowed: false,
    status: { message: expect.stringContaining('did you mean "of-the-home"?') },
  })
  const [event] = await eventually('the event', async () => {
    const found = await eventsOn('invented', HOME)
    return found.length > 0 ? found : undefined
  })
  expect(event?.message).toBe(answer.status.message)
  // The cluster's own namespaces are left alone, events included.
  expect(await eventsOn('invented', 'kube-system')).toEqual([])
  expect(diff(before, await snapshot(cluster))).toEqual([])
})

test('a pod that complies with the restricted level of Pod Security complies when it is injected', async () => {
  const namespace = 'records-restricted'
  const collection = `/api/v1/namespaces/${namespace}`
  await cluster.createNamespace(namespace, {
    injected: 'yes',
    'pod-security.kubernetes.io/enforce': 'restricted',
  })
  const ofFiles: any = credentialNamed('of-files')
  ofFiles.spec = { ...ofFiles.spec, type: 'file', mountPath: '/keys' }
  for (const credential of [credentialNamed('of-variables'), ofFiles])
    await cluster.client.create(`/apis/run.ai/v1/namespaces/${namespace}/credentials`, credential)
  const pod: any = podWith('restricted', 'of-variables, of-files')
  await expect(cluster.client.create(`${collection}/pods?dryRun=All`, pod)).rejects.toThrow(
    'violates PodSecurity "restricted:latest"',
  )
  pod.spec.securityContext = {
    runAsNonRoot: true,
    runAsUser: 1000,
    seccompProfile: { type: 'RuntimeDefault' },
  }
  pod.spec.containers[0].securityContext = {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
  }

  const { spec } = await cluster.client.create<any>(`${collection}/pods?dryRun=All`, pod)

  expect(spec.containers[0].envFrom).toEqual([{ secretRef: { name: 'of-variables-secret' } }])
  expect(spec.containers[0].volumeMounts).toContainEqual(expect.objectContaining({ mountPath: '/keys' }))
  await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false'])
})

test('it asked the API server for events to be created and counted up, and never for one to be read', () => {
  const calls = callsBy(cluster, USER)
  const ofEvents = Object.keys(calls).filter((name) => name.endsWith(' events'))
  expect(ofEvents.sort()).toEqual(['create events', 'patch events'])
})
