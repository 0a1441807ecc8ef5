import { describe, expect, test } from 'vitest'
import { fieldIn, podsIn, pointerTo } from '../../src/api/pod-places.ts'

const spec = { containers: [{ name: 'main' }] }
const template = { metadata: { labels: { app: 'x' } }, spec }
const metadata = { name: 'x', namespace: 'team' }

describe('pods are found', () => {
  test.each<[string, string, object, string]>([
    ['v1', 'Pod', { spec }, ''],
    ['v1', 'PodTemplate', { template }, '/template'],
    ['v1', 'ReplicationController', { spec: { template } }, '/spec/template'],
    ['apps/v1', 'Deployment', { spec: { template } }, '/spec/template'],
    ['apps/v1', 'StatefulSet', { spec: { template } }, '/spec/template'],
    ['apps/v1', 'DaemonSet', { spec: { template } }, '/spec/template'],
    ['apps/v1', 'ReplicaSet', { spec: { template } }, '/spec/template'],
    ['batch/v1', 'Job', { spec: { template } }, '/spec/template'],
    [
      'batch/v1',
      'CronJob',
      { spec: { jobTemplate: { spec: { template } } } },
      '/spec/jobTemplate/spec/template',
    ],
    ['argoproj.io/v1alpha1', 'Rollout', { spec: { template } }, '/spec/template'],
  ])('%s %s', (apiVersion, kind, rest, pointer) => {
    const { pods, others } = podsIn({ apiVersion, kind, metadata, ...rest })
    expect(others).toBe(0)
    expect(pods).toMatchObject([{ kind, name: 'x', namespace: 'team', pod: { spec } }])
    expect(pods.map(pointerTo)).toEqual([pointer])
    expect(pods.map((place) => fieldIn(place, 'spec.containers[0]'))).toEqual([
      `${pointer.slice(1).replaceAll('/', '.')}.spec.containers[0]`.replace(/^\./, ''),
    ])
  })

  test('in Lists, also of one kind and inside each other', () => {
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { template } }
    const podList = {
      apiVersion: 'v1',
      kind: 'PodList',
      items: [
        { metadata: { generateName: 'p-' }, spec },
        { metadata, spec },
      ],
    }
    const { pods, others } = podsIn({
      apiVersion: 'v1',
      kind: 'List',
      items: [{ apiVersion: 'v1', kind: 'Service' }, deployment, podList],
    })
    expect(pods.map((place) => [place.kind, place.name, pointerTo(place)])).toEqual([
      ['Deployment', 'x', '/items/1/spec/template'],
      ['Pod', 'p-*', '/items/2/items/0'],
      ['Pod', 'x', '/items/2/items/1'],
    ])
    expect(others).toBe(1)
  })
})

test.each([
  ['nothing', null, 0],
  ['text', 'Pod', 0],
  ['a list without a kind', [{ kind: 'Pod' }], 0],
  ['another kind', { apiVersion: 'v1', kind: 'ConfigMap', data: {} }, 1],
  ['a Pod of another group', { apiVersion: 'example.com/v1', kind: 'Pod', spec }, 1],
  [
    'a workload without a template',
    { apiVersion: 'apps/v1', kind: 'Deployment', spec: { template: null } },
    1,
  ],
  [
    'a template that is none of a pod',
    { apiVersion: 'example.com/v1', kind: 'X', spec: { template: { spec: { containers: 'x' } } } },
    1,
  ],
])('%s has no pods', (_title, value, others) => {
  expect(podsIn(value)).toEqual({ pods: [], others, unreached: [] })
})

test('an annotation on a workload itself is reported, with the place where it belongs', () => {
  const annotated = { ...metadata, annotations: { 'credentials.run.ai/inject': 'x' } }
  const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: annotated, spec: { template } }
  expect(podsIn(deployment).unreached).toMatchObject([{ kind: 'Deployment', template: ['spec', 'template'] }])
  const both = { ...template, metadata: annotated }
  expect(podsIn({ ...deployment, spec: { template: both } }).unreached).toEqual([])
  expect(podsIn({ apiVersion: 'v1', kind: 'Pod', metadata: annotated, spec }).unreached).toEqual([])
})

test('an object that names credentials where no pod is known is reported', () => {
  const annotated = { metadata: { annotations: { 'credentials.run.ai/inject': 'x' } }, spec }
  const job = {
    apiVersion: 'kubeflow.org/v1',
    kind: 'PyTorchJob',
    metadata,
    spec: { pytorchReplicaSpecs: { Worker: { template: annotated } } },
  }
  const other = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { a: null } }
  const { pods, others, unreached } = podsIn({ kind: 'List', items: [other, job] })
  expect({ pods, others }).toEqual({ pods: [], others: 2 })
  expect(unreached).toMatchObject([{ kind: 'PyTorchJob', name: 'x', objectPath: ['items', 1] }])
})
