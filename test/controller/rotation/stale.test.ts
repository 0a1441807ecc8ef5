import { beforeEach, describe, expect, test } from 'vitest'
import { type StaleWorkloads, watchStale } from '../../../src/controller/rotation/stale.ts'
import type { CredentialObject } from '../../../src/controller/watched/credentials.ts'
import type { Changes } from '../../../src/controller/watched/index.ts'
import { factsOf, type PodFacts, type StoredPod } from '../../../src/controller/watched/pods.ts'

/** Which pod has missed which rotation is told by the index of usage: here, who says so in an annotation. */
const MISSED = 'missed'
const ROTATED = '2026-11-25T01:00:00Z'
const BEFORE = '2026-11-25T00:59:59Z'
const MISSES = { [MISSED]: 'Credential/team/wandb' }

/** What the watches have, and the one who listens to them. */
class Watches {
  readonly credentials = new Map<string, CredentialObject>()
  readonly pods = new Map<string, PodFacts>()
  /** Deployments of ReplicaSets; one that is not there is not known yet. */
  readonly deployments = new Map<string, string>()
  readonly copies = new Map<string, number>()
  readonly missed = new Map<string, string[]>()
  readonly told: string[] = []
  changes: Changes = {}

  start(): StaleWorkloads {
    return watchStale({
      watched: {
        credential: (key) => this.credentials.get(key),
        credentials: () => this.credentials.values(),
        pods: () => this.pods.values(),
        copiedAt: (key) => this.copies.get(key),
        workloadOf: ({ owner, namespace }) => {
          const name = owner && this.deployments.get(owner.name)
          if (owner === undefined) return undefined
          const { apiVersion, kind, uid } = owner
          if (name === undefined) return { apiVersion, kind, namespace, name: owner.name, uid }
          return { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name, uid: `uid-${name}` }
        },
        subscribe: (changes) => {
          this.changes = changes
        },
      },
      missedBy: ({ name }) =>
        [...(this.missed.get(name) ?? [])].flatMap((key) => this.credentials.get(key) ?? []),
      onChange: (key) => void this.told.push(key),
      now: () => Date.parse(ROTATED),
    })
  }

  credential(name: string, { kind = 'Credential' as const, status = {}, spec = {} }: any = {}): void {
    const namespace = kind === 'Credential' ? 'team' : undefined
    const key = namespace === undefined ? `${kind}/${name}` : `${kind}/${namespace}/${name}`
    this.credentials.set(key, {
      kind,
      metadata: { name, namespace },
      spec: { secretRef: { name }, type: 'environment', ...spec },
      status: { revision: 'r2', lastRotated: ROTATED, ...status },
    } as CredentialObject)
    this.changes.credential?.(key)
  }

  pod(name: string, { annotations = MISSES, owner = 'rs', spec, created }: any = {}): void {
    this.missed.set(name, annotations[MISSED]?.split(',') ?? [])
    const stored = {
      metadata: {
        name,
        namespace: 'team',
        uid: name,
        annotations,
        creationTimestamp: created ?? ROTATED,
        ownerReferences: owner && [
          { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: `uid-${owner}`, controller: true },
        ],
      },
      spec: spec ?? { containers: [{ name: 'main', envFrom: [{ secretRef: { name: 'wandb' } }] }] },
      status: { phase: 'Running' },
    }
    const before = this.pods.get(name)
    const now = factsOf(stored as unknown as StoredPod)
    this.pods.set(name, now)
    this.changes.pod?.(now, before)
  }
}

let watches: Watches
beforeEach(() => {
  watches = new Watches()
  watches.deployments.set('rs', 'web')
  watches.credential('wandb')
})

const KEY = 'Deployment/team/web'

test('a pod that was started before the rotation is stale, by its workload', () => {
  watches.pod('p')
  const stale = watches.start()
  const found = {
    workload: { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'team', name: 'web', uid: 'uid-web' },
    wishes: new Set([undefined]),
    rotations: [{ credential: 'Credential/wandb', revision: 'r2', at: ROTATED, isAutomatic: false }],
  }
  expect(stale.get(KEY)).toEqual(found)
  expect([...stale.all()]).toEqual([found])
  expect(stale.get('Deployment/team/other')).toBeUndefined()
})

describe('a pod', () => {
  test.each<[string, object, boolean]>([
    ['that has missed a rotation', {}, true],
    ['that has not', { annotations: {} }, false],
    ['without an owner', { owner: null }, false],
    ['without either', { spec: { containers: [], imagePullSecrets: [{ name: 'wandb' }] } }, false],
  ])('%s: stale %s', (_, pod, is) => {
    watches.pod('p', pod)
    expect(watches.start().get(KEY) !== undefined).toBe(is)
  })

  test('of a ClusterCredential', () => {
    watches.credential('hub', { kind: 'ClusterCredential', spec: { rotation: { restart: 'Automatic' } } })
    watches.pod('p', { annotations: { [MISSED]: 'ClusterCredential/hub' } })
    const stale = watches.start()
    const names = () =>
      stale.get(KEY)?.rotations.map(({ credential, isAutomatic }) => [credential, isAutomatic])
    expect(names()).toEqual([['ClusterCredential/hub', true]])
    watches.changes.secret?.('team/credential-hub')
    watches.changes.secret?.('other/credential-hub')
    watches.changes.secret?.('team/hub')
    expect(watches.told.splice(0)).toEqual([KEY])
    watches.credential('hub', { kind: 'ClusterCredential', status: { revision: 'r3' } })
    expect(watches.told).toEqual([KEY])
  })

  test.each<[string, object]>([
    ['was never rotated', { lastRotated: undefined }],
    ['has not been looked at', { revision: undefined, lastRotated: undefined }],
  ])('is nothing to restart for when its credential %s', (_, status) => {
    watches.credential('wandb', { status })
    watches.pod('p')
    expect(watches.start().get(KEY)).toBeUndefined()
  })
})

describe('files are renewed in place, and yet restarted for where the credential asks for it', () => {
  const AUTOMATIC = { type: 'file', rotation: { restart: 'Automatic' } }
  const withFiles = (secret: string, created = BEFORE) => ({
    annotations: {},
    created,
    spec: { containers: [], volumes: [{ projected: { sources: [{ secret: { name: secret } }] } }] },
  })
  const AFTER = '2026-11-25T01:00:01Z'

  test.each<[string, object, object, boolean]>([
    ['of files, Automatic', AUTOMATIC, withFiles('wandb'), true],
    ['of files, Automatic, and the pod is new', AUTOMATIC, withFiles('wandb', AFTER), false],
    ['of files, Never', { type: 'file' }, withFiles('wandb'), false],
    ['of variables', { rotation: { restart: 'Automatic' } }, withFiles('wandb'), false],
    ['of files, Automatic, with another Secret', AUTOMATIC, withFiles('other'), false],
  ])('a credential %s', (_, spec, pod, is) => {
    watches.pod('p', pod)
    const stale = watches.start()
    watches.credential('wandb', { spec })
    expect(stale.get(KEY) !== undefined).toBe(is)
    watches.credential('wandb', { spec: { type: 'file' } })
    expect(stale.get(KEY)).toBeUndefined()
  })

  test('a ClusterCredential, by when its copy came', () => {
    watches.credential('ca', { kind: 'ClusterCredential', spec: AUTOMATIC })
    watches.pod('p', withFiles('credential-ca', AFTER))
    const stale = watches.start()
    expect(stale.get(KEY)).toBeUndefined()
    watches.copies.set('team/credential-ca', Date.parse('2026-11-25T01:00:02Z'))
    watches.changes.secret?.('team/credential-ca')
    expect(watches.told.splice(0)).toEqual([KEY])
    expect(stale.get(KEY)?.rotations.map(({ credential }) => credential)).toEqual(['ClusterCredential/ca'])
  })

  test.each<[string, string, boolean]>([
    ['the present content', 'ClusterCredential/ca@r2', false],
    ['an older content', 'ClusterCredential/ca@r1', true],
  ])('a copy that is made again later is no rotation for a pod that was made with %s: stale %s', (...its) => {
    const [, record, is] = its
    watches.credential('ca', { kind: 'ClusterCredential', spec: AUTOMATIC })
    const pod = withFiles('credential-ca', '2026-11-25T01:15:01Z')
    watches.pod('p', { ...pod, annotations: { 'credentials.run.ai/injected': record } })
    watches.copies.set('team/credential-ca', Date.parse('2026-12-25T00:00:00Z'))
    expect(watches.start().get(KEY) !== undefined).toBe(is)
  })
})

test('a workload has the pods of all its ReplicaSets, and the wishes of those that are stale', () => {
  const wish = (value: string, more: object = MISSES) => ({
    annotations: { ...more, 'credentials.run.ai/restart-on-rotation': value },
  })
  watches.deployments.set('rs2', 'web')
  watches.pod('p', wish('true'))
  watches.pod('q', { owner: 'rs2' })
  watches.pod('fresh', wish('false', {}))
  expect(watches.start().get(KEY)?.wishes).toEqual(new Set([true, undefined]))
})

test('a ReplicaSet’s owner may be heard of later than its pods', () => {
  watches.deployments.clear()
  watches.pod('p')
  const stale = watches.start()
  expect(stale.get(KEY)).toBeUndefined()
  watches.deployments.set('rs', 'web')
  expect(stale.get(KEY)).toBeDefined()
  watches.changes.owner?.('ReplicaSet/team/rs')
  expect(watches.told).toEqual([KEY])
})

describe('a Deployment that is deleted is told of, though its ReplicaSet goes before the pods', () => {
  const deleteAll = () => {
    // Nothing leads from the pods to the Deployment any more.
    watches.deployments.delete('rs')
    watches.changes.owner?.('ReplicaSet/team/rs')
    watches.changes.pod?.(undefined, watches.pods.get('p'))
  }

  test.each(['before', 'after'])('with pods that came %s the start', (when) => {
    if (when === 'before') watches.pod('p')
    watches.start()
    if (when === 'after') watches.pod('p')
    watches.told.splice(0)
    deleteAll()
    expect(watches.told).toEqual([KEY])
  })

  test('once: the next ReplicaSet of that uid is another one’s', () => {
    watches.start()
    watches.pod('p')
    watches.changes.pod?.(undefined, watches.pods.get('p'))
    watches.told.splice(0)
    watches.deployments.delete('rs')
    watches.changes.pod?.(undefined, watches.pods.get('p'))
    expect(watches.told).toEqual([])
  })
})

test('Jobs, which are never restarted, are not told of: each would cost a look', () => {
  const stale = watches.start()
  watches.deployments.delete('rs')
  watches.pod('p')
  watches.credential('wandb', { status: { revision: 'r3' } })
  watches.changes.owner?.('ReplicaSet/team/rs')
  expect(watches.told).toEqual([])
  expect(stale.get('ReplicaSet/team/rs')).toBeDefined()
})

test('an owner that becomes known is told of alone, not all of its namespace', () => {
  watches.deployments.set('other', 'other')
  watches.pod('p')
  watches.pod('q', { owner: 'other' })
  watches.start()
  watches.changes.owner?.('ReplicaSet/team/other')
  expect(watches.told).toEqual(['Deployment/team/other'])
})

test('what changes is told, and what makes no difference is not', () => {
  const stale = watches.start()
  watches.pod('p')
  expect(watches.told.splice(0)).toEqual([KEY])
  watches.credential('wandb', { status: { keys: ['A'] } })
  watches.credential('unused')
  expect(watches.told.splice(0)).toEqual([])
  watches.credential('wandb', { spec: { rotation: { restart: 'Automatic' } } })
  expect(watches.told.splice(0)).toEqual([KEY])
  expect(stale.get(KEY)?.rotations[0]?.isAutomatic).toBe(true)
  const gone = watches.pods.get('p')
  watches.changes.pod?.(undefined, gone)
  expect(watches.told.splice(0)).toEqual([KEY])
  expect(stale.get(KEY)).toBeUndefined()
  watches.pod('p')
  watches.credentials.delete('Credential/team/wandb')
  watches.changes.credential?.('Credential/team/wandb')
  expect(stale.get(KEY)).toBeUndefined()
})

test('which workloads were restarted a moment ago is seen by their pods', () => {
  const record = { annotations: { 'credentials.run.ai/restarted-for': 'x' } }
  watches.deployments.set('old', 'old')
  watches.deployments.set('plain', 'plain')
  watches.pod('p', { ...record, created: BEFORE })
  watches.pod('q', { ...record, owner: 'old', created: '2026-11-25T00:00:00Z' })
  watches.pod('r', { owner: 'plain', created: BEFORE })
  expect([...watches.start().restartedWithin(60_000)].map(({ name }) => name)).toEqual(['web'])
})
