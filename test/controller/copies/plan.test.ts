/** What is to be done for one copy: the table, and that every world comes to rest in the one state that it should have. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  copyFor,
  type FoundSecret,
  found,
  isRight,
  type Original,
  original,
  type StoredSecret,
} from '../../../src/controller/copies/copy.ts'
import { type Found, planCopy, type Step, type Wanted } from '../../../src/controller/copies/plan.ts'

const KEY = Buffer.alloc(32, 7)
const NAME = 'dockerhub'
const CREDENTIAL = { name: NAME, uid: 'uid-now' }

const SOURCE: StoredSecret = secretLike({ type: 'Opaque', data: { TOKEN: 'c2VjcmV0' } })
const ORIGINAL = original(NAME, SOURCE, KEY)
const WANTED: Wanted = { credential: CREDENTIAL, original: ORIGINAL }

function secretLike(more: Partial<StoredSecret>, metadata: object = {}): StoredSecret {
  return {
    metadata: { name: `credential-${NAME}`, namespace: 'team', uid: 'u', resourceVersion: '1', ...metadata },
    ...more,
  }
}

function stored(more: Partial<StoredSecret> = {}, metadata: object = {}): FoundSecret {
  const right = copyFor(CREDENTIAL, 'team', SOURCE)
  return found(
    { ...right, ...more, metadata: { ...right.metadata, uid: 'u', resourceVersion: '1', ...metadata } },
    KEY,
  )
}

const RIGHT = stored()
const OTHER_CONTENT = stored({ data: { TOKEN: 'b3RoZXI=' } })
const OTHER_TYPE = stored({ type: 'kubernetes.io/tls' })
const IMMUTABLE = stored({ immutable: true })
const ENDING = stored({}, { deletionTimestamp: '2026-01-01T00:00:00Z' })
const WITHOUT_LABEL = stored({}, { labels: {} })
const WITHOUT_OWNER = stored({}, { ownerReferences: [] })
const OF_PREDECESSOR = stored(
  {},
  {
    ownerReferences: [{ apiVersion: 'run.ai/v1', kind: 'ClusterCredential', name: NAME, uid: 'uid-before' }],
  },
)
const NOBODYS = stored({}, { labels: {}, annotations: {}, ownerReferences: [] })
const LABELLED_FALSE = stored({}, { labels: { 'credentials.run.ai/copy': 'false' }, ownerReferences: [] })
const OF_ANOTHER = stored({}, { annotations: { 'credentials.run.ai/copy-of': 'other' }, ownerReferences: [] })
const OWNED_BY_OTHERS = stored(
  {},
  {
    labels: {},
    ownerReferences: [{ apiVersion: 'example.com/v1', kind: 'ClusterCredential', name: NAME, uid: 'x' }],
  },
)

describe('the table', () => {
  test.each<[string, Found, Step['do'], Step['do']]>([
    // what is there,                       a copy is wanted, nothing is
    ['nothing', 'none', 'create', 'nothing'],
    ['the right copy', RIGHT, 'nothing', 'delete'],
    ['a copy with other content', OTHER_CONTENT, 'update', 'delete'],
    ['a copy of another type', OTHER_TYPE, 'replace', 'delete'],
    ['a copy that was made immutable', IMMUTABLE, 'replace', 'delete'],
    ['a copy that is being deleted', ENDING, 'wait', 'wait'],
    ['a copy that has lost its label', WITHOUT_LABEL, 'update', 'delete'],
    ['a copy that has lost its owner', WITHOUT_OWNER, 'update', 'delete'],
    ['the copy of a predecessor', OF_PREDECESSOR, 'update', 'delete'],
    ['a Secret of somebody else', NOBODYS, 'yield', 'nothing'],
    ['a Secret with another value of the label', LABELLED_FALSE, 'yield', 'nothing'],
    ['a copy of another ClusterCredential', OF_ANOTHER, 'yield', 'nothing'],
    ['a Secret owned by a kind of the same name in another group', OWNED_BY_OTHERS, 'yield', 'nothing'],
    ['a Secret that was looked at and is foreign', 'foreign', 'yield', 'nothing'],
    ['a Secret that nobody has looked at', 'unknown', 'look', 'look'],
  ])('%s', (_, there, wanted, unwanted) => {
    expect(planCopy(NAME, WANTED, there).do).toBe(wanted)
    expect(planCopy(NAME, 'nothing', there).do).toBe(unwanted)
    expect(planCopy(NAME, 'open', there).do).toBe('wait')
  })
})

test('the fingerprint says whether content and type are equal, and does not hold the content', () => {
  expect(RIGHT.fingerprint).toBe(ORIGINAL.fingerprint)
  expect(OTHER_CONTENT.fingerprint).not.toBe(ORIGINAL.fingerprint)
  expect(original('other', SOURCE, KEY).fingerprint).not.toBe(ORIGINAL.fingerprint)
  expect(original(NAME, SOURCE, Buffer.alloc(32, 8)).fingerprint).not.toBe(ORIGINAL.fingerprint)
  expect(JSON.stringify([RIGHT, ORIGINAL])).not.toContain('c2VjcmV0')
})

/** Does to a namespace what a step says. `null`: there is no Secret of that name. */
function take(step: Step, secret: StoredSecret | null, source: StoredSecret): StoredSecret | null {
  switch (step.do) {
    case 'create':
    case 'update':
    case 'replace':
      return copyFor(CREDENTIAL, 'team', source)
    case 'delete':
      return null
    default:
      return secret
  }
}

const values = fc.constantFrom('YQ==', 'Yg==', 'Yw==')
const data = fc.dictionary(fc.constantFrom('A', 'B'), values, { noNullPrototype: true })
const type = fc.constantFrom('Opaque', 'kubernetes.io/tls')
const sources = fc.record({ type, data }).map((content) => secretLike(content))
const secrets: fc.Arbitrary<StoredSecret | null> = fc.option(
  fc
    .record({
      type,
      data,
      immutable: fc.boolean(),
      isLabelled: fc.boolean(),
      copyOf: fc.constantFrom(NAME, 'other', undefined),
      owner: fc.constantFrom('uid-now', 'uid-before', undefined),
    })
    .map(({ isLabelled, copyOf, owner, ...content }) =>
      secretLike(content, {
        labels: isLabelled ? { 'credentials.run.ai/copy': 'true' } : {},
        annotations: copyOf ? { 'credentials.run.ai/copy-of': copyOf } : {},
        ownerReferences: owner
          ? [{ apiVersion: 'run.ai/v1', kind: 'ClusterCredential', name: NAME, uid: owner }]
          : [],
      }),
    ),
  { nil: null },
)

/** One step, as the duty takes it: what nobody has looked at is looked at first. */
function settle(wanted: Wanted, secret: StoredSecret | null, source: StoredSecret): StoredSecret | null {
  const there: Found = secret === null ? 'none' : found(secret, KEY)
  const step = planCopy(NAME, wanted, there)
  return take(step, secret, source)
}

test('one step settles any world; a settled world has nothing to do; what is not ours is never touched', () => {
  fc.assert(
    fc.property(secrets, sources, fc.boolean(), (secret, source, isWanted) => {
      const its: Original = original(NAME, source, KEY)
      const wanted: Wanted = isWanted ? { credential: CREDENTIAL, original: its } : 'nothing'
      const wasOurs =
        secret !== null &&
        ((secret.metadata.labels?.['credentials.run.ai/copy'] === 'true' &&
          secret.metadata.annotations?.['credentials.run.ai/copy-of'] === NAME) ||
          secret.metadata.ownerReferences?.length === 1)
      const after = settle(wanted, secret, source)
      if (secret !== null && !wasOurs) expect(after).toBe(secret)
      else if (isWanted) expect(isRight(found(after as StoredSecret, KEY), CREDENTIAL, its)).toBe(true)
      else expect(after).toBeNull()
      expect(settle(wanted, after, source)).toBe(after)
    }),
    { numRuns: 2000 },
  )
})

/** What may happen to a namespace's copy, in any order, while the controller takes a step now and then or is not there. */
type Happening =
  | { readonly what: 'step' }
  | { readonly what: 'source'; readonly source: StoredSecret }
  | { readonly what: 'selected'; readonly isSelected: boolean }
  | { readonly what: 'edit'; readonly secret: StoredSecret | null }

const happenings = fc.array(
  fc.oneof(
    fc.constant<Happening>({ what: 'step' }),
    sources.map<Happening>((source) => ({ what: 'source', source })),
    fc.boolean().map<Happening>((isSelected) => ({ what: 'selected', isSelected })),
    secrets.map<Happening>((secret) => ({ what: 'edit', secret })),
  ),
  { maxLength: 20 },
)

test('whatever happens in whatever order, the end depends on the last of it alone', () => {
  fc.assert(
    fc.property(happenings, sources, (all, first) => {
      let [source, isSelected, secret] = [first, true, null as StoredSecret | null]
      const wanted = (): Wanted =>
        isSelected ? { credential: CREDENTIAL, original: original(NAME, source, KEY) } : 'nothing'
      for (const happening of all) {
        if (happening.what === 'step') secret = settle(wanted(), secret, source)
        if (happening.what === 'source') source = happening.source
        if (happening.what === 'selected') isSelected = happening.isSelected
        if (happening.what === 'edit') secret = happening.secret
      }
      const end = settle(wanted(), secret, source)
      const isForeign =
        secret !== null && end === secret && planCopy(NAME, wanted(), found(secret, KEY)).do !== 'nothing'
      if (isForeign) expect(planCopy(NAME, wanted(), found(secret as StoredSecret, KEY)).do).toBe('yield')
      else if (isSelected)
        expect(isRight(found(end as StoredSecret, KEY), CREDENTIAL, original(NAME, source, KEY))).toBe(true)
      expect(settle(wanted(), end, source)).toBe(end)
    }),
    { numRuns: 1000 },
  )
})
