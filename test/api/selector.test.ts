import { expect, test } from 'vitest'
import type { LabelSelector } from '../../src/api/schema.ts'
import { matchesSelector } from '../../src/api/selector.ts'

const LABELS = { team: 'ml', tier: '' }

function expression(
  key: string,
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist',
  values?: string[],
): LabelSelector {
  return { matchExpressions: [{ key, operator, values }] }
}

test.each<[string, LabelSelector, boolean]>([
  ['an empty selector selects everything', {}, true],
  ['empty parts select everything', { matchLabels: {}, matchExpressions: [] }, true],
  ['a label with the value', { matchLabels: { team: 'ml' } }, true],
  ['a label with another value', { matchLabels: { team: 'data' } }, false],
  ['a label that is absent', { matchLabels: { gpu: 'yes' } }, false],
  ['a label that is absent is not empty', { matchLabels: { gpu: '' } }, false],
  ['a label that is empty', { matchLabels: { tier: '' } }, true],
  ['all labels must be there', { matchLabels: { team: 'ml', gpu: 'yes' } }, false],
  ['In', expression('team', 'In', ['data', 'ml']), true],
  ['In, other value', expression('team', 'In', ['data']), false],
  ['In, absent', expression('gpu', 'In', ['yes']), false],
  ['NotIn', expression('team', 'NotIn', ['data']), true],
  ['NotIn, one of the values', expression('team', 'NotIn', ['data', 'ml']), false],
  ['NotIn also holds for an absent label', expression('gpu', 'NotIn', ['yes']), true],
  ['Exists', expression('tier', 'Exists'), true],
  ['Exists, absent', expression('gpu', 'Exists'), false],
  ['DoesNotExist', expression('gpu', 'DoesNotExist'), true],
  ['DoesNotExist, present though empty', expression('tier', 'DoesNotExist'), false],
  [
    'labels and expressions must both hold',
    { matchLabels: { team: 'ml' }, ...expression('gpu', 'Exists') },
    false,
  ],
  ['what every object inherits is no label', expression('constructor', 'Exists'), false],
])('%s', (_title, selector, expected) => {
  expect(matchesSelector(selector, LABELS)).toBe(expected)
})

test.each([undefined, null])('without labels (%s) only requirements of absence hold', (labels) => {
  expect(matchesSelector({}, labels)).toBe(true)
  expect(matchesSelector({ matchLabels: { team: 'ml' } }, labels)).toBe(false)
  expect(matchesSelector(expression('team', 'DoesNotExist'), labels)).toBe(true)
})
