/** Questions to an API server that is slow, from namespaces that ask much and others that ask little. */
import { beforeEach, expect, test } from 'vitest'
import { KubeError, type KubeObject } from '../../src/kube/client.ts'
import { type ClusterReads, createDirectReads } from '../../src/store/direct-reads.ts'

/** Paths that were asked for, in order, and are not answered yet. */
let asked: { readonly path: string; readonly answer: () => void }[]
let reads: ClusterReads

beforeEach(() => {
  asked = []
  reads = createDirectReads({
    client: {
      get: <T>(path: string) =>
        new Promise<T>((resolve, reject) => {
          const answer = () =>
            path.startsWith('/api/')
              ? resolve({ metadata: { name: path } } as T & KubeObject)
              : reject(new KubeError(404, 'NotFound', 'there is none'))
          asked.push({ path, answer })
        }),
    },
    has: ({ kind, name }) => kind === 'Namespace' && !name.startsWith('fresh'),
    found: () => true,
    labelsMatter: () => true,
  })
})

const names = (prefix: string) =>
  Array.from({ length: 16 }, (_, index) => ({ cluster: false, name: `${prefix}-${index}` }))

/** Pods that each name other credentials, which do not exist. */
const flood = (namespace: string, pods: number) =>
  Array.from({ length: pods }, (_, pod) => reads.lookUp(namespace, names(`${namespace}-${pod}`)))

/** Until nobody asks any more. */
async function answerAll(): Promise<void> {
  for (let round = 0; asked.length > 0 || round < 20; round++) {
    for (const { answer } of asked.splice(0)) answer()
    await new Promise(setImmediate)
  }
}

test('a namespace that is new, and a policy, are asked for at once whatever others have named', async () => {
  const floods = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].flatMap((namespace) => flood(namespace, 20))
  const answer = reads.lookUp('fresh', [], { policy: 'p', revision: { uid: 'u', generation: 1 } })
  await new Promise(setImmediate)
  const paths = asked.map(({ path }) => path)
  expect(paths).toContain('/api/v1/namespaces/fresh')
  expect(paths).toContain('/apis/run.ai/v1/credentialpolicies/p')
  expect(paths.length).toBeLessThanOrEqual(16 + 4)
  expect(reads.counts.busy).toBeGreaterThan(0)
  await answerAll()
  expect(await answer).toEqual({ unchecked: new Map(), policiesUnchecked: undefined })
  await Promise.all(floods)
})

test('a namespace that names much keeps no other from asking, nor waiting long', async () => {
  const floods = flood('loud', 20)
  const answer = reads.lookUp('quiet', [{ cluster: false, name: 'one' }])
  await new Promise(setImmediate)
  // One round for those under way, and its turn comes next.
  for (const { answer } of asked.splice(0)) answer()
  await new Promise(setImmediate)
  expect(asked.map(({ path }) => path)).toContain('/apis/run.ai/v1/namespaces/quiet/credentials/one')
  await answerAll()
  expect(await answer).toEqual({ unchecked: new Map(), policiesUnchecked: undefined })
  const said = (await Promise.all(floods)).flatMap((found) => [...(found?.unchecked.values() ?? [])])
  expect(new Set(said)).toEqual(new Set(['too many questions to the API server at once']))
})
