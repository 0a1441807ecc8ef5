/** The controller as a process of its own, with the rights that it is meant to have, against a real API server. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Condition, CredentialStatus } from '../../src/api/status.ts'
import type { KubeObject } from '../../src/kube/client.ts'
import { base64, CANARY, dockerConfig, encryptedPemKey, opensshKey } from '../support/secrets.ts'
import { type Run, run } from '../support/server.ts'
import type { Cluster } from './kit/cluster.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenGone, whenObject } from './kit/watch.ts'

const OWN = 'injector-under-test'
const TEAM = 'controller-team'
const LEASES = `/apis/coordination.k8s.io/v1/namespaces/${OWN}/leases`
const LEASE = 'credential-injector-controller'
const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
const CLUSTER_CREDENTIALS = '/apis/run.ai/v1/clustercredentials'
const USER = `system:serviceaccount:${OWN}:${LEASE}`

let cluster: Cluster
let kubeconfig: string

beforeAll(async () => {
  cluster = sharedCluster()
  await cluster.kubectl(
    ['apply', '--server-side', '-f', 'charts/credential-injector/files/crds'].map(inCheckout),
  )
  await cluster.kubectl(['wait', '--for=condition=Established', 'crd', ...CRDS])
  for (const namespace of [OWN, TEAM]) await cluster.createNamespace(namespace)
  await cluster.kubectl(['apply', '-f', '-'], RIGHTS)
  kubeconfig = cluster.kubeconfigFor(await cluster.tokenFor(LEASE, OWN))
})

afterAll(async () => {
  await cluster.kubectl(['delete', 'namespace', OWN, TEAM, '--wait=false'])
  await cluster.kubectl(['delete', 'clustercredentials', '--all'])
  await cluster.kubectl(['delete', 'clusterrolebinding,clusterrole', LEASE])
})

const CRDS = ['credentials.run.ai', 'clustercredentials.run.ai', 'credentialpolicies.run.ai']

function inCheckout(argument: string): string {
  return argument.startsWith('charts/') ? new URL(`../../${argument}`, import.meta.url).pathname : argument
}

/** As the chart gives them. */
const RIGHTS = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${LEASE}, namespace: ${OWN} }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: ${LEASE} }
rules:
  - { apiGroups: [run.ai], resources: [credentials, clustercredentials, credentialpolicies], verbs: [get, list, watch] }
  - apiGroups: [run.ai]
    resources: [credentials/status, clustercredentials/status, credentialpolicies/status]
    verbs: [update, patch]
  - { apiGroups: [''], resources: [secrets], verbs: [get, list, watch] }
  - { apiGroups: [''], resources: [events], verbs: [create, patch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: ${LEASE} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ${LEASE} }
subjects: [{ kind: ServiceAccount, name: ${LEASE}, namespace: ${OWN} }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: ${LEASE}, namespace: ${OWN} }
rules:
  - { apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update] }
  - { apiGroups: [''], resources: [secrets], verbs: [create, update] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: ${LEASE}, namespace: ${OWN} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: ${LEASE} }
subjects: [{ kind: ServiceAccount, name: ${LEASE}, namespace: ${OWN} }]
`

// ---- Processes -------------------------------------------------------------------------------------------------------

const running: Run[] = []

/** Everything that controllers have written to their streams and metrics. */
let said = ''

async function startController(flags: string[] = []): Promise<Run & { metrics(): Promise<string> }> {
  const child = run([
    'controller',
    ...[
      '--kubeconfig',
      kubeconfig,
      '--namespace',
      OWN,
      '--metrics-port',
      '0',
      '--lease-duration',
      '3',
      ...flags,
    ],
  ])
  running.push(child)
  const limit = AbortSignal.timeout(20_000)
  const ended = child.exited.then(() => Promise.reject(new Error('it ended')))
  ended.catch(() => {})
  try {
    while (!child.stdout().includes('Metrics:'))
      await Promise.race([
        once(child.process.stdout as NodeJS.ReadableStream, 'data', { signal: limit }),
        ended,
      ])
  } catch (error) {
    throw new Error(`the controller is not ready: ${child.stdout()}${child.stderr()}`, { cause: error })
  }
  const url = /http:\S+\/metrics/.exec(child.stdout())?.[0] as string
  return { ...child, metrics: async () => (await fetch(url)).text() }
}

afterEach(async () => {
  for (const child of running.splice(0)) {
    child.signal('SIGTERM')
    await child.exited
    said += child.stdout() + child.stderr()
  }
})

// ---- Objects ---------------------------------------------------------------------------------------------------------

interface CredentialObject extends KubeObject {
  readonly status?: CredentialStatus
}

let names = 0
const newName = (what: string) => `${what}-${++names}`

async function makeSecret(name: string, values: Record<string, string>, type = 'Opaque', namespace = TEAM) {
  const data = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, base64(value)]))
  await cluster.client.create(`/api/v1/namespaces/${namespace}/secrets`, { metadata: { name }, type, data })
}

async function changeSecret(name: string, data: Record<string, string | null>) {
  const patch = { data: Object.fromEntries(Object.entries(data).map(([k, v]) => [k, v && base64(v)])) }
  await cluster.client.patch(`/api/v1/namespaces/${TEAM}/secrets/${name}`, MERGE, patch)
}

const FILE = { type: 'file', mountPath: '/a' }
const DOCKER = 'kubernetes.io/dockerconfigjson'

const MERGE = 'application/merge-patch+json'

async function makeCredential(name: string, spec: object): Promise<void> {
  await cluster.client.create(CREDENTIALS, {
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { name },
    spec: { secretRef: { name }, type: 'environment', ...spec },
  })
}

function condition(object: CredentialObject, type: string): Condition | undefined {
  return object.status?.conditions?.find((one) => one.type === type)
}

/** The credential as soon as its conditions have these reasons. */
function when(
  name: string,
  ready: string,
  healthy?: string,
  collection = CREDENTIALS,
): Promise<CredentialObject> {
  return whenObject<CredentialObject>(
    cluster.client,
    collection,
    name,
    (object) =>
      condition(object, 'Ready')?.reason === ready &&
      (healthy === undefined || condition(object, 'Healthy')?.reason === healthy),
    20_000,
  )
}

interface EventObject extends KubeObject {
  readonly reason: string
  readonly type: string
  readonly message: string
  readonly count: number
  readonly involvedObject: { readonly kind: string; readonly name: string }
}

async function eventsAbout(name: string, namespace = TEAM): Promise<EventObject[]> {
  const path = `/api/v1/namespaces/${namespace}/events?fieldSelector=involvedObject.name=${name}`
  return (await cluster.client.get<{ items: EventObject[] }>(path)).items
}

function whenEvent(name: string, reason: string, namespace = TEAM): Promise<EventObject> {
  return whenAny<EventObject>(
    `/api/v1/namespaces/${namespace}/events`,
    (event) => event.involvedObject.name === name && event.reason === reason,
  )
}

async function whenAny<T extends KubeObject>(
  collection: string,
  isRight: (object: T) => boolean,
): Promise<T> {
  const signal = AbortSignal.timeout(20_000)
  const events = cluster.client.stream(`${collection}?watch=true`, { signal }) as AsyncIterable<{ object: T }>
  for await (const { object } of events) if (isRight(object)) return object
  throw new Error('the watch ended')
}

// ---- Tests -----------------------------------------------------------------------------------------------------------

describe('every reason is reached', () => {
  test.each<
    [title: string, spec: object, secret: [Record<string, string>, string?] | undefined, string, string]
  >([
    ['all is well', {}, [{ TOKEN: `t-${CANARY}` }], 'SecretFound', 'NothingFound'],
    ['no secret', {}, undefined, 'SecretNotFound', 'NotChecked'],
    ['no key', { variables: [{ name: 'A' }] }, [{ B: CANARY }], 'KeyMissing', 'KeyMissing'],
    ['wrong type', { type: 'dockerRegistry' }, [{ A: CANARY }], 'WrongSecretType', 'WrongSecretType'],
    ['expired', { expiresAt: '2020-01-01T00:00:00Z' }, [{ A: CANARY }], 'Expired', 'NothingFound'],
    ['an empty secret', {}, [{}], 'SecretFound', 'EmptySecret'],
    ['an empty value', {}, [{ A: '' }], 'SecretFound', 'EmptyValue'],
    ['a placeholder', {}, [{ A: '<api-key>' }], 'SecretFound', 'Placeholder'],
    ['base64 twice', {}, [{ A: base64(`${CANARY}==plain`) }], 'SecretFound', 'EncodedTwice'],
    ['bytes', {}, [{ A: `${CANARY}\0` }], 'SecretFound', 'NotText'],
    ['a byte order mark', {}, [{ A: `\ufeff${CANARY}` }], 'SecretFound', 'ByteOrderMark'],
    ['no JSON', FILE, [{ 'a.json': `{"k": "${CANARY}` }], 'SecretFound', 'InvalidJson'],
    ['no private key', FILE, [{ id_rsa: CANARY }], 'SecretFound', 'InvalidPrivateKey'],
    [
      'a passphrase',
      FILE,
      [{ id_ed25519: opensshKey({ cipher: 'aes256-ctr' }) }],
      'SecretFound',
      'EncryptedPrivateKey',
    ],
    ['a passphrase in PEM', FILE, [{ id_ecdsa: encryptedPemKey() }], 'SecretFound', 'EncryptedPrivateKey'],
    ['no PEM', FILE, [{ 'ca.pem': CANARY }], 'SecretFound', 'InvalidPem'],
    [
      'another registry',
      { type: 'dockerRegistry', registry: 'b.example' },
      [{ '.dockerconfigjson': dockerConfig('a.example') }, DOCKER],
      'SecretFound',
      'RegistryMissing',
    ],
    [
      'half a login',
      { type: 'dockerRegistry' },
      [{ '.dockerconfigjson': `{"auths":{"a":{"auth":"${base64(CANARY)}"}}}` }, DOCKER],
      'SecretFound',
      'InvalidRegistryLogin',
    ],
    [
      'a good login',
      { type: 'dockerRegistry', registry: 'docker.io' },
      [{ '.dockerconfigjson': dockerConfig('https://index.docker.io/v1/') }, DOCKER],
      'SecretFound',
      'NothingFound',
    ],
    [
      'line ends of Windows',
      FILE,
      [{ id_rsa: opensshKey().replaceAll('\n', '\r\n') }],
      'SecretFound',
      'WindowsLineEnds',
    ],
    ['no final line break', FILE, [{ id_rsa: opensshKey().trimEnd() }], 'SecretFound', 'NoFinalLineBreak'],
    ['a line break', {}, [{ A: `${CANARY}\n` }], 'SecretFound', 'TrailingLineBreak'],
    ['a blank', {}, [{ A: ` ${CANARY}` }], 'SecretFound', 'SurroundingBlanks'],
  ])('%s', async (title, spec, secret, ready, healthy) => {
    if (running.length === 0) await startController()
    const name = newName('reason')
    if (secret) await makeSecret(name, ...secret)
    await makeCredential(name, spec)
    const seen = await when(name, ready, healthy)
    expect(seen.status?.observedGeneration, title).toBe(1)
    expect(seen.status?.keys).toEqual(secret && Object.keys(secret[0]).sort())
    if (secret) expect(seen.status?.revision).toMatch(/^[0-9a-f]{12}$/)
    else expect(seen.status).not.toHaveProperty('revision')
    const isFine = ready === 'SecretFound' && ['NothingFound', 'NotChecked'].includes(healthy)
    if (!isFine && ready !== 'SecretNotFound') {
      const event = await whenEvent(name, ready === 'SecretFound' ? healthy : ready)
      expect(event).toMatchObject({ type: 'Warning', involvedObject: { kind: 'Credential' }, count: 1 })
    }
  })
})
