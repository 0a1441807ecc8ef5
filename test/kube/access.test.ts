/** The ways to a cluster: the pod's own service account, and kubeconfigs. */
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AccessError, clusterAccess, inClusterAccess, kubeconfigAccess } from '../../src/kube/access.ts'
import { createKubeClient } from '../../src/kube/client.ts'
import { startFakeApiServer } from '../support/fake-apiserver.ts'
import { writeFolder } from '../support/server.ts'

const POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' }
const MOUNT = { token: 'first\n', 'ca.crt': 'PEM', namespace: 'credential-injector\n' }

describe('inside of a pod', () => {
  test('the service account says everything', () => {
    const access = inClusterAccess(POD, writeFolder(MOUNT))
    expect(access).toMatchObject({
      server: 'https://10.96.0.1:443',
      ca: 'PEM',
      namespace: 'credential-injector',
    })
    expect(access.token?.()).toBe('first')
  })

  test('an IPv6 address stands in brackets', () => {
    const { server } = inClusterAccess({ ...POD, KUBERNETES_SERVICE_HOST: 'fd00::1' }, writeFolder(MOUNT))
    expect(server).toBe('https://[fd00::1]:443')
  })

  test('a renewed token is read, and while there is none the old one holds', () => {
    const folder = writeFolder(MOUNT)
    const { token } = inClusterAccess(POD, folder)
    writeFileSync(join(folder, 'next'), 'other')
    renameSync(join(folder, 'next'), join(folder, 'token'))
    expect(token?.()).toBe('other')
    renameSync(join(folder, 'token'), join(folder, 'gone'))
    expect(token?.()).toBe('other')
    writeFileSync(join(folder, 'token'), 'third')
    expect(token?.()).toBe('third')
  })

  test('a server that knows only the new token is reached after the renewal', async () => {
    let valid = 'first'
    const server = await startFakeApiServer({ token: () => valid })
    const folder = writeFolder(MOUNT)
    const client = createKubeClient({ ...inClusterAccess(POD, folder), server: server.url })
    expect(await client.get('/api/v1/namespaces')).toMatchObject({ kind: 'List' })
    valid = 'second'
    await expect(client.get('/api/v1/namespaces')).rejects.toMatchObject({ status: 401 })
    writeFileSync(join(folder, 'token'), 'second')
    expect(await client.get('/api/v1/namespaces')).toMatchObject({ kind: 'List' })
    client.close()
    await server.close()
  })

  test('elsewhere it says what to give', async () => {
    expect(() => inClusterAccess({})).toThrow(
      'This is not a pod of a cluster: name a kubeconfig with --kubeconfig FILE.',
    )
    expect(() => inClusterAccess(POD, writeFolder({}))).toThrow(
      /has no .*token: its service account's token must be mounted/,
    )
  })
})

const base64 = (text: string) => Buffer.from(text).toString('base64')

const KUBECONFIG = `
apiVersion: v1
kind: Config
current-context: inline
contexts:
  - { name: inline, context: { cluster: c, user: cert, namespace: team } }
  - { name: files, context: { cluster: files, user: files } }
  - { name: token, context: { cluster: c, user: token } }
  - { name: tokenFile, context: { cluster: c, user: tokenFile } }
  - { name: insecure, context: { cluster: insecure, user: token } }
  - { name: nobody, context: { cluster: plain } }
  - { name: exec, context: { cluster: c, user: exec } }
  - { name: half, context: { cluster: c, user: half } }
  - { name: lost, context: { cluster: c, user: lost } }
  - { name: missing, context: { cluster: missing, user: token } }
  - { name: proxied, context: { cluster: proxied, user: token } }
  - { name: unaddressed, context: { cluster: unaddressed, user: token } }
clusters:
  - { name: c, cluster: { server: "https://one:6443", certificate-authority-data: ${base64('CA')} } }
  - { name: files, cluster: { server: "https://two:6443", certificate-authority: pki/ca.crt, tls-server-name: api } }
  - { name: insecure, cluster: { server: "https://three", insecure-skip-tls-verify: true } }
  - { name: plain, cluster: { server: "http://127.0.0.1:8001" } }
  - { name: proxied, cluster: { server: "https://four", proxy-url: "socks5://x" } }
  - { name: unaddressed, cluster: { server: "four:6443" } }
users:
  - { name: cert, user: { client-certificate-data: ${base64('CERT')}, client-key-data: ${base64('KEY')} } }
  - { name: files, user: { client-certificate: pki/c.crt, client-key: pki/c.key } }
  - { name: token, user: { token: abc } }
  - { name: tokenFile, user: { tokenFile: token, token: old } }
  - { name: exec, user: { exec: { command: aws } } }
  - { name: half, user: { client-certificate-data: ${base64('CERT')} } }
  - { name: lost, user: { client-certificate: nowhere.crt, client-key: nowhere.key } }
`

describe('by a kubeconfig', () => {
  const folder = writeFolder({
    config: KUBECONFIG,
    'pki/ca.crt': 'CA of file',
    'pki/c.crt': 'cert of file',
    'pki/c.key': 'key of file',
    token: 'of file\n',
    empty: '',
    'no.yaml': 'users: [{ name: a, user: { token: s3cret }',
    'no-context': 'clusters: []',
  })
  const file = join(folder, 'config')
  const sentence = (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      (error) => (error instanceof AccessError ? error.message : `another error: ${error}`),
    )

  test('the current context, with everything inline', async () => {
    const access = await clusterAccess({ kubeconfig: file })
    expect(access).toMatchObject({ server: 'https://one:6443', namespace: 'team', insecure: false })
    expect([access.ca, access.cert, access.key].map(String)).toEqual(['CA', 'CERT', 'KEY'])
    expect(access.token).toBeUndefined()
  })

  test('files stand relative to it', async () => {
    const access = await kubeconfigAccess(file, 'files')
    expect(access).toMatchObject({ server: 'https://two:6443', serverName: 'api' })
    expect([access.ca, access.cert, access.key].map(String)).toEqual([
      'CA of file',
      'cert of file',
      'key of file',
    ])
  })

  test('tokens, in it and in a file', async () => {
    expect((await kubeconfigAccess(file, 'token')).token?.()).toBe('abc')
    expect((await kubeconfigAccess(file, 'tokenFile')).token?.()).toBe('of file')
  })

  test('certificates go unchecked only where it says so', async () => {
    expect((await kubeconfigAccess(file, 'insecure')).insecure).toBe(true)
  })

  test('nobody, without encryption, as of kubectl proxy', async () => {
    expect(await kubeconfigAccess(file, 'nobody')).toMatchObject({
      server: 'http://127.0.0.1:8001',
      token: undefined,
    })
  })

  test.each([
    [
      'exec',
      /user "exec" of .*config logs in by exec, which is not supported here: use a client certificate or a token/,
    ],
    ['half', /user "half" of .* needs both, client-certificate and client-key/],
    ['lost', /names .*nowhere\.crt, which cannot be read/],
    ['missing', /has no cluster "missing": it has c, files, insecure/],
    ['proxied', /proxy-url, which is not supported/],
    ['unaddressed', /has no server: write server: https:\/\/HOST:PORT/],
    ['other', /has no context "other": it has inline, files/],
  ])('%s: a sentence', async (context, expected) => {
    expect(await sentence(kubeconfigAccess(file, context))).toMatch(expected)
  })

  test.each([
    ['none', /none cannot be read: ENOENT/],
    ['empty', /empty is empty/],
    ['no-context', /has no current-context: choose one with --context NAME/],
    ['no.yaml', /is not YAML\.$/],
  ])('the file %s: a sentence', async (name, expected) => {
    expect(await sentence(kubeconfigAccess(join(folder, name)))).toMatch(expected)
  })
})
