import { expect, test } from 'vitest'
import { createMending } from '../../../src/controller/policies/mending.ts'

const HOUR = 3_600_000

function open() {
  const world = { time: 0, told: 0 }
  const mending = createMending({ pace: 100, now: () => world.time, onStrife: () => world.told++ })
  /** As often as it may, for so long. */
  const fight = (duration: number): number => {
    const end = world.time + duration
    let writes = 0
    for (; world.time < end; world.time += mending.pace()) {
      mending.mended()
      writes++
    }
    return writes
  }
  return { world, mending, fight }
}

test('what somebody has tried by hand is set right at once', () => {
  const { world, mending } = open()
  for (let round = 0; round < 3; round++) mending.mended()
  expect(mending.pace()).toBe(100)
  expect(world.told).toBe(0)
})

test('against another keeper it slows down to one write a minute, which is said once', () => {
  const { world, mending, fight } = open()
  expect(fight(HOUR)).toBeLessThan(80)
  expect(mending.pace()).toBe(60_000)
  expect(world.told).toBe(1)
})

test('and after a time of peace everything is as at first', () => {
  const { world, mending, fight } = open()
  fight(HOUR)
  world.time += HOUR
  mending.mended()
  expect(mending.pace()).toBe(100)
  fight(HOUR)
  expect(world.told).toBe(2)
})
