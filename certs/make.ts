/**
 * Makes certificates for development in this folder, or in the one that is named: a local authority (ca.crt, ca.key)
 * and a serving certificate of its (tls.crt, tls.key) for localhost and for the webhook's Service in a cluster.
 *
 *     node certs/make.ts
 *     npm start -- --catalog examples/catalog --tls-cert certs/tls.crt --tls-key certs/tls.key
 *     curl --cacert certs/ca.crt https://localhost:8443/healthz
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type AlternativeName, issueAuthority, issueServing } from '../src/certificates/issue.ts'

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

const SERVICE = 'credential-injector-webhook.credential-injector.svc'
const NAMES: readonly AlternativeName[] = [
  { type: 'dns', value: 'localhost' },
  { type: 'dns', value: SERVICE },
  { type: 'ip', value: '127.0.0.1' },
  { type: 'ip', value: '::1' },
]

export async function makeCertificates(now = Date.now()): Promise<DevelopmentCertificates> {
  const authority = await issueAuthority({
    name: 'credential-injector development CA',
    now,
    validity: 10 * YEAR_MS,
  })
  const { cert, key } = await issueServing({
    name: SERVICE,
    authority,
    names: NAMES,
    now,
    validity: SERVING_MS,
  })
  return { ca: authority.cert, caKey: authority.key, cert, key }
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

if (import.meta.main) {
  const folder = process.argv[2] ?? import.meta.dirname
  await writeCertificates(folder, await makeCertificates())
  process.stdout.write(
    `Made ca.crt, ca.key, tls.crt and tls.key in ${folder}. For this machine only: anyone with ca.key can pass for any site.\n`,
  )
}
