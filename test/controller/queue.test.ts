import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createQueue, type WorkQueue } from '../../src/controller/queue.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(async () => {
  vi.useRealTimers()
})

/** Work that ends when the test says so. */
function manualWork() {
  const started: string[] = []
  const ends = new Map<string, { succeed(): void; fail(): void }>()
  return {
    started,
    work: (key: string) => {
      started.push(key)
      return new Promise<void>((resolve, reject) =>
        ends.set(key, { succeed: resolve, fail: () => reject(new Error(key)) }),
      )
    },
    async end(key: string, how: 'succeed' | 'fail' = 'succeed') {
      ends.get(key)?.[how]()
      await vi.advanceTimersByTimeAsync(0)
    },
  }
}

const clock = { now: () => 0, random: () => 0, sleep: async () => {} }

function queueOf(
  manual: ReturnType<typeof manualWork>,
  options: Partial<Parameters<typeof createQueue>[0]> = {},
): WorkQueue {
  return createQueue({ work: manual.work, clock, ...options })
}

test('a key that waits or is worked on is worked on once more, however often it is added', async () => {
  const manual = manualWork()
  const queue = queueOf(manual, { concurrency: 1 })
  queue.add('a')
  for (let index = 0; index < 5; index++) queue.add('b')
  for (let index = 0; index < 5; index++) queue.add('a')
  expect(manual.started).toEqual(['a'])
  await manual.end('a')
  await manual.end('b')
  await manual.end('a')
  expect(manual.started).toEqual(['a', 'b', 'a'])
  expect(queue.depth()).toBe(0)
  await queue.idle()
})

test('what comes first is worked on before all that only wait, and once', async () => {
  const manual = manualWork()
  const queue = queueOf(manual, { concurrency: 1 })
  for (const key of ['a', 'b', 'c', 'd']) queue.add(key)
  queue.addFirst('d')
  queue.addFirst('e')
  queue.add('d')
  expect(queue.depth()).toBe(5)
  for (const key of ['a', 'd', 'e', 'b', 'c']) await manual.end(key)
  expect(manual.started).toEqual(['a', 'd', 'e', 'b', 'c'])
  expect(queue.depth()).toBe(0)
  await queue.idle()
})

test('no more are worked on at a time than was asked for, and one key never twice', async () => {
  const manual = manualWork()
  const queue = queueOf(manual, { concurrency: 2 })
  for (const key of ['a', 'b', 'c', 'a', 'd']) queue.add(key)
  expect(manual.started).toEqual(['a', 'b'])
  expect(queue.depth()).toBe(4)
  await manual.end('b')
  expect(manual.started).toEqual(['a', 'b', 'c'])
})

describe('what fails', () => {
  test('is tried again after waits that grow up to a minute', async () => {
    const manual = manualWork()
    const waits: number[] = []
    const queue = queueOf(manual, { onFailure: (_key, _error, retryIn) => waits.push(retryIn) })
    queue.add('a')
    for (let index = 0; index < 14; index++) {
      await manual.end('a', 'fail')
      await vi.advanceTimersByTimeAsync(waits.at(-1) as number)
      expect(manual.started).toHaveLength(index + 2)
    }
    expect(waits.slice(0, 3)).toEqual([50, 100, 200])
    expect(waits.at(-1)).toBe(30_000)
    await manual.end('a')
    queue.add('a')
    await manual.end('a', 'fail')
    expect(waits.at(-1)).toBe(50)
  })

  test('is looked at earlier if it changes', async () => {
    const manual = manualWork()
    const queue = queueOf(manual)
    queue.add('a')
    await manual.end('a', 'fail')
    queue.add('a')
    expect(manual.started).toEqual(['a', 'a'])
    await manual.end('a')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(manual.started).toEqual(['a', 'a'])
  })

  test('does not hold up others', async () => {
    const manual = manualWork()
    const queue = queueOf(manual, { concurrency: 1 })
    queue.add('a')
    queue.add('b')
    await manual.end('a', 'fail')
    expect(manual.started).toEqual(['a', 'b'])
  })
})

describe('a time to look again', () => {
  test('is kept, also when it is further away than timers reach', async () => {
    const manual = manualWork()
    const queue = queueOf(manual, { now: () => Date.now() })
    const year = 365 * 24 * 3_600_000
    queue.addAt('a', Date.now() + year)
    await vi.advanceTimersByTimeAsync(year - 1)
    expect(manual.started).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(manual.started).toEqual(['a'])
  })

  test('is replaced by another, or taken back', async () => {
    const manual = manualWork()
    const queue = queueOf(manual, { now: () => Date.now() })
    queue.addAt('a', Date.now() + 1_000)
    queue.addAt('a', Date.now() + 2_000)
    queue.addAt('b', Date.now() + 1_000)
    queue.addAt('b', undefined)
    await vi.advanceTimersByTimeAsync(1_999)
    expect(manual.started).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(manual.started).toEqual(['a'])
  })
})

test('stopped, it ends what is under way and begins nothing', async () => {
  const manual = manualWork()
  const queue = queueOf(manual, { concurrency: 1, now: () => Date.now() })
  for (const key of ['a', 'b', 'a']) queue.add(key)
  queue.addAt('c', Date.now() + 1_000)
  let isStopped = false
  const stopped = queue.stop().then(() => {
    isStopped = true
  })
  queue.add('d')
  await vi.advanceTimersByTimeAsync(0)
  expect(isStopped).toBe(false)
  await manual.end('a', 'fail')
  await stopped
  await vi.advanceTimersByTimeAsync(120_000)
  expect(manual.started).toEqual(['a'])
})
