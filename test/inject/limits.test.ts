/** What a small request may cost: answers stay in proportion, whatever the pod and its names are. */
import { describe, expect, test } from 'vitest'
import { denialMessage, inject, type Outcome } from '../../src/inject/index.ts'
import { volumeName, volumeOf } from '../../src/inject/volumes.ts'
import { createMemoryStore } from '../../src/store/memory.ts'

const NAMESPACE = 'team'

const store = createMemoryStore()
const file = { type: 'file', secretRef: { name: 'file-secret' }, mountPath: '/files' } as const
store.put({ kind: 'Credential', namespace: NAMESPACE, name: 'files', spec: file })
const environment = { type: 'environment', secretRef: { name: 'env-secret' } } as const
store.put({ kind: 'Credential', namespace: NAMESPACE, name: 'env', spec: environment })
const keys = Array.from({ length: 64 }, (_, index) => `KEY_${index}`)
store.put({ kind: 'Secret', namespace: NAMESPACE, name: 'env-secret', type: 'Opaque', keys })

function judge(annotations: Record<string, string>, spec: object): Outcome {
  const pod = {
    metadata: {
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [`credentials.run.ai/${key}`, value]),
      ),
    },
    spec,
  }
  return inject({ pod, view: store.view(NAMESPACE), excludedNamespaces: new Set(), now: 0 })
}

const containers = (count: number, name = (index: number) => `c${index}`) =>
  Array.from({ length: count }, (_, index) => ({ name: name(index) }))

const size = (outcome: Outcome) => JSON.stringify(outcome).length
const messagesOf = (outcome: Outcome) =>
  outcome.kind === 'Denied' ? outcome.problems.map(({ reason, message }) => `${reason}: ${message}`) : []

test('a pod that asks for more than any pod can hold is refused with a sentence', () => {
  const everywhere = Array.from({ length: 256 }, (_, index) => `files=/a${index}`).join()
  const outcome = judge({ inject: everywhere }, { containers: containers(3000) })
  expect(messagesOf(outcome)).toEqual([expect.stringMatching(/^InvalidAnnotation: so many credentials/)])
  expect(size(outcome)).toBeLessThan(10_000)
})

test('what a pod can hold is injected', () => {
  const many = Array.from({ length: 50 }, (_, index) => `files=/a${index}`).join()
  expect(judge({ inject: many }, { containers: containers(50) }).kind).toBe('Injected')
})

test('a pod of very many containers does not list them in every problem', () => {
  const unknown = Array.from({ length: 256 }, (_, index) => `zz${index}q`).join()
  const named = containers(20_000, (index) => `container-with-quite-a-long-name-${index}`)
  const outcome = judge({ containers: unknown }, { containers: named })
  expect(messagesOf(outcome)).toHaveLength(256)
  expect(messagesOf(outcome)[0]).toMatch(/it has container-with-quite-a-long-name-0, .* and 19990 more$/)
  expect(size(outcome)).toBeLessThan(300_000)
})

test('names of a megabyte, which the API server looks at only later, stay out of the sentences', () => {
  const name = 'x'.repeat(1024 * 1024)
  const env = keys.map((key) => ({ name: key, value: 'own' }))
  const outcome = judge({ inject: 'env', 'on-conflict': 'Reject' }, { containers: [{ name, env }] })
  expect(messagesOf(outcome)).toHaveLength(64)
  expect(size(outcome)).toBeLessThan(300_000)
})

test('a long first problem leaves room for the others', () => {
  const named = containers(150, (index) => `${'n'.repeat(58)}${index}`)
  const outcome = judge({ inject: 'nope, nope2', containers: 'zz' }, { containers: named })
  const message = outcome.kind === 'Denied' ? denialMessage(outcome.problems) : ''
  for (const part of ['no container "zz"', 'nope does', 'nope2 does']) expect(message).toContain(part)
})

test('thousands of mounts that look like ours are compared without a search for each', () => {
  // Counted, not timed: how often the list of volumes is walked must not depend on the mounts.
  const projection = { sources: [{ name: 'file-secret' }], defaultMode: 0o400 }
  const volume = volumeOf(volumeName(projection), projection)
  let walks = 0
  const volumes = new Proxy([volume], {
    get(target, property, receiver) {
      if (property === Symbol.iterator || property === 'find' || property === 'map') walks++
      return Reflect.get(target, property, receiver)
    },
  })
  const volumeMounts = Array.from({ length: 500 }, () => ({
    name: volume.name,
    mountPath: '/files',
    readOnly: true,
  }))
  judge({ inject: 'files' }, { containers: [{ name: 'main', volumeMounts }], volumes })
  expect(walks).toBeLessThan(10)
})

describe('secrets with very many keys', () => {
  const many = (count: number) => Array.from({ length: count }, (_, index) => `KEY_${index}`)
  const withKeys = (count: number) => {
    const store = createMemoryStore()
    for (const name of ['one', 'other']) {
      const spec = { type: 'environment', secretRef: { name: `${name}-secret` } } as const
      store.put({ kind: 'Credential', namespace: NAMESPACE, name, spec })
      store.put({
        kind: 'Secret',
        namespace: NAMESPACE,
        name: `${name}-secret`,
        type: 'Opaque',
        keys: many(count),
      })
    }
    return store
  }
  const pod = (mode: string) => ({
    metadata: { annotations: { 'credentials.run.ai/inject': 'one', 'credentials.run.ai/on-conflict': mode } },
    spec: {
      containers: containers(100).map((one) => ({
        ...one,
        envFrom: [{ secretRef: { name: 'other-secret' } }],
      })),
    },
  })
  const outcomeFor = (count: number, mode: string) =>
    inject({ pod: pod(mode), view: withKeys(count).view(NAMESPACE), excludedNamespaces: new Set(), now: 0 })

  test('a thousand and more are taken for unknown, so that nothing is compared for each of them', () => {
    expect(withKeys(999).view(NAMESPACE).credential('one')).toMatchObject({ keys: many(999) })
    expect(withKeys(1000).view(NAMESPACE).credential('one')).toMatchObject({ keys: undefined })
    expect(outcomeFor(20_000, 'WorkloadWins')).toMatchObject({ kind: 'Injected', warnings: [] })
  })

  test('of a conflict for each variable in each container as many are kept as anybody could read', () => {
    const warned = outcomeFor(900, 'WorkloadWins')
    expect(warned.kind).toBe('Injected')
    expect(warned.warnings).toHaveLength(1000)
    const denied = outcomeFor(900, 'Reject')
    expect(denied.kind === 'Denied' && denied.problems.length).toBe(1000)
    expect(denied.kind === 'Denied' && denialMessage(denied.problems)).toMatch(/^1000 or more problems/)
  })

  test('what would take too long to compare is refused', () => {
    const view = withKeys(900).view(NAMESPACE)
    const sources = Array.from({ length: 50 }, () => ({ secretRef: { name: 'other-secret' } }))
    const spec = { containers: containers(20).map((one) => ({ ...one, envFrom: sources })) }
    const outcome = inject({ pod: { ...pod('Reject'), spec }, view, excludedNamespaces: new Set(), now: 0 })
    expect(messagesOf(outcome)).toEqual([expect.stringMatching(/^InvalidAnnotation: so many credentials/)])
  })
})

test('namespaces that nobody knows are not remembered', () => {
  const store = createMemoryStore()
  store.put({ kind: 'Namespace', name: 'known', labels: {} })
  expect(store.view('known')).toBe(store.view('known'))
  expect(store.view('invented')).not.toBe(store.view('invented'))
})
