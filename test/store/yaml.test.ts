import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { quickly, readYaml } from '../../src/store/yaml.ts'

/** A directive is never read quickly. */
function withPositions(text: string) {
  const [document] = readYaml(`%YAML 1.2\n---\n${text}`)
  return { value: document?.value ?? null, fault: document?.error?.message }
}

test('what is read quickly is what is read with positions', () => {
  const piece = fc.constantFrom(
    ...[
      'a',
      'b.c/d',
      'key',
      'null',
      'yes',
      'No',
      'on',
      'true',
      '5',
      '0x1f',
      '0o17',
      '012',
      '1.5',
      '.inf',
      '~',
      '2026-01-01',
    ],
    ...[
      '"q"',
      "'s'",
      'x y',
      'x: y',
      'é',
      '\u00a0',
      ':',
      ': ',
      '- ',
      '-',
      '#',
      ' #',
      '{}',
      '[]',
      '{a: 1}',
      '[a, b]',
      '|',
      '>',
      ',',
      ' ',
    ],
  )
  const line = fc
    .tuple(fc.integer({ min: 0, max: 4 }), fc.array(piece, { maxLength: 3 }))
    .map(([indent, parts]) => ' '.repeat(indent) + parts.join(''))
  const entry = fc
    .tuple(
      fc.constantFrom('', '  ', '    ', '- ', '  - '),
      fc.constantFrom('a', 'b', 'c'),
      fc.option(piece, { nil: '' }),
    )
    .map(([indent, key, value]) => `${indent}${key}: ${value}`)
  let compared = 0
  fc.assert(
    fc.property(fc.array(fc.oneof(line, entry, entry), { maxLength: 7 }), (lines) => {
      const text = lines.join('\n')
      const value = quickly(text)
      const other = withPositions(text)
      // Where one of the two finds a fault, the manifest is read or refused; it never says something else.
      if (value === undefined || other.fault !== undefined) return
      compared++
      expect(value).toEqual(other.value)
    }),
    { numRuns: 5_000 },
  )
  expect(compared).toBeGreaterThan(500)
})

test('ordinary manifests are read quickly', () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9]{2,6}[-./][a-z0-9]+$/)
  const { manifest } = fc.letrec((tie) => ({
    manifest: fc.oneof({ depthSize: 'small', withCrossShrink: true }, word, tie('mapping'), tie('list')),
    mapping: fc.dictionary(word, tie('manifest'), { minKeys: 1, maxKeys: 4 }),
    list: fc.array(tie('manifest'), { minLength: 1, maxLength: 3 }),
  }))
  fc.assert(
    fc.property(fc.dictionary(word, manifest, { minKeys: 1, maxKeys: 4 }), (object) => {
      expect(quickly(stringify(object, { lineWidth: 0 }))).toEqual(JSON.parse(JSON.stringify(object)))
    }),
    { numRuns: 300 },
  )
})

test('documents are told apart, each with the line where it begins', () => {
  const text =
    '# first\na: x\n---\n# second\n\nb: {c: 1}\n--- # third\nd: |\n  ----\n  text\n...\n---\n---\nz: y\n'
  const documents = [...readYaml(text)].map(({ value, line }) => ({ value, line }))
  expect(documents.filter(({ value }) => value !== null)).toEqual([
    { value: { a: 'x' }, line: 2 },
    { value: { b: { c: 1 } }, line: 6 },
    { value: { d: '----\ntext\n' }, line: 8 },
    { value: { z: 'y' }, line: 14 },
  ])
})

test('a fault spoils its own document only', () => {
  const documents = [...readYaml('a: "x\n---\nb: y\n---\nc: d: e\n')]
  expect(documents.map(({ value, error }) => error ?? value)).toEqual([
    {
      line: 2,
      message: 'not valid YAML: a quote, bracket, comma, colon, dash or space is missing here or above',
    },
    { b: 'y' },
    {
      line: 5,
      message:
        'not valid YAML: there is a second "key: value" on one line, or a wrong indentation: put the value in quotes or on its own line',
    },
  ])
})

test.each(['', '# a\n\n  # b\n'])('nothing is in %j', (text) => expect([...readYaml(text)]).toEqual([]))

test.each([
  ['JSON', '{"a": {"b": [1, true, "x"]}}', { a: { b: [1, true, 'x'] } }],
  ['JSON with tabs', '{\n\t"a":\t"x"\n}', { a: 'x' }],
  ['Windows line ends', 'a: b\r\nc:\r\n  d: e\r\n', { a: 'b', c: { d: 'e' } }],
  ['a byte order mark', '\ufeffa: b', { a: 'b' }],
  [
    'the words that kubectl takes for booleans',
    'a: yes\nb: Off\nc: "yes"\nd: y',
    { a: true, b: false, c: 'yes', d: 'y' },
  ],
  ['times stay text', 'a: 2027-01-01T00:00:00Z', { a: '2027-01-01T00:00:00Z' }],
  ['anchors and merge keys', 'a: &x {b: c}\nd:\n  <<: *x\n  e: f', { a: { b: 'c' }, d: { b: 'c', e: 'f' } }],
  ['keys are text', 'true: a\n5: b', { true: 'a', 5: 'b' }],
])('%s', (_title, text, expected) => {
  expect([...readYaml(text)].map(({ value, error }) => error ?? value)).toEqual([expected])
})

test.each([
  ['a tab as indentation', 'a:\n\tb: c', 2],
  ['a key twice', 'a: b\nc: d\na: e', 3],
  ['a template', 'a: {{ .Values.x }}', 1],
  ['an alias of nothing', 'a: *b', 1],
  [
    'a bomb of aliases',
    [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcde'.split('').map((key, index) => {
        const before = `*${'abcd'[index]}`
        return `${key}: &${key} [${Array(9).fill(before).join(',')}]`
      }),
    ].join('\n'),
    1,
  ],
  ['brackets without end', `a: ${'['.repeat(5000)}`, 1],
  ['binary data', '\u0000\u0001\u0002: [', 1],
])('not readable, and without a word of the text in the message: %s', (_title, text, line) => {
  const [document] = readYaml(text)
  expect(document?.error?.message).toMatch(/^not valid YAML: [a-z][a-z %,:{}[\];]+$/)
  expect(document?.error?.line).toBe(line)
})

test('the line of a field is that of its key, or of the nearest thing around it', () => {
  for (const form of [
    'spec:\n  files:\n  - key: a\n  - key: b\n    mode: x\n',
    'spec: !!map\n  files:\n  - key: a\n  - key: b\n    mode: x\n',
  ]) {
    const document = [...readYaml(`# comment\n---\n${form}`)].at(-1)
    const lineOf = (...path: (string | number)[]) => document?.lineOf(path)
    expect([lineOf(), lineOf('spec'), lineOf('spec', 'files'), lineOf('spec', 'files', 1, 'mode')]).toEqual([
      3, 3, 4, 7,
    ])
    expect([lineOf('status'), lineOf('spec', 'type'), lineOf('spec', 'files', 1, 'path')]).toEqual([3, 3, 6])
  }
})
