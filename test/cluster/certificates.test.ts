/*
 * Self-managed certificates before a real API server: it calls a webhook process whose certificate comes out of the Secret, late,
 * as a kubelet would bring it; and pods are created without a pause while certificates and authorities change.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { KubeObject } from '../../src/kube/client.ts'
import { type Run, run, writeFolder } from '../support/server.ts'
import { installCrds } from './install-crds.ts'
import { freePorts } from './kit/processes.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { makeControllerAccount } from './support/controller-account.ts'

interface Secret extends KubeObject {
  data: Record<string, string>
}

const NAMESPACE = 'certificates'
const TEAM = 'certificates-team'
/** The name that the chart gives it, and that the controller has a right to. */
const CONFIGURATION = 'credential-injector'
const SECRETS = `/api/v1/namespaces/${NAMESPACE}/secrets`
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
const PODS = `/api/v1/namespaces/${TEAM}/pods`

/** As the kubelet is late in a real cluster, and as the overlap has to allow for; seconds here, where it is minutes there. */
const KUBELET_LATE_MS = 1500
const OVERLAP_SECONDS = 10
/** More at once than the API server keeps connections for (25), so that every burst makes new ones. */
const BURST = 40

const LIMIT = { timeout: 60_000, interval: 50 }
const cluster = sharedCluster()
const { client } = cluster
const cleanups: (() => Promise<unknown> | unknown)[] = []

let webhook: Run
let port: number
let kubeconfig: string
let controller: Controller
/** What controllers that have ended had written. */
let said = ''

interface Controller {
  readonly process: Run
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

/** The program as the chart starts it, with the rights that it is meant to have. */
function startController(): Controller {
  const process = run([
    ...['controller', '--kubeconfig', kubeconfig, '--namespace', NAMESPACE, '--metrics-port', '0'],
    ...['--lease-duration', '15', '--self-managed-certificates', '--certificate-names', 'localhost'],
    ...['--mutating-configurations', CONFIGURATION, '--validating-configurations', ''],
    ...['--certificate-overlap', `${OVERLAP_SECONDS}s`, '--certificate-settle', '1s'],
  ])
  return {
    process,
    async end(signal) {
      process.signal(signal)
      await process.exited
      said += process.stdout() + process.stderr()
    },
  }
}

beforeAll(async () => {
  await installCrds(client)
  await cluster.createNamespace(NAMESPACE)
  await cluster.createNamespace(TEAM)
  ;[port] = (await freePorts(1)) as [number]
  await client.create(CONFIGURATIONS, {
    metadata: { name: CONFIGURATION },
    webhooks: [
      {
        name: 'pods.credentials.run.ai',
        clientConfig: { url: `https://localhost:${port}/mutate/pods` },
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': TEAM } },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        failurePolicy: 'Fail',
        sideEffects: 'None',
        timeoutSeconds: 10,
        admissionReviewVersions: ['v1'],
      },
    ],
  })
  cleanups.push(() => client.delete(`${CONFIGURATIONS}/${CONFIGURATION}`))

  const account = await makeControllerAccount(cluster, NAMESPACE, {
    certificates: { mode: 'selfManaged' },
  })
  cleanups.push(account.remove)
  kubeconfig = account.kubeconfig
  controller = startController()
  cleanups.push(() => controller.end('SIGTERM'))
  const files = mountLikeTheKubelet()
  cleanups.push(files.unmount)
  await files.ready
  const catalog = writeFolder({ 'wandb.yaml': CREDENTIAL })
  cleanups.push(() => rmSync(catalog, { recursive: true }))
  webhook = run([
    ...['serve', '--catalog', catalog, '--port', String(port), '--metrics-port', '0', '--host', '127.0.0.1'],
    ...['--tls-cert', join(files.folder, 'tls.crt'), '--tls-key', join(files.folder, 'tls.key')],
  ])
  cleanups.push(() => {
    webhook.signal('SIGINT')
    return webhook.exited
  })
  await vi.waitFor(() => expect(webhook.stdout(), webhook.stderr()).toContain('is ready:'), LIMIT)
})

beforeEach(({ onTestFailed }) => {
  onTestFailed(() => void process.stderr.write(`The controller wrote:\n${controller.process.stderr()}\n`))
})

afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
  for (const namespace of [NAMESPACE, TEAM]) await client.delete(`/api/v1/namespaces/${namespace}`)
})

const CREDENTIAL = `
apiVersion: run.ai/v1
kind: Credential
metadata: { name: wandb-credentials, namespace: ${TEAM} }
spec: { secretRef: { name: wandb-secret }, type: environment }
`

test('the API server calls the webhook: its bundle was written, its certificate came out of the Secret', async () => {
  const pod = await createPod('first')

  expect(pod.spec.containers[0].envFrom).toEqual([{ secretRef: { name: 'wandb-secret' } }])
  expect(await bundle()).toBe(text(await secret('credential-injector-ca'), 'tls.crt'))
})

test('the serving certificate is renewed while pods are created: none fails', async () => {
  const before = text(await secret('credential-injector-webhook-tls'), 'tls.crt')
  const bundleBefore = await bundle()

  const steady = createSteadily()
  await annotate('credential-injector-webhook-tls')
  await served((pem) => pem !== before)
  await steady.goOnFor(3)
  const { created, failures } = await steady.end()

  print('serving certificate renewed', created, failures)
  expect([...new Set(failures)]).toEqual([])
  expect(await bundle()).toBe(bundleBefore)
})

test.for([
  ['its Secret is deleted', () => client.delete(`${SECRETS}/credential-injector-ca`)],
  ['somebody asks', () => annotate('credential-injector-ca')],
] as const)(
  'the authority is rotated because %s, while pods are created: none fails',
  async ([why, rotate]) => {
    const old = await bundle()

    const steady = createSteadily()
    await rotate()
    await overlapIsOver(old)
    await steady.goOnFor(3)
    const { created, failures } = await steady.end()

    print(`authority rotated because ${why}`, created, failures)
    expect([...new Set(failures)]).toEqual([])
  },
)

test('the controller is gone in the middle of a rotation, and another one finishes it: none fails', async () => {
  const old = await bundle()

  const steady = createSteadily()
  await annotate('credential-injector-ca')
  await whenBundle((pem) => pem !== old && pem.includes(old))
  await controller.end('SIGKILL')
  // The old certificate is served, and both authorities are trusted: it can stay so for as long as nobody leads.
  await steady.goOnFor(3)
  controller = startController()
  await overlapIsOver(old)
  await steady.goOnFor(3)
  const { created, failures } = await steady.end()

  print('controller gone in the middle', created, failures)
  expect([...new Set(failures)]).toEqual([])
})

test('a bundle that somebody empties is mended, and pods are created again', async () => {
  const good = await bundle()

  await client.patch(`${CONFIGURATIONS}/${CONFIGURATION}`, 'application/json-patch+json', [
    { op: 'remove', path: '/webhooks/0/clientConfig/caBundle' },
  ])
  await whenBundle((pem) => pem === good)

  await vi.waitFor(() => createPod('mended'), LIMIT)
})

test('a Secret of somebody else stays as it is', async () => {
  await controller.end('SIGTERM')
  await client.delete(`${SECRETS}/credential-injector-webhook-tls`)
  const foreign = await client.create<Secret>(SECRETS, {
    metadata: { name: 'credential-injector-webhook-tls' },
    stringData: { 'tls.crt': 'theirs' },
  })
  controller = startController()
  await vi.waitFor(
    () => expect(controller.process.stderr()).toContain('is left alone: delete it, or name another'),
    LIMIT,
  )

  expect(await secret('credential-injector-webhook-tls')).toEqual(foreign)
  // And when it goes, ours comes.
  await client.delete(`${SECRETS}/credential-injector-webhook-tls`)
  await whenObject<Secret>(client, SECRETS, 'credential-injector-webhook-tls', ({ data }) => 'ca.crt' in data)
})

test('events and metrics tell of the certificates, and no key is told anywhere', async () => {
  const url = /http:\S+\/metrics/.exec(controller.process.stdout())?.[0] as string
  const metrics = await (await fetch(url)).text()
  expect(metrics).toMatch(
    /^credential_injector_managed_certificate_expiry_timestamp_seconds\{certificate="ca"\} [1-9]/m,
  )
  expect(metrics).toMatch(
    /^credential_injector_managed_certificate_rotations_total\{certificate="serving"\} 1$/m,
  )
  const events = await client.get<{ items: { reason: string }[] }>(`/api/v1/namespaces/${NAMESPACE}/events`)
  const reasons = new Set(events.items.map(({ reason }) => reason))
  expect([...reasons]).toEqual(
    expect.arrayContaining(['CertificateAuthorityMade', 'ServingCertificateIssued']),
  )

  await controller.end('SIGTERM')
  const all = [said, metrics, JSON.stringify(events), webhook.stdout(), webhook.stderr()].join('\n')
  expect(all).toContain('made a certificate authority')
  const keys = (await client.get<{ items: Secret[] }>(SECRETS)).items.flatMap((each) => {
    const pem = text(each, 'tls.key')
    return pem ? [pem.split('\n')[1] as string] : []
  })
  expect(keys).toHaveLength(2)
  for (const line of [...keys, 'PRIVATE KEY']) expect(all.includes(line), 'a key was told').toBe(false)
})

// ---- Pods ------------------------------------------------------------------------------------------------------------

let pods = 0

function createPod(name: string): Promise<any> {
  pods += 1
  return client.create(PODS, {
    metadata: { name: `${name}-${pods}`, annotations: { 'credentials.run.ai/inject': 'wandb-credentials' } },
    spec: { containers: [{ name: 'main', image: 'nothing' }] },
  })
}

/** Bursts of pods, one after the other, until the end. A pod that is created but not injected counts as failed. */
function createSteadily() {
  const failures: string[] = []
  let created = 0
  let bursts = 0
  let goOn = true
  const one = async () => {
    try {
      const { metadata, spec } = await createPod('steady')
      if (spec.containers[0].envFrom?.[0]?.secretRef?.name !== 'wandb-secret')
        throw new Error('it was not injected')
      created += 1
      await client.delete(`${PODS}/${metadata.name}`, { gracePeriodSeconds: 0 })
    } catch (error) {
      failures.push((error as Error).message)
    }
  }
  const running = (async () => {
    while (goOn) {
      await Promise.all(Array.from({ length: BURST }, one))
      bursts += 1
    }
  })()
  return {
    /** Until so many more bursts are over. */
    async goOnFor(more: number) {
      const enough = bursts + more
      await vi.waitFor(() => expect(bursts).toBeGreaterThanOrEqual(enough), LIMIT)
    },
    async end() {
      goOn = false
      await running
      return { created, failures }
    },
  }
}

function print(what: string, created: number, failures: readonly string[]): void {
  process.stdout.write(`${what}: ${created} pods created, ${failures.length} failed\n`)
}

// ---- Certificates ----------------------------------------------------------------------------------------------------

function secret(name: string): Promise<Secret> {
  return client.get<Secret>(`${SECRETS}/${name}`)
}

function text({ data }: Secret, key: string): string {
  return Buffer.from(data[key] ?? '', 'base64').toString()
}

function annotate(name: string): Promise<unknown> {
  return client.patch(`${SECRETS}/${name}`, 'application/merge-patch+json', {
    metadata: { annotations: { 'credentials.run.ai/rotate': 'now' } },
  })
}

async function bundle(): Promise<string> {
  return bundleOf(await client.get(`${CONFIGURATIONS}/${CONFIGURATION}`))
}

function bundleOf({ webhooks }: any): string {
  return Buffer.from(webhooks[0].clientConfig.caBundle ?? '', 'base64').toString()
}

function whenBundle(isRight: (pem: string) => boolean): Promise<unknown> {
  return whenObject(client, CONFIGURATIONS, CONFIGURATION, (object) => isRight(bundleOf(object)))
}

/** Both are trusted, then the new one alone, and the certificate that is served is of it. */
async function overlapIsOver(old: string): Promise<void> {
  await whenBundle((pem) => pem !== old && pem.includes(old))
  await whenBundle((pem) => !pem.includes(old))
  const isTrusted = async () => {
    const pem = await bundle()
    await served(() => true, pem)
  }
  await isTrusted()
}

/** Asks the webhook itself, on a new connection each time, until it shows the right certificate. */
async function served(isRight: (pem: string) => boolean, ca?: string): Promise<void> {
  await vi.waitFor(async () => {
    const pem = await shown(ca)
    expect(isRight(pem)).toBe(true)
  }, LIMIT)
}

/** The certificate that the webhook shows. With `ca`, rejects if it is not of this authority. */
function shown(ca?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { host: '127.0.0.1', port, servername: 'localhost', ca, rejectUnauthorized: ca !== undefined },
      () => {
        const pem = socket.getPeerX509Certificate()?.toString() ?? ''
        socket.destroy()
        resolve(pem)
      },
    )
    socket.on('error', reject)
  })
}

// ---- The kubelet's part ----------------------------------------------------------------------------------------------

/** Files of the Secret, behind a symbolic link that is pointed elsewhere when it changes, some time after. */
function mountLikeTheKubelet() {
  const folder = mkdtempSync(join(tmpdir(), 'credential-injector-tls-'))
  const end = new AbortController()
  let versions = 0
  let isReady = () => {}
  const ready = new Promise<void>((resolve) => {
    isReady = resolve
  })

  const write = (data: Record<string, string>) => {
    versions += 1
    const version = `..${versions}`
    mkdirSync(join(folder, version))
    for (const [name, value] of Object.entries(data)) {
      writeFileSync(join(folder, version, name), Buffer.from(value, 'base64'))
      if (versions === 1) symlinkSync(join('..data', name), join(folder, name))
    }
    symlinkSync(version, join(folder, '..next'))
    renameSync(join(folder, '..next'), join(folder, '..data'))
    isReady()
  }

  const bring = async (event: { type: string; object: Secret }) => {
    if (event.type === 'DELETED' || !event.object.data?.['ca.crt']) return
    await sleep(KUBELET_LATE_MS, undefined, { signal: end.signal })
    write(event.object.data)
  }
  const follow = async () => {
    const path = `${SECRETS}?watch=true&fieldSelector=metadata.name=credential-injector-webhook-tls`
    while (!end.signal.aborted)
      for await (const event of client.stream(path, { signal: end.signal })) await bring(event as any)
  }
  const following = follow().catch((error) => {
    if (!end.signal.aborted) throw error
  })
  return {
    folder,
    ready,
    async unmount() {
      end.abort()
      await following
      rmSync(folder, { recursive: true })
    },
  }
}
