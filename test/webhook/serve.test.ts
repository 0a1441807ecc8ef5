/** The program's command line: what it says when it starts, and when it cannot. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { makeCertificates } from '../../certs/make.ts'
import { run, startServer, testCertificates, writeFolder } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'

const catalog = writeFolder({
  'a.yaml':
    'apiVersion: run.ai/v1\nkind: Credential\nmetadata: { name: a, namespace: team }\nspec: { secretRef: { name: s }, type: environment }\n',
})

const running: { signal(name: NodeJS.Signals): void }[] = []
afterAll(() => {
  for (const one of running) one.signal('SIGKILL')
})

describe('starting', () => {
  test('says where it is, what it offers and where its metrics are', async () => {
    const server = await startServer(catalog)
    running.push(server)
    expect(server.stdout()).toMatch(
      /^credential-injector is ready: https:\/\/127\.0\.0\.1:\d+\/mutate\/pods\nMetrics: http:\/\/127\.0\.0\.1:\d+\/metrics\nCatalogue .*: 1 credential in 1 namespace, 0 cluster credentials, 0 policies\n$/,
    )
    expect(server.stdout()).not.toContain('self-signed')
    const answer = await fetch(server.metricsUrl)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=/)
    const metrics = await answer.text()
    for (const line of [
      'credential_injector_catalog_credentials 1',
      'credential_injector_catalog_policies 0',
      'credential_injector_catalog_problems 0',
      'credential_injector_reviews_total{outcome="Injected"} 0',
      'credential_injector_large_reviews_in_flight_bytes 0',
    ])
      expect(metrics).toContain(`${line}\n`)
    for (const path of ['/healthz', '/readyz'])
      expect(await (await fetch(new URL(path, server.metricsUrl))).text()).toBe('ok\n')
    expect((await fetch(new URL('/other', server.metricsUrl))).status).toBe(404)
    await server.stop()
  })

  test('without a certificate it makes one and says so; settings may come from the environment', async () => {
    const child = run(['serve'], {
      CREDENTIAL_INJECTOR_CATALOG: catalog,
      CREDENTIAL_INJECTOR_PORT: '0',
      CREDENTIAL_INJECTOR_LOG_LEVEL: 'error',
    })
    running.push(child)
    await eventually('ready', () => child.stdout().includes('self-signed, for this machine and a day'))
    child.signal('SIGINT')
    expect(await child.exited).toEqual({ code: 0, signal: null })
  })

  test('a manifest that cannot be used is named, and the others are offered', async () => {
    const folder = writeFolder({
      'bad.yaml': 'apiVersion: run.ai/v1\nkind: Credential\nmetadata: { name: b }\nspec: {}\n',
    })
    const server = await startServer(folder)
    running.push(server)
    expect(server.stdout()).toMatch(/; \d problems?, named in the log\n$/)
    const line = await eventually('its name in the log', () => server.log()[0])
    expect(line).toMatchObject({ level: 'error', problem: { file: 'bad.yaml', line: expect.any(Number) } })
    await server.stop()
  })
})

describe('what it cannot start with ends with a sentence and exit code 2', async () => {
  const { folder: certificates } = await testCertificates()
  const crt = join(certificates, 'tls.crt')
  const key = join(certificates, 'tls.key')
  const other = writeFolder({ 'other.key': (await makeCertificates()).key, 'empty.pem': '' })
  const past = await makeCertificates(Date.now() - 500 * 24 * 3_600_000)
  const expired = writeFolder({ 'tls.crt': past.cert, 'tls.key': past.key })
  const pair = (cert: string, itsKey: string) => [
    '--catalog',
    catalog,
    '--port',
    '0',
    '--tls-cert',
    cert,
    '--tls-key',
    itsKey,
  ]
  const taken = createServer().listen(0, '127.0.0.1')
  afterAll(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo

  test.each<[string, string[], RegExp]>([
    [
      'no folder',
      [],
      /^This is not a pod of a cluster: name a kubeconfig .* name a folder of manifests with --catalog DIR/,
    ],
    [
      'a folder that is not there',
      ['--catalog', join(other, 'nowhere')],
      /is not a folder: give --catalog a folder with YAML manifests/,
    ],
    ['a file as folder', ['--catalog', crt], /is not a folder/],
    ['a port that is none', ['--catalog', catalog, '--port', '70000'], /A port is a number from 0 to 65535/],
    [
      'a port that is taken',
      ['--catalog', catalog, '--port', String(port)],
      /^Port \d+ is taken: choose another/,
    ],
    [
      'a metrics port that is taken',
      ['--catalog', catalog, '--port', '0', '--metrics-port', String(port)],
      /^Port \d+ is taken/,
    ],
    [
      'a certificate without its key',
      ['--catalog', catalog, '--tls-cert', crt],
      /--tls-cert needs --tls-key too/,
    ],
    [
      'a certificate that is not there',
      pair(join(other, 'no.crt'), key),
      /cannot be read: there is no such file/,
    ],
    ['a certificate that is none', pair(join(other, 'empty.pem'), key), /holds no certificate in PEM form/],
    ['a key that is none', pair(crt, join(other, 'empty.pem')), /holds no private key in PEM form/],
    ['a key of another certificate', pair(crt, join(other, 'other.key')), /is not the private key of/],
    [
      'a certificate that has expired',
      pair(join(expired, 'tls.crt'), join(expired, 'tls.key')),
      /expired at .*: renew it/,
    ],
    [
      'a namespace that is none',
      ['--catalog', catalog, '--namespace', 'No_Namespace'],
      /A namespace has lower-case letters/,
    ],
    [
      'a delay that is none',
      ['--catalog', catalog, '--shutdown-delay', 'soon'],
      /Write seconds from 0 to 3600/,
    ],
    ['a level that is none', ['--catalog', catalog, '--log-level', 'loud'], /Allowed choices are/],
    ['a flag that is none', ['--catalogue', catalog], /unknown option '--catalogue'/],
  ])('%s', async (_, flags, sentence) => {
    const { exited, stderr, stdout } = run(['serve', ...flags])
    expect(await exited).toEqual({ code: 2, signal: null })
    expect(stderr()).toMatch(sentence)
    expect(stderr()).not.toMatch(/\n\s+at /)
    expect(stdout()).toBe('')
  })

  test('help is no mistake; no command is', async () => {
    const help = run(['serve', '--help'])
    expect(await help.exited).toEqual({ code: 0, signal: null })
    expect(help.stdout()).toContain('CREDENTIAL_INJECTOR_CATALOG')
    expect((await run([]).exited).code).toBe(2)
  })
})
