/** The program's command line, its port and its end, as a process of its own. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { readControllerConfig } from '../../src/config/controller.ts'
import { type FakeApiServer, faults, startFakeApiServer } from '../support/fake-apiserver.ts'
import { base64, CANARY } from '../support/secrets.ts'
import { type Run, run, writeFolder } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'

let server: FakeApiServer
let folder: string
const running: Run[] = []

beforeEach(async () => {
  server = await startFakeApiServer()
  folder = writeFolder({
    kubeconfig: `apiVersion: v1
kind: Config
current-context: c
clusters: [{ name: c, cluster: { server: "${server.url}" } }]
users: [{ name: u, user: {} }]
contexts: [{ name: c, context: { cluster: c, user: u } }]
`,
  })
})

afterEach(async () => {
  for (const child of running.splice(0)) {
    child.signal('SIGKILL')
    await child.exited
  }
  await server.close()
})

function controller(flags: string[] = []): Run {
  const child = run(['controller', '--kubeconfig', `${folder}/kubeconfig`, '--metrics-port', '0', ...flags])
  running.push(child)
  return child
}

async function urlOf(child: Run): Promise<string> {
  return eventually('its port', () => /http:\/\/\S+(?=\/metrics)/.exec(child.stdout())?.[0])
}

function putCredential(name: string) {
  server.put('run.ai/v1/credentials', {
    metadata: { name, namespace: 'team', generation: 1 },
    spec: { secretRef: { name }, type: 'environment' },
  })
}

const lease = () =>
  server.objects('coordination.k8s.io/v1/leases')[0] as never as { spec: { holderIdentity?: string } }

test('reads, leads, writes, is asked, and gives the lease back at its end', async () => {
  putCredential('a')
  server.put('v1/secrets', {
    metadata: { name: 'a', namespace: 'team' },
    type: 'Opaque',
    data: { A: base64(`${CANARY}\n`) },
  })
  const child = controller()
  await server.received(({ path }) => path.endsWith('/credentials/a/status'))
  const event = await server.received(({ path }) => path.endsWith('/events'))
  expect(event.body).toMatchObject({ reason: 'TrailingLineBreak', involvedObject: { name: 'a' } })
  const url = await urlOf(child)
  expect(child.stdout()).toMatch(
    /^credential-injector controller is ready: it watches 1 credential; its own namespace is credential-injector\nMetrics: http/,
  )
  for (const path of ['/healthz', '/readyz']) expect((await fetch(`${url}${path}`)).status).toBe(200)
  const metrics = await (await fetch(`${url}/metrics`)).text()
  expect(metrics).toContain('credential_injector_controller_leader 1\n')
  expect(lease().spec.holderIdentity).toMatch(/_[0-9a-f-]{36}$/)
  child.signal('SIGTERM')
  expect(await child.exited).toEqual({ code: 0, signal: null })
  expect(lease().spec.holderIdentity).toBeUndefined()
  const seen = JSON.stringify([child.stdout(), child.stderr(), metrics, server.requests])
  expect(seen).not.toContain(CANARY)
})

test('is not ready before everything has been listed', async () => {
  server.fault('list', faults.nothing(), '/api/v1/secrets')
  const port = await freePort()
  const child = controller(['--metrics-port', String(port)])
  await server.received(({ path }) => path === '/api/v1/secrets')
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`)
  expect(answer.status).toBe(503)
  expect(await answer.json()).toMatchObject({
    message: 'The credentials of the cluster are still being read.',
  })
  expect(child.stdout()).toBe('')
})

test('waits while another leads, and writes nothing', async () => {
  server.put('coordination.k8s.io/v1/leases', {
    metadata: { name: 'credential-injector-controller', namespace: 'credential-injector' },
    spec: { holderIdentity: 'another', leaseDurationSeconds: 600 },
  })
  putCredential('a')
  const child = controller()
  const url = await urlOf(child)
  await server.received(({ verb, path }) => verb === 'get' && path.includes('/leases/'))
  expect(await (await fetch(`${url}/metrics`)).text()).toContain('credential_injector_controller_leader 0\n')
  child.signal('SIGTERM')
  expect(await child.exited).toEqual({ code: 0, signal: null })
  expect(server.requests.filter(({ method }) => method !== 'GET')).toEqual([])
  expect(lease().spec.holderIdentity).toBe('another')
})

test('without leader election it leads at once', async () => {
  putCredential('a')
  controller(['--leader-elect', 'false'])
  await server.received(({ path }) => path.endsWith('/credentials/a/status'))
  expect(server.objects('coordination.k8s.io/v1/leases')).toEqual([])
})

test('looks after certificates when it is asked to', async () => {
  const child = controller([
    '--self-managed-certificates',
    ...['--mutating-configurations', '', '--validating-configurations', ''],
  ])
  for (const name of ['credential-injector-ca', 'credential-injector-webhook-tls'])
    await server.received(({ method, body }) => method === 'POST' && body?.metadata?.name === name)
  const made = await server.received(
    ({ path, body }) => path.endsWith('/events') && body.involvedObject.kind === 'Secret',
  )
  expect(made.body).toMatchObject({ type: 'Normal', metadata: { namespace: 'credential-injector' } })
  const metrics = await (await fetch(`${await urlOf(child)}/metrics`)).text()
  expect(metrics).toContain('credential_injector_managed_certificate_rotations_total{certificate="ca"} 1\n')
})

test('a duty that cannot be done ends it with exit code 1 and the reason in the log', async () => {
  server.put('v1/secrets', {
    metadata: { name: 'credential-injector-revision-key', namespace: 'credential-injector' },
    data: {},
  })
  const child = controller()
  expect(await child.exited).toEqual({ code: 1, signal: null })
  expect(child.log().at(-1)?.msg).toMatch(
    /^the duty status cannot be done: Secret credential-injector\/credential-injector-revision-key has no key/,
  )
  // The next one need not wait for it to run out.
  expect(lease().spec).toMatchObject({ leaseDurationSeconds: 1 })
  expect(lease().spec.holderIdentity).toBeUndefined()
})

test('an API server that is in trouble at the moment of the election does not end it', async () => {
  putCredential('a')
  const secrets = '/api/v1/namespaces/credential-injector/secrets'
  server.fault('get', faults.status(429, 'TooManyRequests'), secrets)
  server.fault('get', faults.status(500, 'InternalError'), secrets)
  // The client itself asks once more where a connection was an old one.
  server.fault('get', faults.cut(), secrets)
  server.fault('create', faults.status(503, 'ServiceUnavailable'), secrets)
  const child = controller()
  await server.received(({ path }) => path.endsWith('/credentials/a/status'))
  const said = child.log().filter(({ msg }) => /^the key of revisions could not be read/.test(String(msg)))
  expect(said.length).toBeGreaterThanOrEqual(3)
})

describe('what it cannot start with ends with a sentence and exit code 2', () => {
  test.each<[string, string[], RegExp]>([
    ['a context without a kubeconfig', ['--context', 'a'], /give --kubeconfig FILE too/],
    ['a lease of nothing', ['--lease-duration', '0'], /Write whole seconds, from 1 to 3600/],
    ['half a truth', ['--leader-elect', 'maybe'], /Write true or false/],
    ['a namespace that is none', ['--namespace', 'A_b'], /A namespace has lower-case letters/],
    ['a flag that is none', ['--leader'], /unknown option/],
    [
      'certificates that end too soon',
      ['--self-managed-certificates', '--ca-validity', '1d'],
      /at least five times/,
    ],
  ])('%s', (_title, flags, sentence) => {
    let said = ''
    const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      said += text
      return true
    })
    try {
      readControllerConfig(flags)
      expect.fail('it took that')
    } catch (error) {
      expect(error).toMatchObject({ exitCode: 2 })
      expect(said + (error as Error).message).toMatch(sentence)
    } finally {
      stderr.mockRestore()
    }
  })

  test.each<[string, string[], RegExp]>([
    ['no cluster', [], /^This is not a pod of a cluster: name a kubeconfig with --kubeconfig FILE/],
    ['a kubeconfig that is not there', ['--kubeconfig', '/nowhere'], /\/nowhere/],
  ])('%s', async (_title, flags, sentence) => {
    const child = run(['controller', ...flags])
    running.push(child)
    expect(await child.exited).toEqual({ code: 2, signal: null })
    expect(child.stderr()).toMatch(sentence)
  })

  test('a port that is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const child = controller(['--metrics-port', String(port)])
    expect(await child.exited).toEqual({ code: 2, signal: null })
    expect(child.stderr()).toBe(
      `Port ${port} is taken: choose another with --metrics-port; 0 takes a free one.\n`,
    )
    taken.close()
  })
})

test('settings come from flags, then from the environment, then from defaults', () => {
  vi.stubEnv('CREDENTIAL_INJECTOR_NAMESPACE', 'from-environment')
  vi.stubEnv('CREDENTIAL_INJECTOR_LEASE_DURATION', '20')
  vi.stubEnv('CREDENTIAL_INJECTOR_ROTATION_PAUSED', 'true')
  expect(readControllerConfig(['--lease-duration', '30', '--rotation-at-once', '3'])).toEqual({
    kubeconfig: undefined,
    context: undefined,
    namespace: 'from-environment',
    host: '127.0.0.1',
    metricsPort: 9090,
    leaderElect: true,
    leaseDuration: 30_000,
    logLevel: 'info',
    certificates: undefined,
    rotation: {
      restartWorkloads: true,
      isPaused: true,
      settle: 10_000,
      oneAtATime: false,
      atOnce: 3,
      rolloutLimit: 600_000,
    },
    configurations: { policies: 'credential-injector-policies', pods: 'credential-injector' },
  })
  vi.unstubAllEnvs()
})

test.each([
  ['--rotation-at-once', '0', 'Write a number from 1 to 1000, such as 10.'],
  ['--rotation-settle', 'soon', 'Write seconds from 0 to 3600, such as 5 or 0.5.'],
  ['--restart-workloads', 'yes', 'Write true or false.'],
])('%s %s is a mistake', (flag, value, sentence) => {
  const error = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  expect(() => readControllerConfig([flag, value])).toThrow()
  expect(error.mock.calls.flat().join('')).toContain(sentence)
  error.mockRestore()
})

test('help is of the controller, and the other help names it', async () => {
  const [own, other] = [run(['controller', '--help']), run(['--help'])]
  running.push(own, other)
  expect(await own.exited).toEqual({ code: 0, signal: null })
  expect(own.stdout()).toMatch(/^Usage: credential-injector controller /)
  await other.exited
  expect(other.stdout()).toContain('controller [options]')
})

/** A port that was free a moment ago; the program says its own only when it is ready. */
async function freePort(): Promise<number> {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  taken.close()
  await once(taken, 'close')
  return port
}
