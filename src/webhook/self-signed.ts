// The library is built on decorators and asks for this at its own import.
import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { CertificatePair } from './tls.ts'

/** ECDSA P-256: what every API server takes, and an order of magnitude cheaper in a handshake than RSA. */
export const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

const DAY_MS = 24 * 60 * 60 * 1000

/** Names of this machine for itself. */
const LOCAL_NAMES = new SubjectAlternativeNameExtension([
  { type: 'dns', value: 'localhost' },
  { type: 'ip', value: '127.0.0.1' },
  { type: 'ip', value: '::1' },
])

/** A serving certificate for this machine, valid for a day. Nobody trusts it unless told to. */
export async function selfSigned(now = Date.now()): Promise<CertificatePair> {
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const expires = new Date(now + DAY_MS)
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: 'CN=credential-injector',
    notBefore: new Date(now),
    notAfter: expires,
    signingAlgorithm: KEY_ALGORITHM,
    keys,
    extensions: [
      LOCAL_NAMES,
      new BasicConstraintsExtension(false, undefined, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    ],
  })
  return { cert: certificate.toString('pem'), key: await privateKeyPem(keys.privateKey), expires }
}

/** 16 random bytes; the first bit is 0, since serial numbers are positive. */
export function randomSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40
  return bytes.toString('hex')
}

/** PKCS #8. */
export async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`
}
