import { matchesSelector } from '../../api/selector.ts'
import type { CredentialStatus } from '../../api/status.ts'
import { excludedNamespaces } from '../../store/memory.ts'
import type { DutyParts, StatusSource } from '../duties.ts'
import { createRest } from '../rest.ts'
import { type CredentialObject, keyOf } from '../watched/credentials.ts'
import { factsOf, isNews, type UsageFacts } from './facts.ts'
import { measureUsage } from './metrics.ts'
import { newsOf } from './news.ts'
import { createUsageIndex, type Usage, type UsageIndex } from './usage-index.ts'

/** The status of one credential is written this often at most while pods come and go in crowds. */
const WRITE_EVERY_MS = 2_000

interface UsageParts extends Pick<DutyParts, 'watched' | 'events' | 'isLeading' | 'ownNamespace' | 'now'> {
  readonly metrics: Pick<DutyParts['metrics'], 'registers'>
  /** There is news for the status of a credential. */
  readonly onNews: (credentialKey: string) => void
}

/**
 * Who uses which credential, kept up as the watches bring it, by whoever leads and by those who wait: it is complete before any of
 * them writes a status.
 */
export function watchUsage(parts: UsageParts): StatusSource & Pick<UsageIndex, 'missedBy'> {
  const { watched, events, isLeading, now = Date.now } = parts
  const excluded = excludedNamespaces(parts.ownNamespace)
  const rest = createRest<Usage>(parts.onNews, WRITE_EVERY_MS)
  const index = createUsageIndex({
    workloadOf: watched.workloadOf,
    copiedAt: watched.copiedAt,
    isOffered,
    onChange: rest.changed,
  })
  /** What the statuses said last of stale pods. */
  const said = new Map<string, CredentialStatus['stale']>()

  for (const credential of watched.credentials()) learn(keyOf(credential), credential)
  for (const pod of watched.pods()) index.putPod(pod)
  watched.subscribe({
    credential: (key) => learn(key, watched.credential(key)),
    pod(now, before) {
      if (now) index.putPod(now)
      else if (before) index.removePod(before)
    },
    owner: index.ownerChanged,
    namespace: index.namespaceChanged,
    secret: index.secretChanged,
  })
  measureUsage(parts.metrics.registers, index)

  return {
    factsOf: factsFor,
    missedBy: index.missedBy,
  }

  function factsFor(credential: CredentialObject): Partial<UsageFacts> {
    const key = keyOf(credential)
    const usage = rest.shown(key) ?? index.usageOf(key)
    const facts = factsOf(usage, credential.status, now())
    if (isNews(facts, credential.status)) rest.show(key, usage)
    return facts
  }

  function learn(key: string, credential: CredentialObject | undefined): void {
    if (credential === undefined) {
      index.removeCredential(key)
      said.delete(key)
      return
    }
    index.putCredential(credential)
    const stale = credential.status?.stale
    if (isLeading() && stale !== undefined)
      for (const { about, event } of newsOf(credential, said.get(key), index.usageOf(key)))
        events.send(about, event)
    if (stale === undefined) said.delete(key)
    else said.set(key, stale)
  }

  /** Elsewhere a Secret with the name of a copy is somebody's own, whoever refers to it. */
  function isOffered({ spec }: CredentialObject, name: string): boolean {
    const selector = 'namespaceSelector' in spec ? spec.namespaceSelector : undefined
    const namespace = watched.namespace(name)
    if (selector === undefined || namespace === undefined || excluded.has(name)) return false
    return matchesSelector(selector, { ...namespace.labels, 'kubernetes.io/metadata.name': name })
  }
}
