import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { LabelSelector } from '../../../src/api/schema.ts'
import { matchesSelector } from '../../../src/api/selector.ts'
import { commonLabels } from '../../../src/controller/policies/common-labels.ts'

test.each<[string, LabelSelector[], Record<string, string> | undefined]>([
  ['nothing is asked for', [{}, {}], {}],
  ['the same is asked for', [{ matchLabels: { a: '1' } }, { matchLabels: { a: '1' } }], { a: '1' }],
  ['different labels', [{ matchLabels: { a: '1' } }, { matchLabels: { b: '2' } }], { a: '1', b: '2' }],
  ['two values of one label', [{ matchLabels: { a: '1' } }, { matchLabels: { a: '2' } }], undefined],
  [
    'the one value that two lists have in common',
    [
      { matchExpressions: [{ key: 'a', operator: 'In', values: ['1', '2'] }] },
      { matchExpressions: [{ key: 'a', operator: 'In', values: ['3', '2'] }] },
    ],
    { a: '2' },
  ],
  [
    'present and absent',
    [
      { matchExpressions: [{ key: 'a', operator: 'Exists' }] },
      { matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] },
    ],
    undefined,
  ],
  [
    'NotIn holds where the label is absent',
    [{ matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['1'] }] }],
    {},
  ],
  [
    'a value other than those that are excluded',
    [
      { matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['any-0'] }] },
      { matchExpressions: [{ key: 'a', operator: 'Exists' }] },
    ],
    { a: 'any-1' },
  ],
])('%s', (_, selectors, labels) => {
  expect(commonLabels(selectors)).toEqual(labels)
})

const KEYS = ['a', 'b'] as const
/** What a label may be in the search: one that no selector names, and none at all, among them. */
const VALUES = ['1', '2', '3', 'any-0', undefined] as const

const values = fc.subarray(['1', '2', 'any-0'], { minLength: 1 })
const key = fc.constantFrom(...KEYS)
const requirement = fc.oneof(
  fc.record({ key, operator: fc.constantFrom('In' as const, 'NotIn' as const), values }),
  fc.record({ key, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
)
const selector: fc.Arbitrary<LabelSelector> = fc.record(
  {
    matchLabels: fc.dictionary(key, fc.constantFrom('1', '2'), { maxKeys: 2 }),
    matchExpressions: fc.array(requirement, { maxLength: 3 }),
  },
  { requiredKeys: [] },
)

function searched(selectors: readonly LabelSelector[]): boolean {
  return VALUES.some((a) =>
    VALUES.some((b) => {
      const labels = { ...(a !== undefined && { a }), ...(b !== undefined && { b }) }
      return selectors.every((one) => matchesSelector(one, labels))
    }),
  )
}

test('finds labels exactly where a search of all has some, and they satisfy all selectors', () => {
  let none = 0
  fc.assert(
    fc.property(fc.array(selector, { minLength: 1, maxLength: 3 }), (selectors) => {
      const labels = commonLabels(selectors)
      if (labels === undefined) none++
      else for (const one of selectors) expect(matchesSelector(one, labels)).toBe(true)
      expect(labels !== undefined).toBe(searched(selectors))
    }),
    { numRuns: 2000 },
  )
  // Both cases were met.
  expect(none).toBeGreaterThan(100)
  expect(none).toBeLessThan(1900)
})
