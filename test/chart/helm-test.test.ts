/** The script that `helm test` runs in a pod, against the real webhook and against everything else that may answer. */
import { execFile } from 'node:child_process'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificates } from '../../certs/make.ts'
import { type RunningServer, startServer, testCertificates } from '../support/server.ts'

const SCRIPT = fileURLToPath(new URL('../../charts/credential-injector/files/helm-test.mjs', import.meta.url))

let webhook: RunningServer
beforeAll(async () => {
  webhook = await startServer(fileURLToPath(new URL('../../examples/catalog', import.meta.url)))
})
afterAll(() => webhook.stop())

const helmTest = (env: Record<string, string>) =>
  new Promise<{ code: unknown; stdout: string }>((resolve) => {
    execFile(process.execPath, [SCRIPT], { env: { ...process.env, ...env } }, (error, stdout) =>
      resolve({ code: error?.code ?? 0, stdout }),
    )
  })
const base64 = (text: string) => Buffer.from(text).toString('base64')

describe('with the webhook', () => {
  test('and its CA in a file it says that all is well', async () => {
    const { folder } = await testCertificates()
    expect(await helmTest({ WEBHOOK: webhook.url, NODE_EXTRA_CA_CERTS: join(folder, 'ca.crt') })).toEqual({
      code: 0,
      stdout: `The webhook at ${webhook.url} answers reviews, with a certificate that the CA has signed.\n`,
    })
  })

  test('and its CA in a variable it says that all is well', async () => {
    expect((await helmTest({ WEBHOOK: webhook.url, CA_BUNDLE: base64(webhook.ca) })).code).toBe(0)
  })

  test('and another CA it says that the certificate is to blame', async () => {
    const { ca } = await makeCertificates()
    const { code, stdout } = await helmTest({ WEBHOOK: webhook.url, CA_BUNDLE: base64(ca) })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^The webhook at .* cannot be called: .*(certificate|signature)/)
  })
})

test('with nobody there it says so', async () => {
  const { code, stdout } = await helmTest({ WEBHOOK: 'https://127.0.0.1:1/mutate/pods' })
  expect(code).toBe(1)
  expect(stdout).toMatch(/^The webhook at .* cannot be called: connect ECONNREFUSED/)
})

test('with another server there it shows what that one says', async () => {
  const { cert, key, ca } = await makeCertificates()
  const other = createServer({ cert, key }, (_, answer) => answer.end('hello'))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(other.address() as AddressInfo).port}/mutate/pods`
  expect(await helmTest({ WEBHOOK: url, CA_BUNDLE: base64(ca) })).toEqual({
    code: 1,
    stdout: `The webhook at ${url} answers with 200 hello\n`,
  })
  other.close()
})
