/*
 * How certificates are made: ECDSA P-256 throughout, PEM in and out. Whoever makes some (the webhook on a laptop, the
 * controller in a cluster, `certs/make.ts`) makes them here.
 */
// The library is built on decorators and asks for this at its own import.
import 'reflect-metadata'
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { BACKDATED_MS } from './read.ts'

/** ECDSA P-256: what every API server takes, and an order of magnitude cheaper in a handshake than RSA. */
export const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** A certificate and its private key (PKCS #8), as PEM texts. */
export interface PemPair {
  readonly cert: string
  readonly key: string
}

export interface AlternativeName {
  readonly type: 'dns' | 'ip'
  readonly value: string
}

/** When it is made, and for how long it is good; both in milliseconds. */
interface Lifetime {
  readonly now: number
  readonly validity: number
}

export interface AuthorityRequest extends Lifetime {
  /** The beginning of its name; the serial number follows, so that no two authorities are called the same. */
  readonly name: string
}

export interface ServingRequest extends Lifetime {
  readonly name: string
  readonly authority: PemPair
  readonly names: readonly AlternativeName[]
}

/** An authority that may sign certificates of servers and no further authorities. */
export async function issueAuthority({ name, now, validity }: AuthorityRequest): Promise<PemPair> {
  const keys = await newKeys()
  const serialNumber = randomSerial()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber,
    // Verifiers look an authority up by its name first: during a rotation two of them are trusted.
    name: `CN=${name} ${serialNumber.slice(0, 8)}`,
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + validity),
    signingAlgorithm: KEY_ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { cert: pem(certificate), key: await privateKeyPem(keys.privateKey) }
}

/** A server's certificate, signed by the authority. It ends with its authority, if that is earlier than `validity` says. */
export async function issueServing(request: ServingRequest): Promise<PemPair> {
  const authority = new X509Certificate(request.authority.cert)
  const keys = await newKeys()
  const ends = Math.min(request.now + request.validity, authority.notAfter.getTime())
  const certificate = await X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: `CN=${request.name}`,
    issuer: authority.subject,
    notBefore: new Date(request.now - BACKDATED_MS),
    notAfter: new Date(ends),
    signingAlgorithm: KEY_ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: await signingKey(request.authority.key),
    extensions: [
      new SubjectAlternativeNameExtension([...request.names]),
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await AuthorityKeyIdentifierExtension.create(authority),
    ],
  })
  return { cert: pem(certificate), key: await privateKeyPem(keys.privateKey) }
}

export function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
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

function signingKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' })
  return webcrypto.subtle.importKey('pkcs8', der, KEY_ALGORITHM, false, ['sign'])
}

/** With a line end, so that texts can be put one after the other. */
function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem').trimEnd()}\n`
}
