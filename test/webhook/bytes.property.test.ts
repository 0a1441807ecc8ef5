/** Any bytes give a well-formed answer, never a crash or a hang, and good reviews are answered as ever. */
import { readdirSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createMemoryStore } from '../../src/store/memory.ts'
import { openSocket } from '../support/socket.ts'
import { type OpenWebhook, openWebhook } from '../support/webhook.ts'

const REVIEWS = new URL('../../fixtures/reviews/', import.meta.url)
const recorded = readdirSync(REVIEWS)
  .filter((name) => name.endsWith('.json'))
  .map((name) => readFileSync(new URL(name, REVIEWS)))
  .filter(({ length }) => length < 64 * 1024)

let webhook: OpenWebhook
beforeAll(async () => {
  webhook = await openWebhook({ store: createMemoryStore() })
})
afterAll(async () => {
  expect(await webhook.metrics.text()).toContain('credential_injector_crashes_total 0')
  await webhook.close()
})

async function expectWellFormed(body: string | Buffer): Promise<void> {
  const answer = await webhook.client.post(body)
  expect([200, 400]).toContain(answer.status)
  const parsed = answer.json()
  if (answer.status === 400)
    expect(parsed).toMatchObject({ kind: 'Status', code: 400, message: expect.stringMatching(/^Expected /) })
  else
    expect(parsed).toMatchObject({
      kind: 'AdmissionReview',
      response: { allowed: expect.any(Boolean), uid: expect.any(String) },
    })
}

const review = fc.constantFrom(...recorded)

test('bytes', () =>
  fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), (bytes) => expectWellFormed(Buffer.from(bytes))),
    { numRuns: 300 },
  ))

test('JSON', () => fc.assert(fc.asyncProperty(fc.json(), expectWellFormed), { numRuns: 500 }))

test('recorded reviews, cut off or with other bytes somewhere', () =>
  fc.assert(
    fc.asyncProperty(
      review,
      fc.nat(),
      fc.uint8Array({ maxLength: 8 }),
      fc.boolean(),
      (bytes, place, other, cut) => {
        const at = place % bytes.length
        const rest = cut ? Buffer.alloc(0) : bytes.subarray(at + other.length)
        return expectWellFormed(Buffer.concat([bytes.subarray(0, at), other, rest]))
      },
    ),
    { numRuns: 700 },
  ))

test('recorded reviews in which something has become something else', () =>
  fc.assert(
    fc.asyncProperty(review, fc.nat(), fc.jsonValue({ maxDepth: 3 }), (bytes, place, value) => {
      const parsed = JSON.parse(bytes.toString())
      const places = placesIn(parsed.request)
      const { holder, key } = places[place % places.length] as Place
      holder[key] = value
      return expectWellFormed(JSON.stringify(parsed))
    }),
    { numRuns: 1500 },
  ))

interface Place {
  holder: Record<string, unknown>
  key: string
}

function placesIn(holder: Record<string, unknown>): Place[] {
  return Object.keys(holder).flatMap((key) => {
    const value = holder[key]
    const inside =
      typeof value === 'object' && value !== null ? placesIn(value as Record<string, unknown>) : []
    return [{ holder, key }, ...inside]
  })
}

test('bytes instead of HTTP', () =>
  fc.assert(
    fc.asyncProperty(fc.string({ minLength: 1, maxLength: 200, unit: 'binary-ascii' }), async (bytes) => {
      const socket = await openSocket(webhook)
      socket.end(`${bytes}\r\n\r\n\r\n\r\n`)
      const answer = await text(socket)
      if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 (400|404|405|415|431) /)
      await expectWellFormed(recorded[0] as Buffer)
    }),
    { numRuns: 100 },
  ))
