import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  askedFor,
  openRotations,
  planRestart,
  type StaleRotation,
  type StaleWorkload,
  settledAt,
} from '../../../src/controller/rotation/plan.ts'
import {
  itemOf,
  MOST_RECORDED,
  type Rotation,
  recordWith,
  rotationsIn,
} from '../../../src/controller/rotation/record.ts'
import type { WorkloadState } from '../../../src/controller/rotation/workload.ts'

const AT = '2026-11-25T01:00:00Z'
const LATER = '2026-11-25T02:00:00Z'
const rotation = (credential: string, revision = 'r2', at = AT): Rotation => ({ credential, revision, at })
const WANDB = rotation('Credential/wandb')
const HUB = rotation('ClusterCredential/hub')

const asked = (one: Rotation, isAutomatic = true): StaleRotation => ({
  ...one,
  isAutomatic,
})
const READY: WorkloadState = {
  wish: undefined,
  record: '',
  hold: undefined,
  isRolledOut: true,
  restartedAt: undefined,
}

function plan(
  state: Partial<WorkloadState>,
  { rotations = [asked(WANDB)], isPaused = false, earlier = [] as string[] } = {},
) {
  return planRestart({ state: { ...READY, ...state }, asked: rotations, isPaused, earlier })
}

describe('a workload with stale pods', () => {
  test('is restarted for a credential that asks for it, and the record says for which rotation', () => {
    expect(plan({})).toEqual({
      do: 'restart',
      record: 'Credential/wandb@r2@2026-11-25T01:00:00Z',
      rotations: [asked(WANDB)],
      message: 'Restarted, since the content of Credential/wandb has changed.',
    })
  })

  test.each<[string, boolean | undefined, boolean, boolean]>([
    ['Automatic, and the template says nothing', undefined, true, true],
    ['Automatic, and the template says true', true, true, true],
    ['Automatic, and the template says false', false, true, false],
    ['Never, and the template says nothing', undefined, false, false],
    ['Never, and the template says true', true, false, true],
    ['Never, and the template says false', false, false, false],
  ])('%s', (_, wish, isAutomatic, isRestarted) => {
    const { do: what } = plan({ wish }, { rotations: [asked(WANDB, isAutomatic)] })
    expect(what).toBe(isRestarted ? 'restart' : 'nothing')
  })

  test('is restarted once for several credentials', () => {
    expect(plan({}, { rotations: [asked(WANDB), asked(HUB)] })).toMatchObject({
      do: 'restart',
      record: `${itemOf(HUB)},${itemOf(WANDB)}`,
      message: 'Restarted, since the content of Credential/wandb, ClusterCredential/hub has changed.',
    })
  })

  test.each<[string, string, boolean]>([
    ['the same rotation is recorded: it is done', itemOf(WANDB), false],
    ['among others', `${itemOf(HUB)},${itemOf(WANDB)}`, false],
    ['another revision', itemOf(rotation('Credential/wandb', 'r1')), true],
    ['the same content of another time: it has come back', itemOf({ ...WANDB, at: LATER }), true],
    ['another credential', itemOf(HUB), true],
    ['nonsense', 'Credential/wandb,@,,Deployment/x@r2@y', true],
  ])('recorded: %s', (_, record, isRestarted) => {
    expect(plan({ record }).do).toBe(isRestarted ? 'restart' : 'nothing')
  })

  test('is not restarted again when it was rolled back', () => {
    const earlier = ['', itemOf(WANDB)]
    expect(plan({ record: '' }, { earlier })).toMatchObject({
      do: 'hold',
      reason: 'RestartUndone',
      isFinal: true,
    })
    expect(plan({ record: '' }, { earlier: [itemOf({ ...WANDB, at: LATER })] }).do).toBe('restart')
    const both = { earlier, rotations: [asked(WANDB), asked(HUB)] }
    expect(plan({ record: '' }, both)).toMatchObject({ do: 'restart' })
  })

  test.each(['RestartPaused', 'RolloutPaused', 'RestartsOnDelete'] as const)('is held by %s', (hold) => {
    const held = plan({ hold })
    expect(held).toMatchObject({ do: 'hold', reason: hold, isFinal: false })
    expect('message' in held && held.message).toMatch(
      /^Not restarted, though the content of Credential\/wandb has changed\. .+\. .+\.$/,
    )
  })

  test('is held while all restarts are paused, but not if there is nothing to do', () => {
    expect(plan({}, { isPaused: true })).toMatchObject({ do: 'hold', reason: 'RestartPaused' })
    expect(plan({ record: itemOf(WANDB) }, { isPaused: true }).do).toBe('nothing')
    expect(plan({ record: itemOf(WANDB), hold: 'RolloutPaused' }).do).toBe('nothing')
  })
})

test('which rotations a workload may be restarted for is known from its pods; one that asks is enough', () => {
  const stale = (wishes: (boolean | undefined)[], isAutomatic: boolean): StaleWorkload => ({
    workload: { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'n', name: 'd', uid: 'u' },
    wishes: new Set(wishes),
    rotations: [asked(WANDB, isAutomatic)],
  })
  const isAsked = (wishes: (boolean | undefined)[], isAutomatic: boolean) =>
    askedFor(stale(wishes, isAutomatic)).length === 1
  expect(isAsked([undefined], true)).toBe(true)
  expect(isAsked([undefined], false)).toBe(false)
  expect(isAsked([undefined, true], false)).toBe(true)
  expect(isAsked([false], true)).toBe(false)
  expect(isAsked([false, undefined], true)).toBe(true)
})

test('a restart waits until the last of its rotations has settled', () => {
  expect(settledAt([WANDB, { ...HUB, at: LATER }], 10_000)).toBe(Date.parse(LATER) + 10_000)
})

// ---- The record ------------------------------------------------------------------------------------------------------

const someRotation = fc.record({
  credential: fc.constantFrom(
    'Credential/a',
    'Credential/b.c',
    'ClusterCredential/a',
    `Credential/${'n'.repeat(253)}`,
  ),
  revision: fc.stringMatching(/^[0-9a-f]{16}$/),
  at: fc.constantFrom(AT, LATER, '2026-11-25T03:00:00Z'),
})

test('a plan that was carried out leaves nothing to do, and the record of it is made alike by everybody', () => {
  fc.assert(
    fc.property(fc.array(someRotation), fc.array(someRotation, { minLength: 1 }), (before, now) => {
      // Of each credential there is one last rotation.
      const latest = [...new Map(now.map((one) => [one.credential, one])).values()].map((one) => asked(one))
      const state = { ...READY, record: recordWith('', before) }
      const restart = planRestart({ state, asked: latest, isPaused: false, earlier: [] })
      const isOpen = openRotations(state, latest).length > 0
      expect(restart.do).toBe(isOpen ? 'restart' : 'nothing')
      if (restart.do !== 'restart') return
      const after = { ...state, record: restart.record }
      expect(planRestart({ state: after, asked: latest, isPaused: false, earlier: [] }).do).toBe('nothing')
      const shuffled = planRestart({ state, asked: [...latest].reverse(), isPaused: false, earlier: [] })
      expect(shuffled).toMatchObject({ record: restart.record })
    }),
  )
})

test('the record keeps of very many credentials those that were rotated last', () => {
  const many = Array.from({ length: MOST_RECORDED + 50 }, (_, index) =>
    rotation(`Credential/c${index}`, 'r', new Date(index * 1000).toISOString()),
  )
  const kept = rotationsIn(recordWith(recordWith('', many.slice(60)), many.slice(0, 60)))
  expect(kept).toHaveLength(MOST_RECORDED)
  expect(new Set(kept.map(itemOf))).toEqual(new Set(many.slice(-MOST_RECORDED).map(itemOf)))
})
