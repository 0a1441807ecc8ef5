import fc from 'fast-check'
import { apply_patch as applyPatch } from 'jsonpatch'
import { describe, expect, test } from 'vitest'
import type { Node, ToStringOptions, YAMLMap, YAMLSeq } from 'yaml'
import { Document, isMap, isSeq, visit } from 'yaml'
import type { PatchOperation } from '../../src/api/pod.ts'
import { readYaml } from '../../src/cli/kubernetes-yaml.ts'
import { patchText } from '../../src/cli/manifest-patch.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

// ---- data: as in manifests, and as odd as can be ----

const WORDS = [
  'metadata',
  'spec',
  'name',
  'env',
  'envFrom',
  'labels',
  'image',
  'value',
  'volumes',
  'items',
  'a',
  'b',
]
const plainKey = fc.constantFrom(...WORDS)
const plainScalar = fc.constantFrom<Json>(
  'train',
  'pytorch/pytorch:latest',
  'special-experiment',
  1,
  420,
  true,
  null,
  '',
  '/root/.ssh',
)
const oddKey = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'env',
    'name',
    'with space',
    'a/b',
    'm~n',
    '<<x',
    'yes',
    '0400',
    '#',
    '- x',
    'ü',
    '',
  ),
  fc.string({ maxLength: 6 }).filter((text) => text !== '__proto__' && text !== '<<'),
)
const ODD_STRINGS = [
  '',
  'text',
  'yes',
  'null',
  '12:30',
  '2020-01-01',
  '# no',
  'a: b',
  '- a',
  '*x',
  '&x',
  'tab\there',
  'trailing \nblank',
]
const LINES = [
  'two\nlines',
  'ends\n',
  '\nbegins',
  'many\n\n\n',
  '  indented\nnot',
  'x\n# no comment\n\n',
  'a very long line that a writer may fold',
]
const oddScalar = fc.oneof(
  fc.constantFrom<Json>(null, true, false, 0, 42, -1.5, ...ODD_STRINGS),
  fc.constantFrom(...LINES),
  fc.string({ maxLength: 8 }),
  fc.integer(),
)

function valuesOf(key: fc.Arbitrary<string>, scalar: fc.Arbitrary<Json>) {
  const { value } = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      scalar,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  }))
  const map = fc.dictionary(key, value, { minKeys: 1, maxKeys: 5, noNullPrototype: true })
  const root = fc.oneof(
    { weight: 3, arbitrary: map },
    { weight: 1, arbitrary: fc.array(value, { maxLength: 4 }) },
  )
  return { key, value, map, root: root as fc.Arbitrary<Json> }
}

const manifestLike = valuesOf(plainKey, plainScalar)
const odd = valuesOf(oddKey, oddScalar)

// ---- how the same data may be written ----

const style = fc.record({
  indent: fc.constantFrom(1, 2, 3, 4, 8),
  indentSeq: fc.boolean(),
  form: fc.constantFrom('block', 'block', 'block', 'flow', 'json', 'compact json', 'tab json'),
  blockQuote: fc.constantFrom<ToStringOptions['blockQuote']>(true, false, 'folded', 'literal'),
  lineWidth: fc.constantFrom(0, 20, 80),
  defaultStringType: fc.constantFrom<ToStringOptions['defaultStringType']>(
    'PLAIN',
    'QUOTE_SINGLE',
    'QUOTE_DOUBLE',
  ),
  newline: fc.constantFrom('\n', '\n', '\r\n'),
  openEnd: fc.boolean(),
})
type Style = typeof style extends fc.Arbitrary<infer S> ? S : never

function write(data: Json, { form, newline, openEnd, ...options }: Style): string {
  if (form.endsWith('json')) {
    const indent = form === 'compact json' ? 0 : form === 'tab json' ? '\t' : options.indent
    return JSON.stringify(data, null, indent).replaceAll('\n', newline)
  }
  const text = new Document(data, { compat: 'yaml-1.1', aliasDuplicateObjects: false } as object).toString({
    ...options,
    blockQuote: newline === '\r\n' ? false : options.blockQuote,
    collectionStyle: form === 'flow' ? 'flow' : 'any',
  })
  return (openEnd && !/[|>]/.test(text) ? text.trimEnd() : text).replaceAll('\n', newline)
}

/** A comment above and beside every line. Only for data without odd strings. */
function withComments(text: string): string {
  const comment = (line: string, number: number) =>
    `${/^ */.exec(line)?.[0]}# above ${number}\n${line}  # beside ${number}`
  return `${text.trimEnd().split('\n').map(comment).join('\n')}\n# end\n`
}

// ---- operations ----

const choice = ({ value, key }: typeof odd) => fc.record({ at: fc.nat(), what: fc.nat(), value, name: key })
type Choice = ReturnType<typeof choice> extends fc.Arbitrary<infer C> ? C : never

/** Operations that fit the data as the operations before them leave it, chosen by numbers. */
function operationsFor(start: Json, choices: readonly Choice[]): PatchOperation[] {
  const operations: PatchOperation[] = []
  let data = start
  for (const made of choices) {
    const places = placesIn(data)
    const [path, node] = places[made.at % places.length] as [string, Json]
    const operation = operationAt(path, node, made)
    operations.push(operation)
    data = applyPatch(data, [operation])
  }
  return operations
}

function operationAt(path: string, node: Json, { what, value, name }: Choice): PatchOperation {
  const kind = what % 4
  if (Array.isArray(node)) {
    if (kind === 0 || node.length === 0)
      return { op: 'add', path: `${path}/${what % (node.length + 1)}`, value }
    if (kind === 1) return { op: 'add', path: `${path}/-`, value }
    const item = `${path}/${what % node.length}`
    return kind === 2 ? { op: 'remove', path: item } : { op: 'replace', path: item, value }
  }
  const keys = Object.keys(node as object)
  if (kind < 2 || keys.length === 0) return { op: 'add', path: `${path}/${escapeToken(name)}`, value }
  const member = `${path}/${escapeToken(keys[what % keys.length] as string)}`
  return kind === 2 ? { op: 'remove', path: member } : { op: 'replace', path: member, value }
}

/** One addition that leaves every line as it is: not into `[]` and `{}`, and not before the first item of `- - a`. */
function additionFor(data: Json, { at, what, value, name }: Choice): PatchOperation[] {
  const places = new Map(placesIn(data))
  const filled = [...places].filter(([path, node]) => {
    const parent = path !== '' && places.get(path.slice(0, path.lastIndexOf('/')))
    return Object.keys(node as object).length > 0 && !(Array.isArray(node) && Array.isArray(parent))
  })
  const [path, node] = filled[at % filled.length] ?? []
  if (node === undefined || node === null) return []
  if (Array.isArray(node))
    return [{ op: 'add', path: `${path}/${what % 2 ? '-' : what % node.length}`, value }]
  return Object.hasOwn(node as object, name)
    ? []
    : [{ op: 'add', path: `${path}/${escapeToken(name)}`, value }]
}

function placesIn(node: Json, path = ''): [string, Json][] {
  if (typeof node !== 'object' || node === null) return []
  return [
    [path, node],
    ...Object.entries(node).flatMap(([name, item]) => placesIn(item, `${path}/${escapeToken(name)}`)),
  ]
}

const escapeToken = (token: string) => token.replaceAll('~', '~0').replaceAll('/', '~1')

// ---- aliases and merge keys ----

/** The data with a shared map, used at some of its places by alias or by merge key. */
function withSharing(
  data: Json,
  shared: Json,
  uses: readonly { at: number; how: number }[],
  indentSeq: boolean,
): string {
  const doc = new Document({ shared: [shared], data })
  const anchored = doc.getIn(['shared', 0]) as Node
  const places: (YAMLMap | YAMLSeq)[] = []
  visit(doc.get('data') as Node, { Collection: (_key, node) => void places.push(node) })
  for (const { at, how } of uses) {
    const place = places[at % places.length]
    const alias = doc.createAlias(anchored as Parameters<typeof doc.createAlias>[0], 'shared')
    if (isSeq(place)) place.items.splice(how % (place.items.length + 1), 0, alias)
    else if (isMap(place) && how % 2 && !place.has('<<'))
      place.items.splice(how % (place.items.length + 1), 0, doc.createPair('<<', alias))
    else if (isMap(place)) place.set('alias', alias)
  }
  // Without the merge tag the writer puts quotes around the key.
  return doc.toString({ indentSeq }).replaceAll('"<<":', '<<:')
}

describe('patching a text', () => {
  const runs = { numRuns: Number(process.env.FC_RUNS ?? 500) }

  function check(text: string, choices: readonly Choice[]): string {
    const source = readYaml(text)
    // The writer's own mistakes, with an indentation of one column and the like.
    fc.pre(source.problems.length === 0)
    const start = source.documents[0]?.value as Json
    const operations = operationsFor(start, choices)
    const result = patchText(source, new Map([[0, operations]]))
    expect(readYaml(result).documents.map(({ value }) => value)).toEqual([applyPatch(start, operations)])
    return result
  }

  test('says the same as patching the plain data, however the data is written', () => {
    const property = fc.property(
      odd.root,
      style,
      fc.array(choice(odd), { maxLength: 6 }),
      (data, how, choices) => {
        check(write(data, how), choices)
      },
    )
    fc.assert(property, runs)
  })

  test('says the same where aliases and merge keys share parts', () => {
    const use = fc.record({ at: fc.nat(), how: fc.nat() })
    const uses = fc.array(use, { minLength: 1, maxLength: 4 })
    const { root, map } = manifestLike
    const choices = fc.array(choice(manifestLike), { minLength: 1, maxLength: 5 })
    const property = fc.property(
      root,
      map,
      uses,
      fc.boolean(),
      choices,
      (data, shared, sites, indentSeq, made) => {
        check(withSharing(data, shared, sites, indentSeq), made)
      },
    )
    fc.assert(property, runs)
  })

  test('only adds lines for an addition', () => {
    const property = fc.property(odd.root, style, choice(odd), (data, how, made) => {
      const text = write(data, { ...how, form: 'block', openEnd: false })
      const source = readYaml(text)
      fc.pre(source.problems.length === 0)
      const result = patchText(source, new Map([[0, additionFor(source.documents[0]?.value as Json, made)]]))
      expect(isSubsequence(text.split('\n'), result.split('\n'))).toBe(true)
    })
    fc.assert(property, runs)
  })

  test('only adds lines for an addition, and leaves every comment beside and above what it is about', () => {
    const property = fc.property(manifestLike.map, style, choice(manifestLike), (data, how, made) => {
      const text = withComments(write(data, { ...how, form: 'block', newline: '\n', openEnd: false }))
      const source = readYaml(text)
      expect(source.problems).toEqual([])
      const result = patchText(source, new Map([[0, additionFor(source.documents[0]?.value as Json, made)]]))
      expect(isSubsequence(text.split('\n'), result.split('\n'))).toBe(true)
      const pairs = [...result.matchAll(/# above (\d+)\n.*# beside (\d+)/g)]
      expect(pairs.length).toBe(text.split('\n').length / 2 - 1)
      expect(pairs.every(([, above, beside]) => above === beside)).toBe(true)
    })
    fc.assert(property, runs)
  })
})

function isSubsequence(lines: readonly string[], of: readonly string[]): boolean {
  let next = 0
  for (const line of of) if (line === lines[next]) next++
  return next === lines.length
}
