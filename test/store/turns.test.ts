import { expect, test } from 'vitest'
import { createTurns } from '../../src/store/turns.ts'

const LIMITS = { active: 1, waiting: 100, waitingOfOne: 10 }

test('who wants much is only in his own way', async () => {
  const turns = createTurns(LIMITS)
  const order: string[] = []
  const use = async (from: string) => {
    const done = await turns.take(from)
    order.push(from)
    done?.()
  }
  const end = await turns.take('a')
  const all = ['a', 'a', 'a', 'b', 'b', 'c'].map(use)
  end?.()
  await Promise.all(all)
  expect(order).toEqual(['a', 'b', 'c', 'a', 'b', 'a'])
})

test('only so many have theirs at a time, and only so many wait, of one and of all', async () => {
  const turns = createTurns({ active: 2, waiting: 5, waitingOfOne: 3 })
  const [first, second] = [await turns.take('a'), await turns.take('a')]
  const waiting = [turns.take('a'), turns.take('a'), turns.take('a')]
  expect(turns.take('a')).toBeUndefined()
  waiting.push(turns.take('b'), turns.take('b'))
  expect(turns.take('b')).toBeUndefined()
  expect(turns.take('c')).toBeUndefined()
  first?.()
  second?.()
  await Promise.all(waiting.map(async (turn) => (await turn)?.()))
  // All is given back.
  const again = [turns.take('c'), turns.take('c')]
  for (const turn of again) expect(await turn).toBeDefined()
})
