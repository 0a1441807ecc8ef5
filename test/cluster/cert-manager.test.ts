import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startCertManager } from './kit/cert-manager.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'

const NAMESPACE = 'cert-manager-kit'
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
const SECRETS = `/api/v1/namespaces/${NAMESPACE}/secrets`

const CERTIFICATES = `/apis/cert-manager.io/v1/namespaces/${NAMESPACE}/certificates`

const CHAIN = `
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: { name: self-signed }
spec: { selfSigned: {} }
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: authority }
spec:
  isCA: true
  commonName: the authority
  secretName: authority
  privateKey: { algorithm: ECDSA }
  issuerRef: { name: self-signed }
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: { name: authority }
spec: { ca: { secretName: authority } }
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: leaf }
spec:
  dnsNames: [webhook.${NAMESPACE}.svc]
  secretName: leaf
  privateKey: { algorithm: ECDSA }
  issuerRef: { name: authority }
`

const cluster = sharedCluster()
const { client } = cluster
let stop: () => Promise<void>

beforeAll(async () => {
  await cluster.createNamespace(NAMESPACE)
  await client.create(CONFIGURATIONS, {
    metadata: { name: NAMESPACE, annotations: { 'cert-manager.io/inject-ca-from': `${NAMESPACE}/leaf` } },
    webhooks: [
      {
        name: 'nothing.test.run.ai',
        clientConfig: { url: 'https://127.0.0.1:1/' },
        sideEffects: 'None',
        admissionReviewVersions: ['v1'],
      },
    ],
  })
  stop = await startCertManager(cluster)
  await cluster.kubectl(['--namespace', NAMESPACE, 'apply', '--filename', '-'], CHAIN)
})
afterAll(async () => {
  await client.delete(`${CONFIGURATIONS}/${NAMESPACE}`)
  await stop?.()
})

test('the controllers issue a leaf of an authority, and the authority is injected into a webhook configuration', async () => {
  const { data } = await leafSecret(() => true)
  const authority = pem(data['ca.crt'])

  expect(pem(data['tls.crt']).checkIssued(authority)).toBe(true)
  expect(pem(data['tls.crt']).subjectAltName).toBe(`DNS:webhook.${NAMESPACE}.svc`)
  const { webhooks } = await whenObject<any>(
    client,
    CONFIGURATIONS,
    NAMESPACE,
    ({ webhooks }) => webhooks[0].clientConfig.caBundle !== undefined,
  )
  expect(pem(webhooks[0].clientConfig.caBundle).fingerprint256).toBe(authority.fingerprint256)
})

test('a leaf that is deleted is issued again, of the same authority', async () => {
  // Before that, the controllers are still busy with the first one.
  await whenObject<any>(client, CERTIFICATES, 'leaf', ({ status }) =>
    status?.conditions?.some(({ type, status }: any) => type === 'Ready' && status === 'True'),
  )
  const first = await leafSecret(() => true)

  await client.delete(`${SECRETS}/leaf`)

  const second = await leafSecret(({ metadata }) => metadata.uid !== first.metadata.uid)
  expect(second.data['ca.crt']).toBe(first.data['ca.crt'])
  expect(second.data['tls.crt']).not.toBe(first.data['tls.crt'])
})

function leafSecret(isRight: (secret: any) => boolean): Promise<any> {
  return whenObject<any>(
    client,
    SECRETS,
    'leaf',
    (secret) =>
      isRight(secret) && secret.data?.['tls.crt'] !== undefined && secret.data['ca.crt'] !== undefined,
  )
}

function pem(base64: string): X509Certificate {
  return new X509Certificate(Buffer.from(base64, 'base64'))
}
