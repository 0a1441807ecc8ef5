import { describe, expect, test } from 'vitest'
import type { CredentialSpec, LabelSelector } from '../../../src/api/schema.ts'
import { type Assessment, assess, type World } from '../../../src/controller/policies/assessment.ts'
import type { StoredPolicy } from '../../../src/controller/policies/entries.ts'
import { createReader } from '../../../src/controller/policies/reader.ts'
import { type CredentialObject, keyOf } from '../../../src/controller/watched/credentials.ts'
import type { NamespaceFacts } from '../../../src/controller/watched/index.ts'
import type { PodFacts } from '../../../src/controller/watched/pods.ts'

interface Parts {
  policies?: StoredPolicy[]
  namespaces?: NamespaceFacts[]
  credentials?: CredentialObject[]
  pods?: PodFacts[]
}

let breaths = 0

function look({
  policies = [],
  namespaces = [TEAM],
  credentials = [],
  pods = [],
}: Parts): Promise<Assessment> {
  const byKey = new Map(credentials.map((object) => [keyOf(object), object]))
  const world: World = {
    policies,
    namespaces,
    pods: () => pods,
    credential: (key) => byKey.get(key),
    kept: createReader().credential,
    breathe: async () => void breaths++,
  }
  return assess(world)
}

const namespace = (name: string, labels: Record<string, string> = {}): NamespaceFacts => ({
  name,
  labels,
  isEnding: false,
})
const TEAM = namespace('team', { team: 'ml' })

const policy = (
  name: string,
  credentials: string[],
  {
    on = {},
    pods,
    enforcement = 'Enforce',
  }: { on?: LabelSelector; pods?: LabelSelector; enforcement?: 'Enforce' | 'Default' } = {},
): StoredPolicy => ({
  name,
  spec: { namespaceSelector: on, credentials, enforcement, ...(pods && { podSelector: pods }) },
  revision: { uid: `u-${name}`, generation: 1 },
})

const own = (name: string, spec: Partial<CredentialSpec> = {}, home = 'team'): CredentialObject => ({
  kind: 'Credential',
  metadata: { name, namespace: home },
  spec: { secretRef: { name }, type: 'environment', ...spec },
})

const shared = (
  name: string,
  selector: LabelSelector | undefined,
  spec: Partial<CredentialSpec> = {},
): CredentialObject => ({
  kind: 'ClusterCredential',
  metadata: { name },
  spec: {
    secretRef: { name },
    type: 'environment',
    ...(selector && { namespaceSelector: selector }),
    ...spec,
  },
})

const gives = (value: string, name = 'PROJECT') => ({ variables: [{ name, value }] })
const label = (key: string, value: string): LabelSelector => ({ matchLabels: { [key]: value } })

async function conflicts(parts: Parts): Promise<Record<string, string[]>> {
  const all = await look(parts)
  return Object.fromEntries(
    [...all].flatMap(([name, found]) =>
      found.conflicts.size > 0 ? [[name, [...found.conflicts.keys()].sort()]] : [],
    ),
  )
}

describe('where a policy holds, and what it misses there', () => {
  test('namespaces are counted, and what a name means is what the engine takes it for', async () => {
    const all = await look({
      policies: [
        policy('p', ['own', 'offered', 'cluster/own', 'cluster/offered', 'not-offered', 'nowhere']),
        policy('ml', ['own'], { on: label('team', 'ml') }),
        policy('none', ['own'], { on: label('team', 'no') }),
      ],
      namespaces: [TEAM, namespace('other')],
      credentials: [own('own'), shared('offered', {}), shared('not-offered', undefined)],
    })
    expect(all.get('p')?.namespaces).toBe(2)
    expect(all.get('ml')).toMatchObject({ namespaces: 1, missing: new Map() })
    expect(all.get('none')).toMatchObject({ namespaces: 0, missing: new Map() })
    expect(Object.fromEntries(all.get('p')?.missing ?? [])).toEqual({
      own: ['other'],
      'cluster/own': ['other', 'team'],
      'not-offered': ['other', 'team'],
      nowhere: ['other', 'team'],
    })
  })

  test('a credential that nobody can read is missing, and hides the shared one of its name', async () => {
    const broken = own('x', { secretRef: { name: 'NOT A NAME' } })
    const all = await look({ policies: [policy('p', ['x'])], credentials: [broken, shared('x', {})] })
    expect(all.get('p')?.missing.get('x')).toEqual(['team'])
  })
})

describe('two policies cannot both hold', () => {
  const credentials = [own('one', gives('a')), own('two', gives('b')), own('same', gives('a'))]

  test('when they give one variable differently', async () => {
    const policies = [policy('p', ['one']), policy('q', ['two']), policy('r', ['same'])]
    expect(await conflicts({ policies, credentials })).toEqual({ p: ['q'], q: ['p', 'r'], r: ['q'] })
  })

  test('only if one pod can be selected by both', async () => {
    const apart = [
      policy('p', ['one'], { pods: label('gpu', 'yes') }),
      policy('q', ['two'], { pods: label('gpu', 'no') }),
    ]
    expect(await conflicts({ policies: apart, credentials })).toEqual({})
    const together = [apart[0] as StoredPolicy, policy('q', ['two'], { pods: label('cpu', 'yes') })]
    expect(await conflicts({ policies: together, credentials })).toEqual({ p: ['q'], q: ['p'] })
  })

  test('only if both hold in a namespace that there is', async () => {
    const policies = [
      policy('p', ['one'], { on: label('team', 'ml') }),
      policy('q', ['two'], { on: label('stage', 'prod') }),
    ]
    expect(await conflicts({ policies, credentials })).toEqual({})
    const namespaces = [TEAM, namespace('prod', { team: 'ml', stage: 'prod' })]
    const everywhere = [...credentials, own('one', gives('a'), 'prod'), own('two', gives('b'), 'prod')]
    expect(await conflicts({ policies, credentials: everywhere, namespaces })).toEqual({ p: ['q'], q: ['p'] })
  })

  test('in one of many namespaces, by what that one has', async () => {
    const namespaces = Array.from({ length: 30 }, (_, index) => namespace(`n-${index}`))
    const all = namespaces.flatMap(({ name }) => [
      own('one', gives('a'), name),
      own('two', gives(name === 'n-29' ? 'b' : 'a'), name),
    ])
    const policies = [policy('p', ['one']), policy('q', ['two'])]
    expect(await conflicts({ policies, credentials: all, namespaces })).toEqual({ p: ['q'], q: ['p'] })
  })

  test('never where one of them is a default, nor for what they share', async () => {
    const mixed = [policy('p', ['one']), policy('q', ['two'], { enforcement: 'Default' })]
    expect(await conflicts({ policies: mixed, credentials })).toEqual({})
    expect(await conflicts({ policies: [policy('p', ['one']), policy('q', ['one'])], credentials })).toEqual(
      {},
    )
  })

  test('when their files are in each other’s way', async () => {
    const file = (key: string) => ({ type: 'file' as const, mountPath: '/a', files: [{ key, path: 'same' }] })
    const policies = [policy('p', ['one']), policy('q', ['two'])]
    const all = [own('one', file('x')), own('two', file('y'))]
    expect(await conflicts({ policies, credentials: all })).toEqual({ p: ['q'], q: ['p'] })
  })

  test('a policy can contradict itself', async () => {
    const policies = [policy('p', ['one', 'two']), policy('q', ['other'])]
    expect(await conflicts({ policies, credentials })).toEqual({ p: ['p'] })
  })

  test('for a service account that may use both, and for Windows pods, as for others', async () => {
    const policies = [policy('p', ['one']), policy('q', ['two'])]
    const limited = [
      own('one', { ...gives('a'), allowedServiceAccounts: ['x', 'trainer'] }),
      own('two', { ...gives('b'), allowedServiceAccounts: ['trainer'] }),
    ]
    expect(await conflicts({ policies, credentials: limited })).toEqual({ p: ['q'], q: ['p'] })
    const windows = (value: string) => ({ type: 'file' as const, mountPath: 'C:\\keys', ...gives(value) })
    const onWindows = [own('one', windows('a')), own('two', windows('b'))]
    expect(await conflicts({ policies, credentials: onWindows })).toEqual({ p: ['q'], q: ['p'] })
    const alone = [own('one', { type: 'file', mountPath: 'C:\\keys' }), own('two', gives('b'))]
    expect(await conflicts({ policies, credentials: alone })).toEqual({})
  })
})

describe('pods', () => {
  const pod = (record: string[], more: Partial<PodFacts> = {}): PodFacts => ({
    namespace: 'team',
    name: 'p',
    uid: 'u',
    labels: {},
    owner: undefined,
    isOver: false,
    isEnding: false,
    createdAt: 0,
    restart: { wish: undefined, isRecorded: false },
    injected: record.map((text) => {
      const [kind, name] = text.split('/') as [string, string]
      return { kind, name, revision: undefined }
    }),
    uses: [],
    ...more,
  })
  const count = async (its: StoredPolicy, pods: PodFacts[]) =>
    (await look({ policies: [its], pods })).get(its.name)?.injectedPods

  test.each<[string, StoredPolicy, PodFacts[], number]>([
    ['that have it', policy('p', ['a']), [pod(['Credential/a']), pod(['ClusterCredential/a'])], 2],
    [
      'that have all of it',
      policy('p', ['a', 'cluster/b']),
      [pod(['Credential/a', 'ClusterCredential/b'])],
      1,
    ],
    ['but not those that have a part', policy('p', ['a', 'cluster/b']), [pod(['Credential/a'])], 0],
    [
      'of a default with a part',
      policy('p', ['a', 'b'], { enforcement: 'Default' }),
      [pod(['Credential/a'])],
      1,
    ],
    ['but not with another of the name', policy('p', ['cluster/a']), [pod(['Credential/a'])], 0],
    [
      'but not those that it does not select',
      policy('p', ['a'], { pods: label('x', '1') }),
      [pod(['Credential/a'])],
      0,
    ],
    ['but not elsewhere', policy('p', ['a']), [pod(['Credential/a'], { namespace: 'other' })], 0],
    ['but not those that have ended', policy('p', ['a']), [pod(['Credential/a'], { isOver: true })], 0],
    ['but not those without', policy('p', ['a']), [pod([])], 0],
  ])('are counted: %s', async (_, its, pods, expected) => {
    expect(await count(its, pods)).toBe(expected)
  })
})

test('a hundred policies in two thousand namespaces are looked at with many breaths', async () => {
  const namespaces = Array.from({ length: 2000 }, (_, index) =>
    namespace(`n-${index}`, { team: `t-${index % 20}`, stage: index % 2 ? 'prod' : 'dev' }),
  )
  const policies = Array.from({ length: 100 }, (_, index) =>
    policy(`p-${String(index).padStart(3, '0')}`, [`cluster/c-${index}`, 'own'], {
      on: index % 4 === 0 ? {} : label('team', `t-${index % 20}`),
    }),
  )
  const credentials = [
    ...Array.from({ length: 100 }, (_, index) =>
      shared(`c-${index}`, {}, gives('v', `VARIABLE_${index % 99}`)),
    ),
    ...namespaces.map(({ name }) => own('own', gives('same', 'OWN'), name)),
  ]
  // Two of them give the same variable, with one value; a third contradicts.
  credentials[99] = shared('c-99', {}, gives('other', 'VARIABLE_0'))
  breaths = 0
  const began = performance.now()
  const all = await look({ policies, namespaces, credentials })
  process.stdout.write(
    `100 policies, 2,000 namespaces: ${Math.round(performance.now() - began)} ms, ${breaths} breaths\n`,
  )
  expect(all.get('p-000')?.namespaces).toBe(2000)
  expect(all.get('p-001')?.namespaces).toBe(100)
  const disagreeing = [...all].filter(([, { conflicts }]) => conflicts.size > 0).map(([name]) => name)
  expect(disagreeing).toEqual(['p-000', 'p-099'])
  expect(breaths).toBeGreaterThan(20)
})
