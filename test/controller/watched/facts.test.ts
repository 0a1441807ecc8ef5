/** What is remembered of pods and Secrets, from objects as the API server has them. */
import { describe, expect, test } from 'vitest'
import { factsOf, type StoredPod } from '../../../src/controller/watched/pods.ts'
import { copiedAt } from '../../../src/controller/watched/secrets.ts'

const podWith = (spec: object, status: object = {}): StoredPod => ({
  metadata: { name: 'p', namespace: 'n' },
  spec,
  status,
})

describe('a pod refers to a Secret', () => {
  const container = (some: object) => ({ containers: [{ name: 'c', ...some }] })
  const volume = (source: object) => ({ volumes: [{ name: 'v', ...source }] })
  test.each<[as: string, by: string, spec: object]>([
    ['variables', 'envFrom', container({ envFrom: [{ secretRef: { name: 's' } }] })],
    [
      'variables',
      'env',
      container({ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] }),
    ],
    [
      'variables',
      'an init container',
      { initContainers: [{ name: 'c', envFrom: [{ secretRef: { name: 's' } }] }] },
    ],
    [
      'variables',
      'an ephemeral container',
      { ephemeralContainers: [{ name: 'c', envFrom: [{ secretRef: { name: 's' } }] }] },
    ],
    ['files', 'a secret volume', volume({ secret: { secretName: 's' } })],
    ['files', 'a projected volume', volume({ projected: { sources: [{ secret: { name: 's' } }] } })],
    ['files', 'a CSI volume', volume({ csi: { nodePublishSecretRef: { name: 's' } } })],
    ['files', 'an Azure file share', volume({ azureFile: { secretName: 's', shareName: 'x' } })],
    ['files', 'a Ceph file system', volume({ cephfs: { secretRef: { name: 's' } } })],
    ['files', 'a flexible volume', volume({ flexVolume: { driver: 'd', secretRef: { name: 's' } } })],
    ['login', 'imagePullSecrets', { imagePullSecrets: [{ name: 's' }] }],
  ])('as %s by %s', (as, _by, spec) => {
    expect(factsOf(podWith(spec)).uses).toEqual([{ secret: 's', as, since: undefined }])
  })

  test('and to none by what is not there', () => {
    const nothing = { ...volume({ emptyDir: {} }), ...container({ env: [{ name: 'A', value: 's' }] }) }
    expect(factsOf(podWith(nothing)).uses).toEqual([])
    expect(factsOf(podWith(volume({ secret: null, configMap: { name: 's' } }))).uses).toEqual([])
  })
})

test('its variables are as old as the first of the containers that run with them', () => {
  const from = (name: string) => ({ name, envFrom: [{ secretRef: { name: 's' } }] })
  const started = (name: string, startedAt: string) => ({ name, state: { running: { startedAt } } })
  const status = {
    containerStatuses: [started('a', '2026-01-01T00:00:09Z'), started('b', '2026-01-01T00:00:05Z')],
    initContainerStatuses: [{ name: 'i', state: { terminated: { startedAt: '2026-01-01T00:00:01Z' } } }],
  }
  const facts = factsOf(podWith({ containers: [from('a'), from('b')], initContainers: [from('i')] }, status))
  expect(facts.uses).toEqual([{ secret: 's', as: 'variables', since: Date.parse('2026-01-01T00:00:05Z') }])
})

describe('a copy was written', () => {
  const secret = (name: string, managedFields: object[]) => ({
    metadata: { name, creationTimestamp: '2026-01-01T00:00:01Z', managedFields },
  })
  const wrote = (time: string, fields: object) => ({ time, fieldsV1: fields })
  test.each<[title: string, managedFields: object[], time: string | undefined]>([
    ['when it was made', [], '2026-01-01T00:00:01Z'],
    ['when its data changed last', [wrote('2026-01-01T00:00:05Z', { 'f:data': {} })], '2026-01-01T00:00:05Z'],
    [
      'not when its labels did',
      [wrote('2026-01-01T00:00:05Z', { 'f:metadata': {} })],
      '2026-01-01T00:00:01Z',
    ],
  ])('%s', (_, managedFields, time) => {
    expect(copiedAt(secret('credential-a', managedFields))).toBe(Date.parse(time as string))
  })

  test('by what is no copy, never', () => expect(copiedAt(secret('wandb', []))).toBeUndefined())
})

describe('what a pod says of itself is bounded', () => {
  const owned = (kind: string, name: string): StoredPod => ({
    ...podWith({}),
    metadata: {
      name: 'p',
      namespace: 'n',
      ownerReferences: [{ apiVersion: 'example.com/v1', kind, name, uid: 'u', controller: true }],
    },
  })

  test('a record of more credentials than any pod has is cut', () => {
    const record = Array.from({ length: 20_000 }, (_, index) => `Credential/c-${index}@r`).join(',')
    const pod = {
      ...podWith({}),
      metadata: { name: 'p', annotations: { 'credentials.run.ai/injected': record } },
    }
    expect(factsOf(pod).injected).toHaveLength(200)
  })

  test('an owner of a name that no object can have is none: a status has no room for it', () => {
    expect(factsOf(owned('Training', 'x'.repeat(253))).owner?.kind).toBe('Training')
    expect(factsOf(owned('Training', 'x'.repeat(254))).owner).toBeUndefined()
    expect(factsOf(owned('K'.repeat(64), 'x')).owner).toBeUndefined()
  })
})
