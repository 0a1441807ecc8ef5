import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createAnnouncer } from '../../src/controller/announcer.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('tells at once, then at most once in each interval, and never loses the last', () => {
  const told: string[] = []
  const { announce, stop } = createAnnouncer((key) => told.push(key), 1_000)
  announce('a')
  announce('a')
  announce('b')
  expect(told).toEqual(['a', 'b'])
  vi.advanceTimersByTime(1_000)
  expect(told).toEqual(['a', 'b', 'a'])
  announce('a')
  vi.advanceTimersByTime(999)
  expect(told).toEqual(['a', 'b', 'a'])
  vi.advanceTimersByTime(1)
  expect(told).toEqual(['a', 'b', 'a', 'a'])
  vi.advanceTimersByTime(5_000)
  expect(told).toHaveLength(4)
  announce('a')
  expect(told).toHaveLength(5)
  announce('a')
  stop()
  vi.advanceTimersByTime(5_000)
  expect(told).toHaveLength(5)
})
