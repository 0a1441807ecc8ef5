import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createRest, type Rest } from '../../src/controller/rest.ts'

let told: string[]
let rest: Rest<number>
/** Whoever is told looks at once, and shows what there is. */
let value: number

beforeEach(() => {
  vi.useFakeTimers()
  told = []
  value = 0
  rest = createRest<number>((key) => {
    told.push(key)
    rest.show(key, value)
  }, 1_000)
})
afterEach(() => void vi.useRealTimers())

const change = (now: number, key = 'a') => {
  value = now
  rest.changed(key)
}

test('a change after a while without any is told at once', () => {
  change(1)
  expect([told, rest.shown('a')]).toEqual([['a'], 1])
  vi.advanceTimersByTime(1_000)
  expect(rest.shown('a')).toBeUndefined()
  change(2)
  expect(told).toEqual(['a', 'a'])
})

test('a crowd of changes is told once in each interval, and the last of them is not lost', () => {
  for (let n = 1; n <= 100; n++) {
    change(n)
    vi.advanceTimersByTime(50)
  }
  expect(told).toHaveLength(6)
  expect(rest.shown('a')).toBe(100)
})

test('while it rests it is shown as it was, whoever asks', () => {
  change(1)
  change(2)
  expect(rest.shown('a')).toBe(1)
  rest.show('a', 3)
  expect(rest.shown('a')).toBe(1)
  vi.advanceTimersByTime(1_000)
  expect([told, rest.shown('a')]).toEqual([['a', 'a'], 2])
})

test('keys rest by themselves', () => {
  change(1)
  change(2, 'b')
  expect(told).toEqual(['a', 'b'])
})

test('nothing is told when nothing has changed', () => {
  change(1)
  vi.advanceTimersByTime(10_000)
  expect(told).toEqual(['a'])
})
