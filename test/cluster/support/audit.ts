import { readFileSync } from 'node:fs'
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

interface Secret {
  readonly metadata: { readonly namespace: string; readonly name: string }
  readonly data?: Readonly<Record<string, string>>
}

function formsOf(base64: string): string[] {
  const text = Buffer.from(base64, 'base64').toString('utf8')
  if (text.length < SHORTEST) return []
  return [base64, JSON.stringify(text).slice(1, -1)]
}
