import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createTurns } from '../../../src/controller/rotation/turns.ts'

const namespaceOf = (key: string) => key.split('/')[0] as string

/** Those that are called ask at once, as long as they have not begun. */
function createLine(atOnce: number, onePerNamespace = false) {
  const begun: string[] = []
  const asking: string[] = []
  const turns = createTurns({ atOnce, onePerNamespace, onTurn: (key) => void asking.push(key) })
  const ask = (key: string) => {
    if (!turns.has(key) && turns.take(key, namespaceOf(key))) begun.push(key)
  }
  return {
    turns,
    begun,
    ask(...keys: string[]) {
      asking.push(...keys)
      for (let key = asking.shift(); key !== undefined; key = asking.shift()) ask(key)
    },
    end(key: string) {
      turns.end(key)
      this.ask()
    },
    running: () => begun.filter((key) => turns.has(key)),
  }
}

const many = (namespace: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${namespace}/${index}`)

test('a namespace with very many lets others go first when one of its own has ended', () => {
  const line = createLine(10)
  line.ask(...many('evil', 500), 'good/0')
  expect(line.running()).toEqual(many('evil', 10))
  line.end('evil/0')
  expect(line.begun.at(-1)).toBe('good/0')
  line.end('good/0')
  expect(line.begun.at(-1)).toBe('evil/10')
})

test('one at a time, of those that wait one namespace after another', () => {
  const line = createLine(1)
  line.ask(...many('a', 3), ...many('b', 2))
  for (let step = 0; step < 4; step++) line.end(line.begun.at(-1) as string)
  expect(line.begun).toEqual(['a/0', 'a/1', 'b/0', 'a/2', 'b/1'])
})

test('who comes when there is room does not overtake those that have been called', () => {
  const calls: string[] = []
  const turns = createTurns({ atOnce: 1, onePerNamespace: false, onTurn: (key) => void calls.push(key) })
  expect([turns.take('a/0', 'a'), turns.take('b/0', 'b')]).toEqual([true, false])
  turns.end('a/0')
  expect(calls).toEqual(['b/0'])
  expect([turns.take('a/1', 'a'), turns.take('b/0', 'b')]).toEqual([false, true])
})

test('one that was called and is not asked for any more gives its turn to the next', () => {
  const calls: string[] = []
  const turns = createTurns({ atOnce: 1, onePerNamespace: false, onTurn: (key) => void calls.push(key) })
  for (const key of ['a/0', 'b/0', 'c/0']) turns.take(key, namespaceOf(key))
  turns.end('a/0')
  turns.end('b/0')
  expect(calls).toEqual(['b/0', 'c/0'])
})

test('whatever happens: never too many, and none is forgotten', () => {
  const key = fc.record({ namespace: fc.constantFrom('a', 'b', 'c'), name: fc.integer({ min: 0, max: 5 }) })
  const step = fc.tuple(fc.constantFrom('ask', 'ask', 'end', 'found'), key)
  fc.assert(
    fc.property(fc.array(step), fc.integer({ min: 1, max: 4 }), fc.boolean(), (steps, atOnce, onePer) => {
      const line = createLine(atOnce, onePer)
      const found = new Set<string>()
      for (const [what, { namespace, name }] of steps) {
        const it = `${namespace}/${name}`
        if (what === 'ask') line.ask(it)
        else if (what === 'end') line.end(it)
        else {
          line.turns.found(it, namespace)
          found.add(it)
          line.ask()
        }
        const running = new Set(line.running().filter((one) => !found.has(one)))
        const namespaces = new Set([...running].map(namespaceOf))
        expect(running.size).toBeLessThanOrEqual(onePer ? Math.min(atOnce, namespaces.size) : atOnce)
      }
      endAll(line, found)
      expect([line.turns.underWay(), line.turns.waiting()]).toEqual([0, 0])
    }),
  )
})

function endAll(line: ReturnType<typeof createLine>, found: Iterable<string>): void {
  const { turns } = line
  for (let round = 0; round < 100 && turns.underWay() + turns.waiting() > 0; round++)
    for (const one of new Set([...line.begun, ...found])) if (turns.has(one)) line.end(one)
}
