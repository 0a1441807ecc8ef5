/** One event for the owner of a refused pod: who gets one, when again, and what a flood of invented owners comes to. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { Problem } from '../../src/inject/index.ts'
import type { EventContent, EventSubject } from '../../src/kube/events.ts'
import { createOwnerEvents, type OwnerEvents } from '../../src/webhook/owner-events.ts'
import type { Review } from '../../src/webhook/review.ts'

const OWNER = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'train-5d9', uid: 'uid-1', controller: true }
const MISSPELT: Problem = {
  reason: 'CredentialNotFound',
  field: 'metadata.annotations',
  message: 'credential wandb does not exist in namespace team-a',
}
const MINUTE = 60_000

let now: number
let sent: { about: EventSubject; event: EventContent }[]
let lose: (index: number) => void
let events: OwnerEvents

beforeEach(() => {
  now = 1_000_000
  sent = []
  events = createOwnerEvents({
    now: () => now,
    senderWith: ({ onSent, onLost }) => {
      lose = (index) => {
        const { about, event } = sent[index] as (typeof sent)[number]
        onLost(new Error('no answer'), event, about)
      }
      return {
        send(about, event) {
          sent.push({ about, event })
          onSent(event)
        },
        flush: async () => {},
      }
    },
  })
})

function reviewOf(owners: unknown, { namespace = 'team-a', dryRun = false } = {}): Review {
  const object = { metadata: { name: 'train-5d9-x', namespace: 'other', ownerReferences: owners } }
  return { namespace, dryRun, object, createsPod: true, uid: 'u', name: '' } as unknown as Review
}

const refuse = (owner: object, problem = MISSPELT, where = {}) =>
  events.refused(reviewOf([{ ...OWNER, ...owner }], where), [problem])

test('says to the owner what the answer says, in the namespace of the request', () => {
  refuse({})

  expect(sent).toEqual([
    {
      about: {
        apiVersion: 'apps/v1',
        kind: 'ReplicaSet',
        name: 'train-5d9',
        uid: 'uid-1',
        namespace: 'team-a',
      },
      event: {
        type: 'Warning',
        reason: 'CredentialNotFound',
        message: 'CredentialNotFound: credential wandb does not exist in namespace team-a',
      },
    },
  ])
})

test('lists everything in one line, and is cut to what the API takes', () => {
  const conflict: Problem = { reason: 'EnvConflict', field: 'spec', message: 'A is there twice' }
  events.refused(reviewOf([OWNER]), [MISSPELT, conflict])
  expect(sent[0]?.event).toMatchObject({
    reason: 'CredentialNotFound',
    message: expect.stringMatching(
      /^2 problems .* \(1\) CredentialNotFound: .* \(2\) EnvConflict: A is there twice$/,
    ),
  })

  refuse({ uid: 'uid-2' }, { ...MISSPELT, message: 'é'.repeat(5_000) })
  expect(sent[1]?.event.message).toMatch(/^CredentialNotFound: é+…$/)
  expect(sent[1]?.event.message).toHaveLength(1_024)
})

describe('nobody is told', () => {
  test.each<[string, unknown]>([
    ['of a pod without an owner', undefined],
    ['of one whose owner does not control it', [{ ...OWNER, controller: false }]],
    ['where owners are no list', 'ReplicaSet'],
    ['where one is null', [null]],
    ['of a name that no object could have', [{ ...OWNER, name: '../secrets/x' }]],
    ['of a name that is no text', [{ ...OWNER, name: { a: 1 } }]],
    ['of a name without end', [{ ...OWNER, name: 'a'.repeat(254) }]],
    ['of a kind that is none', [{ ...OWNER, kind: 'Replica Set\n' }]],
    ['of an uid without end', [{ ...OWNER, uid: 'u'.repeat(100_000) }]],
    ['without an uid', [{ ...OWNER, uid: undefined }]],
    ['of an apiVersion that is none', [{ ...OWNER, apiVersion: 'apps/v1/../../x' }]],
  ])('%s', (_, owners) => {
    events.refused(reviewOf(owners), [MISSPELT])
    expect(sent).toEqual([])
  })

  test('of a trial', () => {
    refuse({}, MISSPELT, { dryRun: true })
    expect(sent).toEqual([])
    // And it does not count as said.
    refuse({})
    expect(sent).toHaveLength(1)
  })
})

describe('a storm of retries', () => {
  test('is one event in ten minutes', () => {
    for (let tries = 0; tries < 1_000; tries++) {
      refuse({})
      now += 500
    }
    expect(sent).toHaveLength(1)
    expect(events.counts).toEqual({ sent: 1, repeated: 999, limited: 0, lost: 0 })

    now += 10 * MINUTE
    refuse({})
    expect(sent).toHaveLength(2)
  })

  test('another problem, owner or namespace is another event', () => {
    refuse({})
    refuse({}, { ...MISSPELT, message: 'credential wandc does not exist' })
    refuse({ uid: 'uid-2' })
    refuse({}, MISSPELT, { namespace: 'team-b' })
    expect(sent).toHaveLength(4)
  })

  test('what was lost is said with the next try', () => {
    refuse({})
    lose(0)
    refuse({})
    expect(sent).toHaveLength(2)
    expect(events.counts).toMatchObject({ lost: 1, repeated: 0 })
  })

  test('a clock that is set back does not bring it all again, nor let more through', () => {
    refuse({})
    now -= 60 * MINUTE
    for (let count = 0; count < 100; count++) refuse({ uid: `uid-${count}` })
    expect(sent).toHaveLength(25)
  })
})

describe('a flood of invented owners', () => {
  /** For so many seconds, a thousand owners a second that nobody has heard of. */
  const flood = (seconds: number, namespace: (index: number) => string) => {
    for (let index = 0; index < seconds * 1_000; index++) {
      refuse({ uid: `forged-${index}` }, MISSPELT, { namespace: namespace(index) })
      now += 1
    }
  }

  test('of one namespace is 25 events and one a second, and others are told all the same', () => {
    flood(60, () => 'hostile')
    expect(sent.length).toBe(25 + 59)

    refuse({ uid: 'honest' }, MISSPELT, { namespace: 'team-a' })
    expect(sent.at(-1)?.about).toMatchObject({ namespace: 'team-a', uid: 'honest' })
    expect(events.counts.limited).toBe(60_000 - 84)
  })

  test('of very many namespaces is 100 events and ten a second', () => {
    flood(60, (index) => `hostile-${index % 5_000}`)
    expect(sent.length).toBeGreaterThan(600)
    expect(sent.length).toBeLessThanOrEqual(100 + 600)
  })

  test('what was held back is said when it is tried again', () => {
    flood(0.5, () => 'team-a')
    refuse({ uid: 'honest' })
    expect(sent.at(-1)?.about.uid).not.toBe('honest')
    now += 2_000
    refuse({ uid: 'honest' })
    expect(sent.at(-1)?.about.uid).toBe('honest')
  })

  test('takes a memory that is bounded', () => {
    // Slow enough to be let through, and more than are remembered, before the first of them may be said again.
    const forged = (index: number) =>
      refuse({ uid: `forged-${index}` }, MISSPELT, { namespace: `team-${index % 20}` })
    for (let index = 0; index < 5_990; index++) {
      forged(index)
      now += 100
    }
    expect(events.counts).toEqual({ sent: 5_990, repeated: 0, limited: 0, lost: 0 })

    forged(5_989)
    forged(0)

    expect(events.counts).toEqual({ sent: 5_991, repeated: 1, limited: 0, lost: 0 })
  })
})
