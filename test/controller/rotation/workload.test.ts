import { describe, expect, test } from 'vitest'
import { createTurns } from '../../../src/controller/rotation/turns.ts'
import {
  isRestartable,
  recordsIn,
  type StoredWorkload,
  stateOf,
  templatesPathOf,
} from '../../../src/controller/rotation/workload.ts'

type Overrides = { metadata?: object; spec?: object; annotations?: Record<string, string>; status?: object }

function workload({ metadata, spec, annotations, status }: Overrides = {}): StoredWorkload {
  return {
    metadata: { name: 'w', namespace: 'n', uid: 'u', generation: 2, ...metadata },
    spec: {
      selector: { matchLabels: { app: 'w' } },
      template: { metadata: { annotations } },
      ...spec,
    },
    status: { observedGeneration: 2, ...status },
  }
}

test.each([
  ['apps/v1', 'Deployment', true],
  ['apps/v1', 'StatefulSet', true],
  ['apps/v1', 'DaemonSet', true],
  ['apps/v1', 'ReplicaSet', false],
  ['batch/v1', 'Job', false],
  ['batch/v1', 'CronJob', false],
  ['v1', 'Pod', false],
  ['argoproj.io/v1alpha1', 'Rollout', false],
  ['other.io/v1', 'Deployment', false],
  ['apps/v1', 'toString', false],
])('%s %s can be restarted: %s', (apiVersion, kind, is) => {
  expect(isRestartable({ apiVersion, kind })).toBe(is)
})

describe('what a workload says', () => {
  test.each<[string, Overrides, object]>([
    ['nothing', {}, { wish: undefined, record: '', hold: undefined }],
    ['true', { annotations: { 'credentials.run.ai/restart-on-rotation': 'true' } }, { wish: true }],
    ['false', { annotations: { 'credentials.run.ai/restart-on-rotation': 'false' } }, { wish: false }],
    ['neither', { annotations: { 'credentials.run.ai/restart-on-rotation': 'yes' } }, { wish: undefined }],
    ['a record', { annotations: { 'credentials.run.ai/restarted-for': 'r' } }, { record: 'r' }],
    ['paused', { spec: { paused: true } }, { hold: 'RolloutPaused' }],
    ['OnDelete', { spec: { updateStrategy: { type: 'OnDelete' } } }, { hold: 'RestartsOnDelete' }],
    [
      'restarts are paused',
      { metadata: { annotations: { 'credentials.run.ai/restart-paused': 'true' } } },
      { hold: 'RestartPaused' },
    ],
    [
      'restarts are not paused',
      { metadata: { annotations: { 'credentials.run.ai/restart-paused': 'false' } } },
      { hold: undefined },
    ],
  ])('%s', (_, overrides, expected) => {
    expect(stateOf('Deployment', workload(overrides))).toMatchObject(expected)
  })

  test('no metadata in the template', () => {
    const { spec, ...rest } = workload()
    const bare = { ...rest, spec: { ...spec, template: {} } }
    expect(stateOf('Deployment', bare)).toMatchObject({ wish: undefined, record: '' })
  })
})

describe('a rollout has finished', () => {
  const rows: [string, string, Overrides, boolean][] = [
    ['Deployment', 'all new', { status: { replicas: 1, updatedReplicas: 1, availableReplicas: 1 } }, true],
    [
      'Deployment',
      'an old one',
      { status: { replicas: 2, updatedReplicas: 1, availableReplicas: 2 } },
      false,
    ],
    [
      'Deployment',
      'not available',
      { status: { replicas: 1, updatedReplicas: 1, availableReplicas: 0 } },
      false,
    ],
    [
      'Deployment',
      'not seen yet',
      { status: { observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1 } },
      false,
    ],
    [
      'Deployment',
      'too few',
      { spec: { replicas: 3 }, status: { replicas: 2, updatedReplicas: 2, availableReplicas: 2 } },
      false,
    ],
    ['Deployment', 'of none', { spec: { replicas: 0 } }, true],
    [
      'StatefulSet',
      'all new',
      { status: { readyReplicas: 1, updatedReplicas: 1, currentRevision: 'b', updateRevision: 'b' } },
      true,
    ],
    [
      'StatefulSet',
      'on the way',
      { status: { readyReplicas: 1, updatedReplicas: 0, currentRevision: 'a', updateRevision: 'b' } },
      false,
    ],
    [
      'StatefulSet',
      'not ready',
      { status: { readyReplicas: 0, updatedReplicas: 1, currentRevision: 'b', updateRevision: 'b' } },
      false,
    ],
    [
      'StatefulSet',
      'down to its partition',
      {
        spec: { replicas: 3, updateStrategy: { rollingUpdate: { partition: 2 } } },
        status: { readyReplicas: 3, updatedReplicas: 1, currentRevision: 'a', updateRevision: 'b' },
      },
      true,
    ],
    [
      'DaemonSet',
      'on all nodes',
      { status: { desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2 } },
      true,
    ],
    [
      'DaemonSet',
      'on some',
      { status: { desiredNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2 } },
      false,
    ],
    [
      'DaemonSet',
      'not available',
      { status: { desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1 } },
      false,
    ],
  ]
  test.each(rows)('%s, %s', (kind, _, overrides, is) => {
    expect(stateOf(kind, workload(overrides)).isRolledOut).toBe(is)
  })
})

describe('earlier templates', () => {
  test('are asked for by the selector', () => {
    const its = { apiVersion: 'apps/v1', namespace: 'n', name: 'w', uid: 'u' }
    const matchExpressions = [
      { key: 'tier', operator: 'In', values: ['a', 'b'] },
      { key: 'x', operator: 'NotIn', values: ['c'] },
      { key: 'e', operator: 'Exists' },
      { key: 'd', operator: 'DoesNotExist' },
    ]
    const selector = { matchLabels: { app: 'w' }, matchExpressions }
    const path = templatesPathOf({ ...its, kind: 'Deployment' }, workload({ spec: { selector } }))
    expect(decodeURIComponent(path)).toBe(
      '/apis/apps/v1/namespaces/n/replicasets?labelSelector=app=w,tier in (a,b),x notin (c),e,!d',
    )
    const others = templatesPathOf({ ...its, kind: 'StatefulSet' }, workload())
    expect(others).toBe('/apis/apps/v1/namespaces/n/controllerrevisions?labelSelector=app%3Dw')
  })

  test('count where they are the workload’s own', () => {
    const template = (record: string) => ({
      metadata: { annotations: { 'credentials.run.ai/restarted-for': record } },
    })
    const owned = (uid: string) => ({ name: 'r', ownerReferences: [{ uid }] })
    const items = [
      { metadata: owned('u'), spec: { template: template('a') } },
      { metadata: owned('u'), data: { spec: { template: template('b') } } },
      { metadata: owned('other'), spec: { template: template('c') } },
      { metadata: { name: 'r' }, spec: { template: template('d') } },
      { metadata: owned('u'), spec: { template: {} } },
    ]
    expect(recordsIn({ items }, 'u')).toEqual(['a', 'b'])
  })
})

describe('turns', () => {
  function turnsOf(atOnce: number, onePerNamespace = false) {
    const called: string[] = []
    const turns = createTurns({ atOnce, onePerNamespace, onTurn: (key) => void called.push(key) })
    return { turns, called: () => called.splice(0) }
  }

  test('are given to so many, and the next in line is called when one ends', () => {
    const { turns, called } = turnsOf(2)
    expect(['a', 'b', 'c', 'd', 'a'].map((key) => turns.take(key, 'n'))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ])
    expect([turns.underWay(), turns.waiting()]).toEqual([2, 2])
    turns.end('b')
    expect(called()).toEqual(['c'])
    expect(turns.take('c', 'n')).toBe(true)
    turns.end('d')
    expect([called(), turns.waiting()]).toEqual([[], 0])
  })

  test('are given to one of a namespace, and nobody of another waits for that', () => {
    const { turns, called } = turnsOf(3, true)
    expect(turns.take('a1', 'a')).toBe(true)
    expect(turns.take('a2', 'a')).toBe(false)
    expect(turns.take('a3', 'a')).toBe(false)
    turns.found('b1', 'b')
    expect(turns.take('b2', 'b')).toBe(false)
    turns.end('b1')
    expect(called()).toEqual(['b2'])
    turns.end('a1')
    expect(called()).toEqual(['a2', 'b2'])
  })

  test('one that was found counts, whatever the limit', () => {
    const { turns, called } = turnsOf(1)
    for (const key of ['a', 'b']) turns.found(key, 'n')
    expect(turns.take('c', 'n')).toBe(false)
    turns.end('a')
    expect(called()).toEqual([])
    turns.end('b')
    expect(called()).toEqual(['c'])
  })
})
