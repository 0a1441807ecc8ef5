import { beforeEach, describe, expect, test } from 'vitest'
import { createUsageIndex, type UsageIndex } from '../../../src/controller/usage/usage-index.ts'
import type { CredentialObject } from '../../../src/controller/watched/credentials.ts'
import { type OwnerReference, workloadOf } from '../../../src/controller/watched/owners.ts'
import { clusterCredential, credential, owner, pod, ROTATED, seconds, variables } from './objects.ts'

const WANDB = 'Credential/team-a/wandb'
const DOCKERHUB = 'ClusterCredential/dockerhub'

let index: UsageIndex
let changed: Set<string>
let owners: Map<string, OwnerReference>
let offered: Set<string>
let copies: Map<string, number>

beforeEach(() => {
  changed = new Set()
  owners = new Map()
  offered = new Set(['team-a', 'team-b'])
  copies = new Map()
  index = createUsageIndex({
    workloadOf: (its) => workloadOf(its, (_, key) => owners.get(key)),
    isOffered: (_: CredentialObject, namespace) => offered.has(namespace),
    copiedAt: (key) => copies.get(key),
    onChange: (key) => void changed.add(key),
  })
  index.putCredential(credential('wandb', 'wandb-secret'))
  index.putCredential(clusterCredential('dockerhub'))
})

const record = (kind: string, name: string) => ({ kind, name, revision: undefined })

describe('a pod uses', () => {
  test.each(['variables', 'files', 'login'] as const)('what it refers to, as %s', (as) => {
    index.putPod(pod('p', { uses: [{ secret: 'wandb-secret', as, since: undefined }] }))
    expect(index.usageOf(WANDB)).toMatchObject({ pods: 1, byHand: 1, names: ['Pod/p (by hand)'] })
  })

  test('a credential once, however many ways lead to it', () => {
    const uses = (['variables', 'files'] as const).map((as) => ({
      secret: 'wandb-secret',
      as,
      since: undefined,
    }))
    index.putPod(pod('p', { uses, injected: [record('Credential', 'wandb')] }))
    expect(index.usageOf(WANDB)).toMatchObject({ pods: 1, byHand: 0, workloads: 0, names: ['Pod/p'] })
  })

  test('nothing that only its record names: anybody can write that', () => {
    index.putPod(pod('p', { uses: [variables('another')], injected: [record('Credential', 'wandb')] }))
    expect(index.usageOf(WANDB).pods).toBe(0)
  })

  test('nothing of another namespace', () => {
    index.putPod(pod('p', { namespace: 'team-b' }))
    expect(index.usageOf(WANDB).pods).toBe(0)
  })

  test('a ClusterCredential by its copy, wherever it is offered', () => {
    const uses = [variables('credential-dockerhub')]
    for (const namespace of ['team-a', 'team-b', 'team-c']) index.putPod(pod('p', { namespace, uses }))
    expect(index.usageOf(DOCKERHUB)).toMatchObject({
      pods: 2,
      names: ['team-a/Pod/p (by hand)', 'team-b/Pod/p (by hand)'],
    })
    offered.add('team-c')
    changed.clear()
    index.namespaceChanged('team-c')
    expect(changed).toEqual(new Set([DOCKERHUB]))
    expect(index.usageOf(DOCKERHUB).pods).toBe(3)
  })

  test('of several credentials with one Secret the recorded ones, by hand all of them', () => {
    index.putCredential(credential('other', 'wandb-secret'))
    index.putPod(pod('recorded', { injected: [record('Credential', 'other')] }))
    index.putPod(pod('by-hand'))
    expect(index.usageOf(WANDB).names).toEqual(['Pod/by-hand (by hand)'])
    expect(index.usageOf('Credential/team-a/other').names).toEqual(['Pod/by-hand (by hand)', 'Pod/recorded'])
    index.removeCredential('Credential/team-a/other')
    expect(index.usageOf(WANDB).names).toEqual(['Pod/by-hand (by hand)', 'Pod/recorded (by hand)'])
  })

  test('nothing any more when it has ended, or is gone', () => {
    for (const name of ['a', 'b', 'c']) index.putPod(pod(name))
    index.putPod(pod('a', { isOver: true }))
    index.removePod(pod('b'))
    expect(index.usageOf(WANDB).names).toEqual(['Pod/c (by hand)'])
  })

  test('what the credential names now, not what it named before', () => {
    index.putPod(pod('p'))
    index.putPod(pod('q', { uses: [variables('next')] }))
    index.putCredential(credential('wandb', 'next'))
    expect(index.usageOf(WANDB).names).toEqual(['Pod/q (by hand)'])
    index.removeCredential(WANDB)
    expect(index.usageOf(WANDB).pods).toBe(0)
  })
})

describe('workloads', () => {
  const owned = (name: string, by: OwnerReference) =>
    pod(name, { owner: by, injected: [record('Credential', 'wandb')] })

  test('are Deployments and CronJobs, as soon as that is known', () => {
    index.putPod(owned('n-1-a', owner('ReplicaSet', 'n-1')))
    index.putPod(owned('n-1-b', owner('ReplicaSet', 'n-1')))
    index.putPod(owned('m-0', owner('StatefulSet', 'm')))
    expect(index.usageOf(WANDB)).toMatchObject({
      pods: 3,
      workloads: 2,
      names: ['ReplicaSet/n-1', 'StatefulSet/m'],
    })
    owners.set('team-a/n-1', owner('Deployment', 'n'))
    changed.clear()
    index.ownerChanged('ReplicaSet/team-a/n-1')
    expect(changed).toEqual(new Set([WANDB]))
    expect(index.usageOf(WANDB).names).toEqual(['Deployment/n', 'StatefulSet/m'])
  })

  test('are marked while any of their pods refers by hand', () => {
    index.putPod(owned('a', owner('StatefulSet', 'm')))
    index.putPod(pod('b', { owner: owner('StatefulSet', 'm') }))
    expect(index.usageOf(WANDB)).toMatchObject({ byHand: 1, names: ['StatefulSet/m (by hand)'] })
  })

  test('are listed up to 20, and counted beyond', () => {
    for (let n = 100; n < 150; n++) index.putPod(owned(`p-${n}`, owner('StatefulSet', `s-${n}`)))
    const { pods, workloads, names } = index.usageOf(WANDB)
    expect({ pods, workloads, count: names.length }).toEqual({ pods: 50, workloads: 50, count: 20 })
    expect([names[0], names[19]]).toEqual(['StatefulSet/s-100', 'StatefulSet/s-119'])
  })
})

describe('stale', () => {
  const ROTATION = { revision: 'new', lastRotated: ROTATED }
  const old = (name: string, some: object = {}) =>
    pod(name, { uses: [variables('wandb-secret', seconds(-10))], ...some })

  test('are pods with old variables, by workload and until they are being deleted', () => {
    index.putPod(old('a'))
    index.putPod(old('b', { isEnding: true }))
    index.putPod(pod('c', { uses: [variables('wandb-secret', seconds(60))] }))
    expect(index.usageOf(WANDB).stale.pods).toBe(0)
    index.putCredential(credential('wandb', 'wandb-secret', ROTATION))
    expect(index.usageOf(WANDB)).toMatchObject({
      pods: 3,
      stale: { pods: 1, users: [{ name: 'Pod/a', subject: { kind: 'Pod', uid: 'uid-of-a' } }] },
    })
  })

  test('is what each pod is asked for, whatever the status of others', () => {
    const now = credential('wandb', 'wandb-secret', ROTATION)
    index.putCredential(now)
    expect(index.missedBy(old('a'))).toEqual([now])
    expect(index.missedBy(old('a', { isEnding: true }))).toEqual([])
    expect(index.missedBy(old('a', { uses: [variables('another', seconds(-10))] }))).toEqual([])
  })

  test('follows the arrival of copies', () => {
    index.putCredential(clusterCredential('dockerhub', ROTATION))
    const uses = [variables('credential-dockerhub', seconds(15))]
    index.putPod(pod('p', { uses }))
    expect(index.usageOf(DOCKERHUB).stale.pods).toBe(0)
    copies.set('team-a/credential-dockerhub', seconds(20))
    changed.clear()
    index.secretChanged('team-a/credential-dockerhub')
    expect(changed).toEqual(new Set([DOCKERHUB]))
    expect(index.usageOf(DOCKERHUB).stale.users.map(({ name }) => name)).toEqual(['team-a/Pod/p'])
  })
})

test('what makes no difference is not told', () => {
  index.putPod(pod('p'))
  changed.clear()
  index.putPod(pod('p', { labels: { changed: 'yes' } }))
  index.putPod(pod('q', { uses: [variables('of-nobody')] }))
  index.putCredential(credential('wandb', 'wandb-secret', { usedBy: { pods: 1, workloads: 0 } }))
  expect(changed).toEqual(new Set())
})
