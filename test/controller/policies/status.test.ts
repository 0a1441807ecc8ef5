import { describe, expect, test } from 'vitest'
import type { PolicyStatus } from '../../../src/api/status.ts'
import type { PolicyFindings } from '../../../src/controller/policies/assessment.ts'
import {
  type EntryState,
  type PolicyStatusInput,
  planPolicyStatus,
} from '../../../src/controller/policies/status.ts'

const NOW = Date.parse('2026-11-25T10:00:00Z')
const LATER = NOW + 60_000

const findings = (more: Partial<PolicyFindings> = {}): PolicyFindings => ({
  revision: { uid: 'u', generation: 3 },
  namespaces: 2,
  missing: new Map(),
  conflicts: new Map(),
  injectedPods: 4,
  ...more,
})

function plan(more: Partial<PolicyStatusInput> = {}) {
  return planPolicyStatus({
    name: 'p',
    generation: 3,
    before: undefined,
    entry: { kind: 'InEffect' },
    findings: findings(),
    now: NOW,
    ...more,
  })
}

const settled = plan().status as PolicyStatus

test('all is well', () => {
  const { status, events } = plan()
  expect(events).toEqual([])
  expect(status).toEqual({
    observedGeneration: 3,
    namespaces: 2,
    injectedPods: 4,
    conditions: [
      {
        type: 'Ready',
        status: 'True',
        reason: 'InEffect',
        message: 'The API server sends the pods that the policy selects to the webhook.',
        observedGeneration: 3,
        lastTransitionTime: '2026-11-25T10:00:00Z',
      },
      {
        type: 'CredentialsFound',
        status: 'True',
        reason: 'AllFound',
        message: 'Each selected namespace has all that the policy names.',
        observedGeneration: 3,
        lastTransitionTime: '2026-11-25T10:00:00Z',
      },
      {
        type: 'Compatible',
        status: 'True',
        reason: 'NoConflict',
        message: 'No other enforced policy contradicts it.',
        observedGeneration: 3,
        lastTransitionTime: '2026-11-25T10:00:00Z',
      },
    ],
  })
})

test('that finished pods cannot be checked for it is said where it is said to be in effect', () => {
  const { status, events } = plan({ entry: { kind: 'InEffect', isUnchecked: true } })
  expect(events).toEqual([])
  expect(status?.conditions?.[0]).toMatchObject({
    status: 'True',
    message: expect.stringContaining(
      'webhook. Finished pods are not checked for it: its namespaceSelector has too many',
    ),
  })
})

test('what is settled is not written, whenever it is looked at', () => {
  expect(plan({ before: settled, now: LATER })).toMatchObject({ status: undefined, events: [] })
})

test('only the number of pods can wait', () => {
  expect(plan({ before: settled, findings: findings({ injectedPods: 5 }) }).canWait).toBe(true)
  expect(plan({ before: settled, findings: findings({ injectedPods: 5, namespaces: 3 }) }).canWait).toBe(
    false,
  )
  expect(plan({}).canWait).toBe(false)
})

test('what others have written stays, and what is ours is set right', () => {
  const foreign = { ...settled.conditions?.[0], type: 'Audited', reason: 'ByHand' } as never
  const before: PolicyStatus = {
    ...settled,
    namespaces: 99,
    conditions: [foreign, ...(settled.conditions ?? [])],
  }
  const { status } = plan({ before, now: LATER })
  expect(status).toEqual({ ...settled, conditions: [foreign, ...(settled.conditions ?? [])] })
})

describe('what is missing', () => {
  const message = (missing: [string, string[]][]) =>
    plan({ findings: findings({ missing: new Map(missing) }) }).status?.conditions?.[1]

  test('is named, with where', () => {
    expect(message([['a', ['n1']]])).toMatchObject({
      status: 'False',
      reason: 'CredentialNotFound',
      message:
        'No Credential a that can be used, nor a ClusterCredential a that is offered there, exists in namespace n1.',
    })
    expect(message([['cluster/b', ['n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7']]])?.message).toBe(
      'No ClusterCredential b that can be used is offered to namespaces n1, n2, n3, n4, n5 and 2 more.',
    )
  })

  test('has an end, however much it is', () => {
    const names = Array.from({ length: 64 }, (_, index) => [`${'x'.repeat(200)}${index}`, ['n'.repeat(63)]])
    expect(message(names as [string, string[]][])?.message.length).toBeLessThanOrEqual(1000)
  })
})

describe('conflicts', () => {
  const conflicts = new Map([
    ['z', ['they differ', 'and so']],
    ['a', ['it gives A']],
  ])

  test('are listed by name, and told once', () => {
    const { status, events } = plan({ before: settled, findings: findings({ conflicts }), now: LATER })
    expect(status?.conflicts).toEqual([
      { policy: 'a', message: 'it gives A' },
      { policy: 'z', message: 'they differ (and 1 more)' },
    ])
    expect(status?.conditions?.[2]).toMatchObject({
      status: 'False',
      reason: 'PolicyConflict',
      message: 'Pods that both select are refused: it cannot hold together with a, z. See status.conflicts.',
      lastTransitionTime: '2026-11-25T10:01:00Z',
    })
    expect(events).toEqual([
      { type: 'Warning', reason: 'PolicyConflict', message: status?.conditions?.[2]?.message },
    ])
    const again = plan({
      before: status,
      findings: findings({ conflicts: new Map([['a', ['it gives A']]]) }),
    })
    expect(again.events).toEqual([])
    expect(plan({ before: status, now: LATER + 1 }).status).not.toHaveProperty('conflicts')
  })

  test('of a policy with itself are said to be that', () => {
    const { status } = plan({ findings: findings({ conflicts: new Map([['p', ['it gives A twice']]]) }) })
    expect(status?.conflicts).toEqual([
      { policy: 'p', message: 'The policy contradicts itself: it gives A twice' },
    ])
  })

  test('have an end, however many there are', () => {
    const many = new Map(Array.from({ length: 300 }, (_, index) => [`p-${index}`, ['x'.repeat(5000)]]))
    const { status } = plan({ findings: findings({ conflicts: many }) })
    expect(status?.conflicts).toHaveLength(100)
    expect(status?.conflicts?.every(({ message }) => message.length <= 1000)).toBe(true)
  })
})

test.each<[Extract<EntryState, { kind: 'NotInEffect' }>['reason']]>([
  ['NotUnderstood'],
  ['EntryRefused'],
  ['ConfigurationMissing'],
  ['RegistrationMissing'],
  ['NotWritten'],
])('%s keeps it from being ready, and is told once', (reason) => {
  const entry = { kind: 'NotInEffect' as const, reason, message: 'm'.repeat(3000) }
  const { status, events } = plan({ before: settled, entry, findings: undefined, now: LATER })
  expect(status?.conditions?.[0]).toMatchObject({ type: 'Ready', status: 'False', reason })
  expect(status?.conditions?.[0]?.message.length).toBeLessThanOrEqual(1000)
  expect(events.map(({ reason }) => reason)).toEqual([reason])
  expect(plan({ before: status, entry, findings: undefined, now: LATER + 1 })).toMatchObject({
    status: undefined,
    events: [],
  })
})
