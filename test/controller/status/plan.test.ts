import { describe, expect, test } from 'vitest'
import type { CredentialSpec } from '../../../src/api/schema.ts'
import type { CredentialStatus } from '../../../src/api/status.ts'
import type { SecretReport } from '../../../src/controller/status/inspect.ts'
import { GRACE_MS, planStatus, SOON_MS, type StatusInput } from '../../../src/controller/status/plan.ts'

const NOW = Date.parse('2026-11-24T12:00:00Z')
const DAY = 24 * 60 * 60 * 1000
const SPEC: CredentialSpec = { secretRef: { name: 'wandb-secret' }, type: 'environment' }
const GOOD: SecretReport = {
  keys: ['A'],
  type: 'Opaque',
  revision: '0123aaaaaaaaaaaa',
  faults: [],
  unchecked: 0,
}

function plan(input: Partial<StatusInput> = {}) {
  return planStatus({
    spec: SPEC,
    generation: 1,
    namespace: 'team-a',
    before: undefined,
    secret: GOOD,
    now: NOW,
    ...input,
  })
}

function statusAfter(input: Partial<StatusInput> = {}): CredentialStatus {
  return plan(input).status as CredentialStatus
}

const iso = (time: number) => `${new Date(time).toISOString().slice(0, 19)}Z`
const ready = (status?: CredentialStatus) => status?.conditions?.find(({ type }) => type === 'Ready')
const healthy = (status?: CredentialStatus) => status?.conditions?.find(({ type }) => type === 'Healthy')

test('the first look at a good credential', () => {
  expect(plan()).toEqual({
    status: {
      observedGeneration: 1,
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          observedGeneration: 1,
          lastTransitionTime: '2026-11-24T12:00:00Z',
          reason: 'SecretFound',
          message: 'Secret wandb-secret has everything that is needed.',
        },
        {
          type: 'Healthy',
          status: 'True',
          observedGeneration: 1,
          lastTransitionTime: '2026-11-24T12:00:00Z',
          reason: 'NothingFound',
          message: 'Nothing looks wrong with the content of Secret wandb-secret.',
        },
      ],
      keys: ['A'],
      revision: '0123aaaaaaaaaaaa',
    },
    events: [],
    wakeAt: undefined,
  })
})

describe('nothing is written when nothing has changed', () => {
  test.each<[string, Partial<StatusInput>]>([
    ['a good credential', {}],
    ['no secret', { secret: undefined }],
    ['an unhealthy one', { secret: { ...GOOD, faults: [{ reason: 'EmptyValue', keys: ['A'] }] } }],
    ['an expired one', { spec: { ...SPEC, expiresAt: '2020-01-01T00:00:00Z' } }],
    ['one that expires soon', { spec: { ...SPEC, expiresAt: iso(NOW + DAY) } }],
  ])('%s, however often and late it is looked at', (_title, input) => {
    let before = statusAfter(input)
    let writes = 0
    for (let minute = 0; minute < 600; minute++) {
      const { status, events } = plan({ ...input, before, now: NOW + minute * 60_000 })
      if (status) writes++
      else expect(events).toEqual([])
      before = status ?? before
    }
    // The end of the grace is the one thing that time alone changes here.
    expect(writes).toBe(input && 'secret' in input && !input.secret ? 1 : 0)
  })

  test('fields and conditions of others stay', () => {
    const mine = statusAfter()
    const others = {
      type: 'Copied',
      status: 'True',
      reason: 'Done',
      message: '',
      lastTransitionTime: iso(NOW),
    } as const
    const before = {
      ...mine,
      usedBy: { pods: 1, workloads: 1 },
      conditions: [others, ...(mine.conditions ?? [])],
    } as CredentialStatus
    expect(plan({ before }).status).toBeUndefined()
    const after = statusAfter({ before, secret: undefined })
    expect(after.usedBy).toEqual({ pods: 1, workloads: 1 })
    expect(after.conditions?.map(({ type }) => type)).toEqual(['Copied', 'Ready', 'Healthy'])
    expect(after.conditions?.[0]).toEqual(others)
  })
})

describe('transition times', () => {
  test('move when the status flips, and only then', () => {
    const variables = [{ name: 'A' }, { name: 'B' }, { name: 'C' }]
    const spec = { ...SPEC, variables }
    const first = statusAfter({ spec })
    const second = statusAfter({ spec, before: first, now: NOW + DAY, secret: { ...GOOD, keys: ['A', 'B'] } })
    expect(ready(second)).toMatchObject({ reason: 'KeyMissing', lastTransitionTime: iso(NOW) })
    expect(ready(second)?.message).toContain('lacks key C.')
    expect(ready(first)?.message).toContain('lacks keys B, C.')
    const third = statusAfter({
      spec,
      before: second,
      now: NOW + 2 * DAY,
      secret: { ...GOOD, keys: ['A', 'B', 'C'] },
    })
    expect(ready(third)).toMatchObject({ status: 'True', lastTransitionTime: iso(NOW + 2 * DAY) })
  })

  test('do not move with a new generation', () => {
    const after = statusAfter({ before: statusAfter(), generation: 2, now: NOW + DAY })
    expect(after.observedGeneration).toBe(2)
    for (const condition of after.conditions ?? [])
      expect(condition).toMatchObject({ observedGeneration: 2, lastTransitionTime: iso(NOW) })
  })
})

describe('a secret that does not exist', () => {
  const missing = statusAfter({ secret: undefined })

  test('is awaited in silence for a minute', () => {
    const { events, wakeAt } = plan({ secret: undefined })
    expect(ready(missing)).toMatchObject({
      status: 'False',
      reason: 'SecretNotFound',
      message: 'Secret wandb-secret does not exist yet.',
    })
    expect(healthy(missing)).toMatchObject({ status: 'Unknown', reason: 'NotChecked' })
    expect(missing).not.toHaveProperty('keys')
    expect(events).toEqual([])
    expect(wakeAt).toBe(NOW + GRACE_MS)
    expect(plan({ secret: undefined, before: missing, now: NOW + GRACE_MS - 1 })).toMatchObject({
      status: undefined,
      events: [],
      wakeAt: NOW + GRACE_MS,
    })
  })

  test('is missed aloud after that, once', () => {
    const { status, events, wakeAt } = plan({ secret: undefined, before: missing, now: NOW + GRACE_MS })
    const message =
      'Secret wandb-secret does not exist yet. Create Secret wandb-secret in namespace team-a, or correct spec.secretRef.'
    expect(events).toEqual([{ type: 'Warning', reason: 'SecretNotFound', message }])
    expect(ready(status)).toMatchObject({ message, lastTransitionTime: iso(NOW) })
    expect(wakeAt).toBeUndefined()
    expect(plan({ secret: undefined, before: status, now: NOW + DAY })).toMatchObject({
      status: undefined,
      events: [],
    })
  })

  test('that comes within the minute was never missed', () => {
    expect(plan({ before: missing, now: NOW + 1000 }).events).toEqual([])
  })

  test('that comes later is welcomed', () => {
    const before = statusAfter({ secret: undefined, before: missing, now: NOW + GRACE_MS })
    expect(plan({ before, now: NOW + DAY }).events).toEqual([
      { type: 'Normal', reason: 'Recovered', message: expect.stringContaining('wandb-secret') },
    ])
  })

  test('any more is missed at once', () => {
    const gone = plan({ secret: undefined, before: statusAfter(), now: NOW + DAY })
    expect(gone.events).toMatchObject([{ reason: 'SecretNotFound' }])
    expect(gone.wakeAt).toBeUndefined()
    const later = { secret: undefined, before: gone.status, now: NOW + DAY + 1000 }
    expect(plan(later)).toMatchObject({ status: undefined, events: [] })
  })
})

describe('what is wrong', () => {
  test('the type of the secret', () => {
    const spec: CredentialSpec = { ...SPEC, type: 'dockerRegistry' }
    const { status, events } = plan({ spec })
    const message =
      /^Secret wandb-secret has type Opaque, not kubernetes.io\/dockerconfigjson\. Create it with/
    expect(ready(status)).toMatchObject({ status: 'False', reason: 'WrongSecretType' })
    expect(ready(status)?.message).toMatch(message)
    expect(healthy(status)).toMatchObject({ status: 'False', reason: 'WrongSecretType' })
    // One thing, one event.
    expect(events.map(({ reason }) => reason)).toEqual(['WrongSecretType'])
  })

  test('the content: all of it in one message, the gravest as the reason', () => {
    const faults = [
      { reason: 'EmptyValue', keys: ['A'] },
      { reason: 'TrailingLineBreak', keys: ['B', 'C'] },
    ] as const
    const { status, events } = plan({ secret: { ...GOOD, keys: ['A', 'B', 'C'], faults } })
    const message =
      'A: The value is empty. Put the value into the Secret, or remove the key. ' +
      'B, C: The value ends with a line break, which becomes a part of the variable. Make it with printf %s or --from-literal instead of echo.'
    expect(ready(status)).toMatchObject({ status: 'True' })
    expect(healthy(status)).toMatchObject({ status: 'False', reason: 'EmptyValue', message })
    expect(events).toEqual([{ type: 'Warning', reason: 'EmptyValue', message }])
  })

  test('a secret without keys', () => {
    const { status, events } = plan({ secret: { ...GOOD, keys: [] } })
    expect(healthy(status)).toMatchObject({ status: 'False', reason: 'EmptySecret' })
    expect(events.map(({ reason }) => reason)).toEqual(['EmptySecret'])
  })

  test('messages stay within a kibibyte', () => {
    const keys = Array.from({ length: 64 }, (_, index) => `K${index}`.padEnd(253, 'X'))
    const everything = (['EmptyValue', 'InvalidJson', 'TrailingLineBreak'] as const).map((reason) => ({
      reason,
      keys,
    }))
    const variables = keys.map((name) => ({ name: `Z${name}`, key: `z${name}` }))
    const { status, events } = plan({
      spec: { ...SPEC, variables },
      secret: { ...GOOD, keys, faults: everything },
    })
    for (const { message } of [...(status?.conditions ?? []), ...events])
      expect(Buffer.byteLength(message)).toBeLessThanOrEqual(1024)
    expect(healthy(plan({ secret: { ...GOOD, keys, faults: everything } }).status)?.message).toMatch(
      / And 2 more\.$/,
    )
  })
})

test('the message says when not all was looked at', () => {
  const some = plan({ secret: { ...GOOD, unchecked: 58_000 } }).status
  expect(healthy(some)).toMatchObject({
    status: 'True',
    reason: 'NothingFound',
    message: expect.stringMatching(/ Only 2000 of its 60000 keys were looked at: name the keys/),
  })
  const keys = Array.from({ length: 2000 }, (_, index) => `K${index}`.padEnd(253, 'X'))
  const faults = (['EmptyValue', 'TrailingLineBreak'] as const).map((reason) => ({ reason, keys }))
  const { message = '' } = healthy(plan({ secret: { ...GOOD, faults, unchecked: 58_000 } }).status) ?? {}
  expect(message).toMatch(/ And 1 more\. Only 2000 of its 60000 keys were looked at: /)
  expect(Buffer.byteLength(message)).toBeLessThanOrEqual(1024)
})

test('a message is bounded in bytes, whatever the type of the Secret is', () => {
  const spec: CredentialSpec = { ...SPEC, type: 'dockerRegistry' }
  const { status } = plan({ spec, secret: { ...GOOD, type: 'ü'.repeat(5000) } })
  for (const { message } of status?.conditions ?? []) {
    expect(Buffer.byteLength(message)).toBeLessThanOrEqual(1024)
    expect(message).not.toContain('\ufffd')
  }
})

describe('expiry', () => {
  const expiresAt = iso(NOW + 30 * DAY)
  const spec = { ...SPEC, expiresAt }
  const at = NOW + 30 * DAY
  const early = plan({ spec })

  test('is said seven days before, as an event and not as a transition', () => {
    expect(early).toMatchObject({ wakeAt: at - SOON_MS, events: [] })
    const soon = plan({ spec, before: early.status, now: at - SOON_MS })
    expect(soon.events).toEqual([
      { type: 'Warning', reason: 'ExpiresSoon', message: expect.stringContaining(`expires at ${expiresAt}`) },
    ])
    expect(ready(soon.status)).toMatchObject({
      status: 'True',
      reason: 'SecretFound',
      lastTransitionTime: iso(NOW),
    })
    expect(soon.wakeAt).toBe(at)
    // Another process that begins now does not say it again.
    expect(plan({ spec, before: soon.status, now: at - DAY })).toMatchObject({
      status: undefined,
      events: [],
      wakeAt: at,
    })
  })

  test('makes it not ready', () => {
    const expired = plan({ spec, before: early.status, now: at })
    expect(ready(expired.status)).toMatchObject({
      status: 'False',
      reason: 'Expired',
      lastTransitionTime: iso(at),
    })
    expect(ready(expired.status)?.message).toContain(`expired at ${expiresAt}`)
    expect(expired.events.map(({ reason }) => reason)).toEqual(['Expired'])
    expect(expired.wakeAt).toBeUndefined()
    const renewed = plan({ spec: SPEC, generation: 2, before: expired.status, now: at + DAY })
    expect(renewed.events.map(({ reason }) => reason)).toEqual(['Recovered'])
  })

  test('a missing secret is the greater trouble', () => {
    const gone = plan({ spec, before: early.status, now: at, secret: undefined })
    expect(ready(gone.status)?.reason).toBe('SecretNotFound')
  })
})

describe('rotation', () => {
  const rotated: SecretReport = { ...GOOD, revision: '0123bbbbbbbbbbbb' }

  test('is another revision than a known one', () => {
    const first = statusAfter()
    expect(first).not.toHaveProperty('lastRotated')
    const second = statusAfter({ before: first, secret: rotated, now: NOW + DAY })
    expect(second).toMatchObject({ revision: '0123bbbbbbbbbbbb', lastRotated: iso(NOW + DAY) })
    const third = statusAfter({ before: second, secret: rotated, generation: 2, now: NOW + 2 * DAY })
    expect(third.lastRotated).toBe(iso(NOW + DAY))
  })

  test('is not another key of revisions', () => {
    const otherKey = { ...GOOD, revision: '4567bbbbbbbbbbbb' }
    const after = statusAfter({ before: statusAfter(), secret: otherKey, now: NOW + DAY })
    expect(after.revision).toBe(otherKey.revision)
    expect(after).not.toHaveProperty('lastRotated')
  })

  test('is seen across a secret that was away', () => {
    const away = statusAfter({ before: statusAfter(), secret: undefined, now: NOW + 1000 })
    expect(away.revision).toBe(GOOD.revision)
    expect(away).not.toHaveProperty('keys')
    expect(statusAfter({ before: away, now: NOW + DAY })).not.toHaveProperty('lastRotated')
    expect(statusAfter({ before: away, secret: rotated, now: NOW + DAY }).lastRotated).toBe(iso(NOW + DAY))
  })
})
