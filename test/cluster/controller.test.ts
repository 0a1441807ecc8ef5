/** The controller as a process of its own, with the rights that it is meant to have, against a real API server. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Condition, CredentialStatus } from '../../src/api/status.ts'
import { KubeError, type KubeObject } from '../../src/kube/client.ts'
import { base64, CANARY, dockerConfig, encryptedPemKey, opensshKey } from '../support/secrets.ts'
import { type Run, run } from '../support/server.ts'
import { installCrds } from './install-crds.ts'
import type { Cluster } from './kit/cluster.ts'
import { say } from './kit/programs.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { type ControllerAccount, makeControllerAccount } from './support/controller-account.ts'

const OWN = 'injector-under-test'
const TEAM = 'controller-team'
const LEASES = `/apis/coordination.k8s.io/v1/namespaces/${OWN}/leases`
const LEASE = 'credential-injector-controller'
const CREDENTIALS = `/apis/run.ai/v1/namespaces/${TEAM}/credentials`
const CLUSTER_CREDENTIALS = '/apis/run.ai/v1/clustercredentials'
const USER = `system:serviceaccount:${OWN}:${LEASE}`

let cluster: Cluster
let account: ControllerAccount
let kubeconfig: string

beforeAll(async () => {
  cluster = sharedCluster()
  await installCrds(cluster.client)
  for (const namespace of [OWN, TEAM]) await cluster.createNamespace(namespace)
  account = await makeControllerAccount(cluster, OWN)
  kubeconfig = account.kubeconfig
})

afterAll(async () => {
  await cluster.kubectl(['delete', 'namespace', OWN, TEAM, '--wait=false'])
  await cluster.kubectl(['delete', 'clustercredentials', '--all'])
  await account.remove()
})

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
  const limit = AbortSignal.timeout(60_000)
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
  return {
    ...child,
    async metrics() {
      const text = await (await fetch(url)).text()
      said += text
      return text
    },
  }
}

/** Ends all of them as the cluster does. */
async function endControllers(): Promise<void> {
  for (const child of running.splice(0)) {
    child.signal('SIGTERM')
    await child.exited
    said += child.stdout() + child.stderr()
  }
}

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
    60_000,
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
  const signal = AbortSignal.timeout(60_000)
  const events = cluster.client.stream(`${collection}?watch=true`, { signal }) as AsyncIterable<{ object: T }>
  for await (const { object } of events) if (isRight(object)) return object
  throw new Error('the watch ended')
}

// ---- Tests -----------------------------------------------------------------------------------------------------------

describe('every reason is reached', () => {
  beforeAll(async () => void (await startController()))
  afterAll(endControllers)

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
    ['base64 twice', {}, [{ A: base64(opensshKey()) }], 'SecretFound', 'EncodedTwice'],
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
    const name = newName('reason')
    if (secret) await makeSecret(name, ...secret)
    await makeCredential(name, spec)
    const seen = await when(name, ready, healthy)
    expect(seen.status?.observedGeneration, title).toBe(1)
    expect(seen.status?.keys).toEqual(secret && Object.keys(secret[0]).sort())
    if (secret) expect(seen.status?.revision).toMatch(/^[0-9a-f]{16}$/)
    else expect(seen.status).not.toHaveProperty('revision')
    const isFine = ready === 'SecretFound' && ['NothingFound', 'NotChecked'].includes(healthy)
    if (!isFine && ready !== 'SecretNotFound') {
      const event = await whenEvent(name, ready === 'SecretFound' ? healthy : ready)
      expect(event).toMatchObject({ type: 'Warning', involvedObject: { kind: 'Credential' }, count: 1 })
    }
  })
})

describe('one controller', () => {
  let controller: Awaited<ReturnType<typeof startController>>
  beforeAll(async () => {
    // As by default: an API server may be away for longer than the short lease of the other tests allows.
    controller = await startController(['--lease-duration', '15'])
  })
  afterAll(endControllers)

  test('sees a secret that comes after its credential', async () => {
    const name = newName('late')
    await makeCredential(name, {})
    await when(name, 'SecretNotFound')
    const made = performance.now()
    await makeSecret(name, { A: `a-${CANARY}` })
    await when(name, 'SecretFound', 'NothingFound')
    say(`From the Secret to Ready: ${Math.round(performance.now() - made)} ms`)
    const { status } = await when(name, 'SecretFound')
    await changeSecret(name, { A: `b-${CANARY}`, B: 'b' })
    const after = await whenObject<CredentialObject>(
      cluster.client,
      CREDENTIALS,
      name,
      (object) => object.status?.revision !== status?.revision,
    )
    expect(after.status?.keys).toEqual(['A', 'B'])
    expect(after.status?.lastRotated).toMatch(/Z$/)
  })

  test('looks at the secret of a ClusterCredential in its own namespace, and its events are in default', async () => {
    const name = newName('shared')
    await makeSecret(name, { A: `${CANARY}\n` }, 'Opaque', OWN)
    await cluster.client.create(CLUSTER_CREDENTIALS, {
      apiVersion: 'run.ai/v1',
      kind: 'ClusterCredential',
      metadata: { name },
      spec: { secretRef: { name }, type: 'environment' },
    })
    await when(name, 'SecretFound', 'TrailingLineBreak', CLUSTER_CREDENTIALS)
    const event = await whenEvent(name, 'TrailingLineBreak', 'default')
    expect(event.involvedObject).toMatchObject({ kind: 'ClusterCredential', name })
  })

  test('says what was mended, and does not say twice what is wrong', async () => {
    const name = newName('mended')
    await makeSecret(name, { A: '<api-key>' })
    await makeCredential(name, {})
    await whenEvent(name, 'Placeholder')
    await changeSecret(name, { A: `a-${CANARY}` })
    await whenEvent(name, 'Recovered')
    const events = await eventsAbout(name)
    expect(events.map(({ type, reason, count }) => [type, reason, count]).sort()).toEqual([
      ['Normal', 'Recovered', 1],
      ['Warning', 'Placeholder', 1],
    ])
  })

  test('is shown by kubectl', async () => {
    const name = newName('shown')
    await makeSecret(name, { A: `a-${CANARY}` })
    await makeCredential(name, {})
    await when(name, 'SecretFound')
    const table = await cluster.kubectl(['get', 'credential', '-n', TEAM, name])
    expect(table).toMatch(/NAME +TYPE +SECRET +READY/)
    expect(table).toMatch(new RegExp(`${name} +environment +${name} +True`))
  })

  test('writes nothing while nothing changes, and reads no secret that is not named', async () => {
    const name = newName('idle')
    await makeSecret(name, { A: `a-${CANARY}` })
    await makeCredential(name, {})
    const before = await when(name, 'SecretFound')
    await settled()
    const requests = statusWrites().length
    const reads = secretReads()
    for (let index = 0; index < 10; index++) {
      await makeSecret(newName('unnamed'), { A: CANARY })
      await cluster.client.patch(`${CREDENTIALS}/${name}`, MERGE, {
        metadata: { labels: { round: `${index}` } },
      })
    }
    await settled()
    // What `settled` makes is written once.
    expect(statusWrites().length - requests).toBe(1)
    expect(secretReads() - reads).toBe(0)
    const after = await cluster.client.get<CredentialObject>(`${CREDENTIALS}/${name}`)
    expect(after.status).toEqual(before.status)
  })

  test('gets over an API server that goes and comes back', async () => {
    await cluster.restartApiServer('SIGKILL')
    await servesAgain()
    const name = newName('after-restart')
    await makeSecret(name, { A: `a-${CANARY}` })
    await makeCredential(name, {})
    await when(name, 'SecretFound')
    expect(controller.process.exitCode).toBeNull()
  })

  test('tells what it does in its metrics', async () => {
    const text = await controller.metrics()
    expect(text).toContain('credential_injector_controller_leader 1\n')
    expect(text).toContain('credential_injector_controller_queue_depth 0\n')
    expect(text).toMatch(/controller_credentials\{kind="Credential",ready="SecretFound",healthy="True"\} \d+/)
    expect(text).toMatch(/controller_reconciles_total\{result="written"\} [1-9]/)
  })
})

describe('several controllers', () => {
  afterAll(endControllers)

  test('a new start changes no status', async () => {
    const first = await startController()
    await settled()
    const before = await allStatuses()
    first.signal('SIGTERM')
    expect(await first.exited).toEqual({ code: 0, signal: null })
    const writes = statusWrites().length
    await startController()
    await settled()
    const after = await allStatuses()
    expect(before.size).toBeGreaterThan(20)
    for (const [name, status] of before) expect(after.get(name), name).toEqual(status)
    expect(statusWrites().length - writes).toBe(1)
    await endControllers()
  })

  test('one leads; when it is killed another takes over', async () => {
    const first = await startController()
    const holder = (await leaseHeldBy((holder) => holder !== '')) as string
    const second = await startController()
    expect(await second.metrics()).toContain('controller_leader 0\n')
    await settled()
    const killed = performance.now()
    first.signal('SIGKILL')
    await leaseHeldBy((other) => other !== '' && other !== holder)
    say(`From SIGKILL to the next leader: ${Math.round(performance.now() - killed)} ms, with a lease of 3 s`)
    await settled()
    expect(await second.metrics()).toContain('controller_leader 1\n')
  })

  test('one that ends gives the lease to the next', async () => {
    const [second] = running.slice(-1) as [Run]
    const holder = await leaseHeldBy((other) => other !== '')
    await startController(['--lease-duration', '600'])
    const ended = performance.now()
    second.signal('SIGTERM')
    await leaseHeldBy((other) => other !== '' && other !== holder)
    say(`From SIGTERM to the next leader: ${Math.round(performance.now() - ended)} ms`)
    expect(await second.exited).toEqual({ code: 0, signal: null })
    await settled()
  })

  test('one that loses the lease ends, to be started anew', async () => {
    const [third] = running.slice(-1) as [Run]
    await cluster.kubectl([
      'patch',
      'lease',
      LEASE,
      '-n',
      OWN,
      '--type=merge',
      '-p',
      '{"spec":{"holderIdentity":"thief"}}',
    ])
    expect(await third.exited).toEqual({ code: 1, signal: null })
    expect(third.stderr()).toContain('this instance does not lead any more (the lease was taken by thief)')
  })
})

test('no secret value is in any status, event, log, metric or line of the audit log', async () => {
  const objects = [
    await cluster.kubectl(['get', 'credentials,clustercredentials,events', '-A', '-o', 'yaml']),
    said,
    readFileSync(cluster.auditLog, 'utf8'),
  ]
  for (const text of objects) {
    expect(text.length).toBeGreaterThan(1_000)
    expect(text).not.toContain(CANARY)
    expect(text).not.toContain(base64(CANARY).slice(0, 12))
  }
  // The oracle can see: it is in the secrets.
  const secrets = await cluster.kubectl(['get', 'secrets', '-n', TEAM, '-o', 'yaml'])
  expect(Buffer.from(secrets).toString().includes(base64(CANARY).slice(0, 12))).toBe(true)
})

// ---- What is observed ------------------------------------------------------------------------------------------------

/** Everything that came before has been looked at when a credential that came after it has its status. */
async function settled(): Promise<void> {
  const name = newName('settled')
  await makeCredential(name, {})
  await when(name, 'SecretNotFound')
}

/** After its start it refuses custom resources for a moment, and says so. */
async function servesAgain(): Promise<void> {
  for (const limit = AbortSignal.timeout(30_000); ; limit.throwIfAborted()) {
    try {
      return void (await cluster.client.get(CREDENTIALS))
    } catch (error) {
      if (!(error instanceof KubeError) || ![429, 503].includes(error.status)) throw error
      await sleep(100)
    }
  }
}

async function allStatuses(): Promise<Map<string, unknown>> {
  const { items } = await cluster.client.get<{ items: CredentialObject[] }>(CREDENTIALS)
  return new Map(items.map(({ metadata, status }) => [metadata.name, status]))
}

/** The holder as soon as it is right. */
async function leaseHeldBy(isRight: (holder: string) => boolean): Promise<string> {
  type Lease = KubeObject & { spec: { holderIdentity?: string } }
  const lease = await whenObject<Lease>(cluster.client, LEASES, LEASE, ({ spec }) =>
    isRight(spec.holderIdentity ?? ''),
  )
  return lease.spec.holderIdentity as string
}

interface AuditLine {
  readonly verb: string
  readonly user: { readonly username: string }
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string; readonly name?: string }
}

/** What the controllers asked for so far. */
function asked(): AuditLine[] {
  const lines = readFileSync(cluster.auditLog, 'utf8').split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line) as AuditLine).filter(({ user }) => user.username === USER)
}

function statusWrites(): AuditLine[] {
  return asked().filter(({ verb, objectRef }) => verb === 'patch' && objectRef?.subresource === 'status')
}

function secretReads(): number {
  return asked().filter(({ verb, objectRef }) => verb === 'get' && objectRef?.resource === 'secrets').length
}
