/** The entries against an API server that has its own mind: what it refuses, what it adds, and what it does not have. */
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Configuration, followConfiguration } from '../../../src/controller/policies/configuration.ts'
import {
  entryName,
  type StoredPolicy,
  type WebhookConfiguration,
  type WebhookEntry,
} from '../../../src/controller/policies/entries.ts'
import { KubeError } from '../../../src/kube/client.ts'

const TEMPLATE: WebhookEntry = {
  name: 'pods.credentials.run.ai',
  clientConfig: { url: 'https://127.0.0.1/mutate/pods', caBundle: 'QQ==' },
  sideEffects: 'None',
}

let stored: Map<string, WebhookConfiguration>
let version: number
let patches: { isDryRun: boolean; names: string[] }[]
let refuses: (entry: WebhookEntry) => boolean
let adds: (entry: WebhookEntry) => WebhookEntry
let faults: Error[]
let isLeading: boolean
let end: AbortController
let configuration: Configuration

beforeEach(() => {
  stored = new Map()
  version = 1
  patches = []
  refuses = () => false
  adds = (entry) => entry
  faults = []
  isLeading = true
  end = new AbortController()
})

afterEach(async () => {
  end.abort()
  await configuration?.stop()
})

function put(
  name: string,
  webhooks: readonly WebhookEntry[],
  annotations?: Record<string, string>,
): WebhookConfiguration {
  const metadata = { name, uid: 'u', resourceVersion: String(++version), annotations }
  const object = { metadata, webhooks }
  stored.set(name, object)
  return object
}

const client = {
  async get<T>(path: string): Promise<T> {
    const name = /metadata\.name%3D([a-z-]+)/.exec(path)?.[1] as string
    const items = stored.has(name) ? [stored.get(name)] : []
    return { metadata: { resourceVersion: String(version) }, items } as T
  },
  async *stream(_path: string, { signal, onOpen }: any = {}): AsyncGenerator<unknown> {
    onOpen?.()
    if (!signal.aborted) await once(signal, 'abort')
    yield* []
  },
  async patch<T>(path: string, _type: string, body: any): Promise<T> {
    const isDryRun = path.endsWith('?dryRun=All')
    patches.push({ isDryRun, names: body.webhooks.map(({ name }: WebhookEntry) => name.split('.')[0]) })
    const fault = faults.shift()
    if (fault) throw fault
    const bad = body.webhooks.find(refuses)
    if (bad) throw new KubeError(422, 'Invalid', `${bad.name} is not to my taste`)
    const made = body.webhooks.map(adds)
    return (isDryRun ? { metadata: { name: 'policies' }, webhooks: made } : put('policies', made)) as T
  },
}

async function open(managesBundles = false): Promise<void> {
  configuration = followConfiguration({
    client,
    names: { policies: 'policies', pods: 'pods' },
    ownNamespace: 'credential-injector',
    managesBundles,
    isLeading: () => isLeading,
    signal: end.signal,
    onChange() {},
    onTrouble() {},
  })
  await configuration.synced
}

function policy(name: string, spec: object = {}): StoredPolicy {
  return {
    name,
    spec: { namespaceSelector: {}, credentials: ['a'], enforcement: 'Enforce', ...spec },
    revision: { uid: 'u', generation: 1 },
  }
}

const names = () => stored.get('policies')?.webhooks?.map(({ name }) => name)
const POLICIES = ['a', 'b', 'c'].map((name) => policy(name))
const [A, B, C] = POLICIES as [StoredPolicy, StoredPolicy, StoredPolicy]

describe('what is there', () => {
  beforeEach(() => {
    put('pods', [TEMPLATE])
    put('policies', [])
  })

  test('is written once, and not again', async () => {
    await open()
    expect(await configuration.bring(POLICIES)).toBe('write')
    expect(await configuration.bring(POLICIES)).toBe('nothing')
    expect(names()).toEqual(['a', 'b', 'c'].map(entryName))
    expect(configuration.stateOf(A)).toEqual({ kind: 'InEffect' })
    expect(await configuration.bring([B])).toBe('write')
    expect(names()).toEqual([entryName('b')])
    expect(configuration.asSent(A)).toBeUndefined()
  })

  test('was written already if only somebody else can have changed it', async () => {
    await open()
    expect(configuration.hasWritten(POLICIES)).toBe(false)
    await configuration.bring(POLICIES)
    expect(configuration.hasWritten(POLICIES)).toBe(true)
    expect(configuration.hasWritten([A])).toBe(false)
    expect(configuration.hasWritten([policy('a', { podSelector: { matchLabels: { x: 'y' } } }), B, C])).toBe(
      false,
    )
  })

  test('is not written by who does not lead', async () => {
    await open()
    isLeading = false
    await expect(configuration.bring(POLICIES)).rejects.toThrow('another instance may be leading')
    expect(patches).toEqual([])
  })

  test('what a later API server adds by itself is no reason to write again', async () => {
    adds = (entry) => ({ ...entry, newField: 'default' })
    await open()
    expect(await configuration.bring(POLICIES)).toBe('write')
    expect(await configuration.bring(POLICIES)).toBe('nothing')
    expect(configuration.stateOf(A)).toEqual({ kind: 'InEffect' })
    expect(await configuration.bring([A, B])).toBe('write')
  })

  test('one entry that the API server refuses does not keep the others out', async () => {
    refuses = ({ name }) => name === entryName('b')
    await open()
    expect(await configuration.bring(POLICIES)).toBe('write')
    expect(names()).toEqual(['a', 'c'].map(entryName))
    expect(configuration.stateOf(A)).toEqual({ kind: 'InEffect' })
    expect(configuration.stateOf(B)).toEqual({
      kind: 'NotInEffect',
      reason: 'EntryRefused',
      message: `The API server refuses what the policy asks for: ${entryName('b')} is not to my taste`,
    })
    expect(patches.map(({ isDryRun }) => isDryRun)).toEqual([false, true, true, true, false])
    // It is not asked again and again for the same.
    expect(await configuration.bring(POLICIES)).toBe('nothing')
    refuses = () => false
    expect(await configuration.bring([A, { ...B, revision: { uid: 'u', generation: 2 } }, C])).toBe('write')
    expect(names()).toEqual(['a', 'b', 'c'].map(entryName))
  })

  test('what is refused for another reason than an entry is told, and tried again', async () => {
    faults = [new KubeError(403, 'Forbidden', 'you may not')]
    await open()
    await expect(configuration.bring([A])).rejects.toThrow('you may not')
    expect(configuration.stateOf(A)).toMatchObject({
      reason: 'NotWritten',
      message: expect.stringContaining('you may not'),
    })
    expect(await configuration.bring([A])).toBe('write')
    expect(configuration.stateOf(A)).toEqual({ kind: 'InEffect' })
  })

  test('a policy that could not be written is sent only as far as its old entry reaches', async () => {
    const narrow = policy('a', {
      namespaceSelector: { matchLabels: { team: 'ml' } },
      podSelector: { matchExpressions: [{ key: 'gpu', operator: 'Exists' }] },
    })
    await open()
    await configuration.bring([narrow])
    expect(configuration.asSent(narrow)).toEqual(narrow)

    const wide = policy('a', { namespaceSelector: { matchLabels: { region: 'eu' } }, credentials: ['b'] })
    faults = [new KubeError(403, 'Forbidden', 'you may not')]
    await expect(configuration.bring([wide])).rejects.toThrow('you may not')
    expect(configuration.asSent(wide)).toEqual(
      policy('a', {
        credentials: ['b'],
        namespaceSelector: {
          matchLabels: { region: 'eu' },
          matchExpressions: [{ key: 'team', operator: 'In', values: ['ml'] }],
        },
        podSelector: { matchExpressions: [{ key: 'gpu', operator: 'Exists' }] },
      }),
    )

    await configuration.bring([wide])
    expect(configuration.asSent(wide)).toEqual(wide)
  })

  test('a conflict is no failure', async () => {
    faults = [new KubeError(409, 'Conflict', 'somebody was faster')]
    await open()
    await expect(configuration.bring([A])).rejects.toThrow('somebody was faster')
    expect(configuration.stateOf(A)).toEqual({ kind: 'Pending' })
  })
})

describe.each([
  ['cert-manager writes bundles', { 'cert-manager.io/inject-ca-from': 'x/y' }, false, 'Qg=='],
  ['this program’s other duty writes bundles', undefined, true, 'Qg=='],
  ['nobody else writes bundles', undefined, false, 'QQ=='],
])('where %s', (_, annotations, managesBundles, expected) => {
  test('an entry that is there has the right one', async () => {
    put('pods', [TEMPLATE])
    put('policies', [{ name: entryName('a'), clientConfig: { caBundle: 'Qg==' } }], annotations)
    await open(managesBundles)
    await configuration.bring([A, B])
    expect(stored.get('policies')?.webhooks?.map(({ clientConfig }) => clientConfig.caBundle)).toEqual([
      expected,
      'QQ==',
    ])
  })
})

describe('what is missing', () => {
  test('the configuration: nothing is written, and it is said', async () => {
    put('pods', [TEMPLATE])
    await open()
    expect(await configuration.bring([A])).toBe('nothing')
    expect(configuration.exists()).toBe(false)
    expect(configuration.stateOf(A)).toMatchObject({ reason: 'ConfigurationMissing' })
  })

  test('the one for annotated pods: what is over ends all the same', async () => {
    const present = ['a', 'b'].map((name) => ({ ...TEMPLATE, name: entryName(name) }))
    put('policies', present)
    await open()
    expect(await configuration.bring([B, C])).toBe('write')
    expect(names()).toEqual([entryName('b')])
    expect(configuration.stateOf(C)).toMatchObject({ reason: 'RegistrationMissing' })
  })
})
