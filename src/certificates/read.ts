/*
 * What stands in PEM texts, read with Node's own parser: it is there anyway, where the library that makes certificates costs
 * memory from its import on.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'

/**
 * Certificates are valid from so long before they are made: clocks of nodes differ, and a certificate "of the future" is
 * refused by whoever is behind.
 */
export const BACKDATED_MS = 5 * 60 * 1000

/** One certificate, as plain data. Times in milliseconds since 1970. */
export interface Certificate {
  readonly pem: string
  /** SHA-256 over the whole certificate: what it is known by. */
  readonly fingerprint: string
  readonly serial: string
  readonly issuedAt: number
  readonly notAfter: number
  /** True if it may sign others. */
  readonly isAuthority: boolean
  readonly dnsNames: readonly string[]
}

/** Every certificate in the text, once, in order. What is no certificate is skipped. */
export function certificatesIn(text: string): Certificate[] {
  const found = new Map<string, Certificate>()
  for (const [block] of text.matchAll(PEM_CERTIFICATE)) {
    const certificate = parsed(block)
    if (certificate) found.set(certificate.fingerprint, certificate)
  }
  return [...found.values()]
}

/** True if the authority's key has signed the certificate. Both have been parsed before. */
export function isSignedBy(certificate: Certificate, authority: Certificate): boolean {
  const issuer = new X509Certificate(authority.pem)
  const issued = new X509Certificate(certificate.pem)
  return issued.checkIssued(issuer) && issued.verify(issuer.publicKey)
}

/** True if `key` is a private key in PEM form and the certificate's own. */
export function isKeyOf(key: string, certificate: Certificate): boolean {
  try {
    return new X509Certificate(certificate.pem).checkPrivateKey(createPrivateKey(key))
  } catch {
    return false
  }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

function parsed(block: string): Certificate | undefined {
  try {
    const certificate = new X509Certificate(block)
    return {
      pem: certificate.toString(),
      fingerprint: certificate.fingerprint256,
      serial: certificate.serialNumber,
      issuedAt: Date.parse(certificate.validFrom) + BACKDATED_MS,
      notAfter: Date.parse(certificate.validTo),
      isAuthority: certificate.ca,
      dnsNames: dnsNamesOf(certificate.subjectAltName),
    }
  } catch {
    return undefined
  }
}

function dnsNamesOf(alternativeNames = ''): string[] {
  return alternativeNames
    .split(', ')
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice('DNS:'.length))
}
