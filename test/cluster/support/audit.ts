import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import type { Cluster } from '../kit/cluster.ts'

/** Shorter ones could be part of anything. */
const SHORTEST = 8

/**
 * Rejects if a value of a Secret that the cluster holds is in its audit log, which has every pod whole, as it was asked for, as
 * it was patched and as it was stored; as text or in base64. For the end of a test run, when all has happened.
 */
export async function expectNoSecretInAuditLog({ client, auditLog }: Cluster): Promise<void> {
  const { items } = await client.get<{ items: Secret[] }>('/api/v1/secrets')
  const log = readFileSync(auditLog, 'utf8')
  const found = items.flatMap(({ metadata, data = {} }) =>
    Object.entries(data)
      .filter(([, base64]) => formsOf(base64).some((form) => log.includes(form)))
      .map(([key]) => `${metadata.namespace}/${metadata.name} ${key}`),
  )
  if (found.length > 0) throw new Error(`Values of Secrets are in the audit log: ${found.join(', ')}`)
}

/** One request, as the API server wrote it down (audit.k8s.io/v1 Event, shortened). */
export interface AuditRecord {
  readonly auditID: string
  /** `ResponseStarted` is only there for watches. */
  readonly stage: 'ResponseStarted' | 'ResponseComplete' | 'Panic'
  readonly verb: string
  readonly user: { readonly username: string }
  readonly userAgent?: string
  readonly objectRef?: {
    readonly resource?: string
    readonly subresource?: string
    readonly namespace?: string
    readonly name?: string
  }
  readonly responseStatus?: { readonly code?: number }
  readonly annotations?: Readonly<Record<string, string>>
}

/** Where the audit log ends now: what happens from here on can be asked for later. */
export function auditPosition({ auditLog }: Pick<Cluster, 'auditLog'>): number {
  return statSync(auditLog).size
}

/** All requests since a position, in the order in which they were answered; of a watch its beginning and, when it is over, its end. */
export function auditRecords({ auditLog }: Pick<Cluster, 'auditLog'>, since = 0): AuditRecord[] {
  const lines = textFrom(auditLog, since).split('\n')
  // The last one may be in the middle of being written.
  return lines.filter((line) => line.endsWith('}')).map((line) => JSON.parse(line))
}

/**
 * How many requests a user has made since a position, by verb and resource as rules of RBAC name them: `patch credentials/status`,
 * `watch secrets`. The user of a service account is `system:serviceaccount:NAMESPACE:NAME`.
 */
export function callsBy(
  cluster: Pick<Cluster, 'auditLog'>,
  user: string,
  since = 0,
): Readonly<Record<string, number>> {
  const calls: Record<string, number> = {}
  const counted = new Set<string>()
  for (const { auditID, verb, user: asker, objectRef = {} } of auditRecords(cluster, since)) {
    if (asker.username !== user || counted.has(auditID)) continue
    // A watch has two records.
    counted.add(auditID)
    const { resource = '', subresource } = objectRef
    const name = `${verb} ${subresource ? `${resource}/${subresource}` : resource}`
    calls[name] = (calls[name] ?? 0) + 1
  }
  return calls
}

/** Of those calls, the ones that change something. */
export function writesIn(calls: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(calls).filter(([name]) => !/^(get|list|watch) /.test(name)))
}

function textFrom(file: string, start: number): string {
  const handle = openSync(file, 'r')
  try {
    const content = Buffer.alloc(statSync(file).size - start)
    const length = readSync(handle, content, 0, content.length, start)
    return content.toString('utf8', 0, length)
  } finally {
    closeSync(handle)
  }
}

interface Secret {
  readonly metadata: { readonly namespace: string; readonly name: string }
  readonly data?: Readonly<Record<string, string>>
}

function formsOf(base64: string): string[] {
  const text = Buffer.from(base64, 'base64').toString('utf8')
  if (text.length < SHORTEST) return []
  return [base64, JSON.stringify(text).slice(1, -1)]
}
