import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { type FSWatcher, readFileSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import { createSecureContext, type SecureContextOptions, type Server } from 'node:tls'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

/** A serving certificate that has been checked: the key is its key, and it has not expired. PEM texts. */
export interface CertificatePair {
  readonly cert: string
  readonly key: string
  readonly expires: Date
}

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

/** The pair cannot be used; the message says what to do. */
export class CertificateError extends Error {}

/** What a server is created with, and given again when the pair changes. */
export function secureContext({ cert, key }: Pick<CertificatePair, 'cert' | 'key'>): SecureContextOptions {
  return {
    cert,
    key,
    // API servers of all supported Kubernetes versions speak TLS 1.3; 1.2 is for what stands in between.
    minVersion: 'TLSv1.2',
  }
}

/** Reads and checks a pair. Throws `CertificateError`. */
export function readPair(files: CertificateFiles, now = Date.now()): CertificatePair {
  return checkPair(files, readPem(files.certFile, 'certificate'), readPem(files.keyFile, 'private key'), now)
}

function checkPair(
  { certFile, keyFile }: CertificateFiles,
  cert: string,
  key: string,
  now: number,
): CertificatePair {
  const certificate = parseCertificate(certFile, cert)
  if (!certificate.checkPrivateKey(parseKey(keyFile, key))) {
    throw new CertificateError(
      `${keyFile} is not the private key of ${certFile}: give the two that were made together.`,
    )
  }
  const expires = new Date(certificate.validTo)
  if (expires.getTime() <= now) {
    throw new CertificateError(`The certificate ${certFile} expired at ${expires.toISOString()}: renew it.`)
  }
  checkChain(certFile, cert, key)
  return { cert, key, expires }
}

function readPem(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new CertificateError(`The ${what} ${file} cannot be read: ${reasonOf(error)}.`)
  }
}

function parseCertificate(file: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw new CertificateError(
      `${file} holds no certificate in PEM form: it should begin with -----BEGIN CERTIFICATE-----.`,
    )
  }
}

function parseKey(file: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    const encrypted = (error as NodeJS.ErrnoException).code === 'ERR_MISSING_PASSPHRASE'
    throw new CertificateError(
      encrypted
        ? `The private key ${file} is encrypted: give one without a passphrase.`
        : `${file} holds no private key in PEM form: it should begin with -----BEGIN PRIVATE KEY-----.`,
    )
  }
}

/** The certificates after the first one, and whatever else OpenSSL minds: better now than at the first connection. */
function checkChain(file: string, cert: string, key: string): void {
  try {
    createSecureContext(secureContext({ cert, key }))
  } catch (error) {
    throw new CertificateError(`The certificate chain in ${file} cannot be used: ${reasonOf(error)}.`)
  }
}

/** What the system says, without the path that the sentence has already. */
function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES') return 'this user may not read it'
  if (code === 'EISDIR') return 'it is a folder'
  return message
}

// ---- Reloading -------------------------------------------------------------------------------------------------------

/** Files are written one after the other: their changes are looked at when it has been quiet for so long. */
const SETTLE_MS = 100
/** File systems that tell nothing about changes (NFS, some container mounts) are looked at this often. */
const POLL_MS = 30_000

interface Reload {
  readonly files: CertificateFiles
  readonly current: CertificatePair
  readonly server: Pick<Server, 'setSecureContext'>
  readonly metrics: Metrics
  readonly log: Log
}

/**
 * Gives the server every new pair that appears in the files; connections that are open keep theirs. What cannot be used
 * changes nothing and is logged once. Returns the end of it.
 */
export function reloadOnChange({ files, current, server, metrics, log }: Reload): () => void {
  let inUse = { cert: current.cert, key: current.key }
  let lastProblem = ''
  let settling: NodeJS.Timeout | undefined

  const look = () => {
    try {
      const cert = readPem(files.certFile, 'certificate')
      const key = readPem(files.keyFile, 'private key')
      if (cert === inUse.cert && key === inUse.key) return
      const pair = checkPair(files, cert, key, Date.now())
      server.setSecureContext(secureContext(pair))
      inUse = pair
      lastProblem = ''
      metrics.certificateRead(true)
      metrics.certificateExpires(pair.expires)
      log.info({ expires: pair.expires.toISOString() }, 'the serving certificate has changed and is in use')
    } catch (error) {
      const problem = (error as Error).message
      if (problem === lastProblem) return
      lastProblem = problem
      metrics.certificateRead(false)
      log.error({ problem }, 'the changed serving certificate cannot be used; the old one stays')
    }
  }
  const lookSoon = () => {
    clearTimeout(settling)
    settling = setTimeout(look, SETTLE_MS)
  }

  const watchers = watchFolders(files, lookSoon, log)
  const poll = setInterval(look, POLL_MS).unref()
  return () => {
    clearTimeout(settling)
    clearInterval(poll)
    for (const watcher of watchers) watcher.close()
  }
}

/** Folders and not files: Kubernetes changes a mounted Secret by pointing a symbolic link beside it elsewhere. */
function watchFolders({ certFile, keyFile }: CertificateFiles, onChange: () => void, log: Log): FSWatcher[] {
  const folders = new Set([dirname(certFile), dirname(keyFile)])
  return [...folders].flatMap((folder) => {
    try {
      const watcher = watch(folder, { persistent: false }, onChange)
      watcher.on('error', onChange)
      return [watcher]
    } catch (error) {
      log.warn(
        { folder, problem: (error as Error).message },
        'the folder cannot be watched; it is looked at every 30 seconds',
      )
      return []
    }
  })
}
