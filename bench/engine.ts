/** The engine alone, on a parsed review: no server and no JSON. */

import { inject } from '../src/inject/index.ts'
import { openFolder } from '../src/store/folder.ts'
import { NAMESPACE } from './reviews.ts'

const CALLS = 20_000
const NO_NAMESPACES: ReadonlySet<string> = new Set()

/** Median microseconds of `inject` for the pod of this review, with the catalogue of this folder. */
export function medianOfEngine(reviewText: string, catalog: string): number {
  const { store } = openFolder(catalog, { watch: false })
  const pod = JSON.parse(reviewText).request.object
  const now = Date.now()
  const call = () => inject({ pod, view: store.view(NAMESPACE), excludedNamespaces: NO_NAMESPACES, now })
  const outcome = call()
  if (outcome.kind !== 'Injected') throw new Error(`The pod was to be injected, and was ${outcome.kind}.`)

  const durations = new Float64Array(CALLS)
  for (let index = 0; index < CALLS; index++) {
    const started = performance.now()
    call()
    durations[index] = (performance.now() - started) * 1000
  }
  durations.sort()
  return durations[CALLS / 2] as number
}
