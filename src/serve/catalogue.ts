import type { DirectReads, Store } from '../api/catalog.ts'
import type { CatalogCounts } from '../store/memory.ts'
import type { Log } from '../webhook/log.ts'
import type { Metrics } from '../webhook/metrics.ts'
import type { OwnerEvents } from '../webhook/owner-events.ts'

/** Where the process has its credentials from, a folder or a cluster, as far as the rest of it needs to know. */
export interface Catalogue {
  readonly store: Store
  /** Where the store may be behind. */
  readonly reads?: DirectReads
  /** Where refused pods have owners that can be told. */
  readonly ownerEvents?: OwnerEvents
  /** Resolves when everything is known for the first time. Never rejects. */
  readonly ready: Promise<void>
  /** What it is not ready for, as a sentence. */
  readonly waitingFor?: () => string
  /** `Catalogue examples/catalog`, or `Cluster https://10.96.0.1:443`. */
  readonly name: string
  /** What is on offer now. */
  status(): CatalogueStatus
}

export interface CatalogueStatus {
  readonly counts: CatalogCounts
  /** How many objects cannot be used. */
  readonly problems: number
}

/** What a catalogue needs of the process. */
export interface CatalogueParts {
  /** The injector's own namespace. */
  readonly namespace: string
  readonly log: Log
  readonly metrics: Metrics
}

export function measure(metrics: Metrics, status: () => CatalogueStatus): void {
  metrics.gauge('catalog_credentials', 'Credentials of namespaces and of the cluster on offer.', () => {
    const { credentials, clusterCredentials } = status().counts
    return credentials + clusterCredentials
  })
  metrics.gauge('catalog_policies', 'Policies in effect.', () => status().counts.policies)
  metrics.gauge(
    'catalog_problems',
    'Manifests of the catalogue that cannot be used.',
    () => status().problems,
  )
}
