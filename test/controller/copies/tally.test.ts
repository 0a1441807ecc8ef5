import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { CopyState } from '../../../src/controller/copies/metrics.ts'
import { createTally } from '../../../src/controller/copies/tally.ts'

const STATES: readonly CopyState[] = ['right', 'waiting', 'failed']

test('counts are those of a recount, whatever was set in whatever order', () => {
  const settings = fc.array(
    fc.tuple(
      fc.constantFrom('a', 'b'),
      fc.constantFrom('n1', 'n2', 'n3'),
      fc.constantFrom<CopyState | undefined>(...STATES, undefined),
    ),
  )
  fc.assert(
    fc.property(settings, (all) => {
      const tally = createTally()
      const model = new Map<string, CopyState>()
      for (const [credential, namespace, state] of all) {
        const place = `${credential}/${namespace}`
        const failure = state === 'failed' ? { reason: 'R', message: 'M' } : undefined
        expect(tally.set(credential, namespace, state, failure)).toBe(model.get(place) !== state)
        if (state) model.set(place, state)
        else model.delete(place)
      }
      for (const credential of ['a', 'b']) {
        const its = [...model].filter(([place]) => place.startsWith(credential))
        for (const state of STATES)
          expect(tally.count(credential, state)).toBe(its.filter(([, value]) => value === state).length)
        expect([...tally.namespaces(credential)].sort()).toEqual(its.map(([place]) => place.slice(2)).sort())
        const failing = its.filter(([, value]) => value === 'failed').map(([place]) => place.slice(2))
        expect(tally.failures(credential).map(({ namespace }) => namespace)).toEqual(failing.sort())
      }
      const total = Object.values(tally.total()).reduce((sum, count) => sum + count, 0)
      expect(total).toBe(model.size)
    }),
  )
})
