// The library is built on decorators and asks for this at its own import.
import 'reflect-metadata'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { KEY_ALGORITHM, newKeys, privateKeyPem, randomSerial } from '../certificates/issue.ts'
import type { CertificatePair } from './tls.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** Names of this machine for itself. */
const LOCAL_NAMES = new SubjectAlternativeNameExtension([
  { type: 'dns', value: 'localhost' },
  { type: 'ip', value: '127.0.0.1' },
  { type: 'ip', value: '::1' },
])

/** A serving certificate for this machine, valid for a day. Nobody trusts it unless told to. */
export async function selfSigned(now = Date.now()): Promise<CertificatePair> {
  const keys = await newKeys()
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
