import { Gauge, type Registry } from 'prom-client'
import { PREFIX } from '../../process/metrics.ts'
import { placeOf } from '../watched/credentials.ts'
import type { UsageIndex } from './usage-index.ts'

/** So many credentials have series of their own; those of the rest are added up in one, so that labels stay few. */
export const MOST_SERIES = 1_000

/** How many pods use each credential, and how many of them are stale. Counted at each scrape. */
export function measureUsage(
  registers: Registry[],
  index: Pick<UsageIndex, 'used' | 'usageOf'>,
  most = MOST_SERIES,
): void {
  new Gauge({
    registers,
    name: `${PREFIX}controller_credential_pods`,
    help: `Pods that use a credential and have not ended, by credential and by who put it there: injector or hand. The first ${most} credentials; the rest as kind other.`,
    labelNames: ['kind', 'namespace', 'name', 'by'],
    collect() {
      this.reset()
      for (const { labels, usages } of groups(index, most)) {
        const byHand = sum(usages.map((usage) => usage.byHand))
        const pods = sum(usages.map((usage) => usage.pods))
        this.set({ ...labels, by: 'injector' }, pods - byHand)
        this.set({ ...labels, by: 'hand' }, byHand)
      }
    },
  })
  new Gauge({
    registers,
    name: `${PREFIX}controller_credential_stale_pods`,
    help: 'Pods that run with variables from before the last rotation of a credential, by credential. As controller_credential_pods.',
    labelNames: ['kind', 'namespace', 'name'],
    collect() {
      this.reset()
      for (const { labels, usages } of groups(index, most))
        this.set(labels, sum(usages.map(({ stale }) => stale.pods)))
    },
  })
  total(
    'controller_uses',
    'Pods that use credentials, added up over all credentials: a pod with two counts twice.',
    ({ pods }) => pods,
  )
  total(
    'controller_stale_uses',
    'Pods with variables from before a rotation, added up over all credentials.',
    ({ stale }) => stale.pods,
  )

  function total(name: string, help: string, of: (usage: ReturnType<UsageIndex['usageOf']>) => number): void {
    new Gauge({
      registers,
      name: `${PREFIX}${name}`,
      help,
      collect() {
        this.set(sum([...index.used()].map((key) => of(index.usageOf(key)))))
      },
    })
  }
}

interface Group {
  readonly labels: { readonly kind: string; readonly namespace: string; readonly name: string }
  readonly usages: readonly ReturnType<UsageIndex['usageOf']>[]
}

const OTHER = { kind: 'other', namespace: '', name: '' }

function groups(index: Pick<UsageIndex, 'used' | 'usageOf'>, most: number): Group[] {
  const keys = [...index.used()]
  const own = keys.slice(0, most).map((key) => ({ labels: labelsOf(key), usages: [index.usageOf(key)] }))
  const rest = keys.slice(most).map((key) => index.usageOf(key))
  return rest.length === 0 ? own : [...own, { labels: OTHER, usages: rest }]
}

function labelsOf(key: string): Group['labels'] {
  const { kind, place } = placeOf(key)
  const [name = '', namespace = ''] = place.split('/').reverse()
  return { kind, namespace, name }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
