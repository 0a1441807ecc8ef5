/** The webhook in this process, over real TLS, with whatever parts a test wants to be different. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { excludedNamespaces } from '../../src/store/memory.ts'
import { buildWebhook, REVIEW_PATH, type WebhookParts } from '../../src/webhook/app.ts'
import { logTo } from '../../src/webhook/log.ts'
import { createMetrics, type Metrics } from '../../src/webhook/metrics.ts'
import { readPair } from '../../src/webhook/tls.ts'
import { type ApiServerClient, apiServerClient } from './client.ts'
import { testCertificates } from './server.ts'

export interface OpenWebhook {
  readonly url: string
  readonly ca: string
  readonly client: ApiServerClient
  readonly metrics: Metrics
  /** Its log so far, one object a line. */
  log(): Record<string, unknown>[]
  close(): Promise<void>
}

type Parts = Pick<WebhookParts['admission'], 'store' | 'reads'> & Partial<Omit<WebhookParts, 'admission'>>

export async function openWebhook({ store, reads, ...others }: Parts): Promise<OpenWebhook> {
  const { folder, ca } = await testCertificates()
  const lines: string[] = []
  const metrics = createMetrics()
  const webhook = buildWebhook({
    admission: { store, reads, excludedNamespaces: excludedNamespaces('credential-injector') },
    certificate: readPair({ certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') }),
    lifecycle: { phase: 'ready', lameDuck: 0 },
    metrics,
    log: logTo({ write: (line) => void lines.push(line) }, 'info'),
    ...others,
  })
  const url = (await webhook.listen({ host: '127.0.0.1', port: 0 })) + REVIEW_PATH
  const client = apiServerClient({ url, ca })
  return {
    url,
    ca,
    client,
    metrics,
    log: () => lines.map((line) => JSON.parse(line)),
    async close() {
      client.close()
      await webhook.close()
    },
  }
}

const EVENTUALLY_MS = 15_000

/** Waits until the check gives something true, and returns that. */
export async function eventually<T>(what: string, check: () => T | Promise<T>): Promise<NonNullable<T>> {
  const limit = performance.now() + EVENTUALLY_MS
  while (performance.now() < limit) {
    const result = await check()
    if (result) return result
    await sleep(20)
  }
  throw new Error(`It never came to this: ${what}`)
}
