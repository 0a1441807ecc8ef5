/**
 * Makes certificates for development in this folder, or in the one that is named: a local authority (ca.crt, ca.key)
 * and a serving certificate of its (tls.crt, tls.key) for localhost and for the webhook's Service in a cluster.
 *
 *     node certs/make.ts
 *     npm start -- --catalog examples/catalog --tls-cert certs/tls.crt --tls-key certs/tls.key
 *     curl --cacert certs/ca.crt https://localhost:8443/healthz
 */
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { KEY_ALGORITHM, privateKeyPem, randomSerial } from '../src/webhook/self-signed.ts'

/** PEM texts. */
export interface DevelopmentCertificates {
  readonly ca: string
  readonly caKey: string
  readonly cert: string
  readonly key: string
}

const YEAR_MS = 365 * 24 * 60 * 60 * 1000
/** As long as browsers and other strict clients accept. */
const SERVING_MS = 397 * 24 * 60 * 60 * 1000

const SERVICE = 'credential-injector.credential-injector.svc'
const NAMES = new SubjectAlternativeNameExtension([
  { type: 'dns', value: 'localhost' },
  { type: 'dns', value: SERVICE },
  { type: 'ip', value: '127.0.0.1' },
  { type: 'ip', value: '::1' },
])

export async function makeCertificates(now = Date.now()): Promise<DevelopmentCertificates> {
  const caKeys = await newKeys()
  const ca = await makeAuthority(caKeys, now)
  const keys = await newKeys()
  const cert = await makeServing(ca, caKeys, keys, now)
  return {
    ca: ca.toString('pem'),
    caKey: await privateKeyPem(caKeys.privateKey),
    cert: cert.toString('pem'),
    key: await privateKeyPem(keys.privateKey),
  }
}

/** Writes tls.crt, tls.key, ca.crt and ca.key; keys for their owner only. */
export async function writeCertificates(
  folder: string,
  { ca, caKey, cert, key }: DevelopmentCertificates,
): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'ca.crt'), ca)
  writeFileSync(join(folder, 'ca.key'), caKey, { mode: 0o600 })
  writeFileSync(join(folder, 'tls.crt'), cert)
  writeFileSync(join(folder, 'tls.key'), key, { mode: 0o600 })
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
}

async function makeAuthority(keys: webcrypto.CryptoKeyPair, now: number): Promise<X509Certificate> {
  return X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: 'CN=credential-injector development CA',
    notBefore: new Date(now),
    notAfter: new Date(now + 10 * YEAR_MS),
    signingAlgorithm: KEY_ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
}

async function makeServing(
  ca: X509Certificate,
  caKeys: webcrypto.CryptoKeyPair,
  keys: webcrypto.CryptoKeyPair,
  now: number,
): Promise<X509Certificate> {
  return X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: `CN=${SERVICE}`,
    issuer: ca.subject,
    notBefore: new Date(now),
    notAfter: new Date(now + SERVING_MS),
    signingAlgorithm: KEY_ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    extensions: [
      NAMES,
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  })
}

if (import.meta.main) {
  const folder = process.argv[2] ?? import.meta.dirname
  await writeCertificates(folder, await makeCertificates())
  process.stdout.write(
    `Made ca.crt, ca.key, tls.crt and tls.key in ${folder}. For this machine only: anyone with ca.key can pass for any site.\n`,
  )
}
