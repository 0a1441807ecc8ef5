import { describe, expect, test } from 'vitest'
import { denialMessage, presentWarnings } from '../../src/inject/present.ts'

const problem = (message: string) => ({ reason: 'EnvConflict', field: 'spec', message }) as const
const warning = (message: string) => ({ reason: 'WorkloadOverrides', message }) as const

describe('warnings for the API server', () => {
  test('carry their reason', () => {
    expect(presentWarnings([warning('A stays')])).toEqual(['WorkloadOverrides: A stays'])
  })

  test('are cut at 120 characters, not bytes, and never inside a character', () => {
    const [text] = presentWarnings([warning('漢😀'.repeat(100))])
    expect([...(text as string)]).toHaveLength(120)
    expect(text).toMatch(/…$/)
    expect((text as string).isWellFormed()).toBe(true)
  })

  test('stay within 4096 characters in all, with a count of the rest', () => {
    const texts = presentWarnings(Array.from({ length: 100 }, (_, i) => warning(`${i} ${'x'.repeat(90)}`)))
    expect(texts.reduce((sum, text) => sum + text.length, 0)).toBeLessThanOrEqual(4096)
    expect(texts.at(-1)).toBe(`${100 - (texts.length - 1)} more warnings are left out`)
  })
})

describe('the message of a denial', () => {
  test('is the sentence where one thing is wrong', () => {
    expect(denialMessage([problem('A is given twice')])).toBe('EnvConflict: A is given twice')
  })

  test('lists all where several are', () => {
    expect(denialMessage([problem('A'), problem('B')])).toBe(
      '2 problems with the credentials of this pod:\n(1) EnvConflict: A\n(2) EnvConflict: B',
    )
  })

  test.each([1, 2, 500])('stays under 8 KiB with %i problems, and says how many are left out', (count) => {
    const message = denialMessage(
      Array.from({ length: count }, () => problem('ü'.repeat(6000 / Math.min(count, 3)))),
    )
    expect(Buffer.byteLength(message)).toBeLessThan(8192)
    const shown = message.match(/^\(\d+\)/gm)?.length ?? 1
    if (shown < count) expect(message).toContain(`… and ${count - shown} more`)
  })

  test('one overlong sentence is cut', () => {
    const message = denialMessage([problem('漢'.repeat(10_000))])
    expect(Buffer.byteLength(message)).toBeLessThan(8192)
    expect(message).toMatch(/…$/)
  })
})
