import { describe, expect, test } from 'vitest'
import { readYaml } from '../../src/cli/kubernetes-yaml.ts'

const valuesIn = (text: string) => readYaml(text).documents.map(({ value }) => value)

describe('reads as kubectl does', () => {
  test.each<[string, string, unknown[]]>([
    [
      'several documents, empty ones too',
      'a: 1\n---\n---\n# nothing\n---\nb: 2\n...\n',
      [{ a: 1 }, null, null, { b: 2 }],
    ],
    ['nothing', '', []],
    ['comments only', '# nothing\n', []],
    ['JSON with tabs', '{\n\t"a": [\n\t\t1\n\t]\n}\n', [{ a: [1] }]],
    [
      'YAML 1.1 booleans and octal numbers',
      'a: yes\nb: off\nc: 0400\nd: 0x10\n',
      [{ a: true, b: false, c: 256, d: 16 }],
    ],
    [
      'dates, times and binary as text',
      'a: 2026-01-01\nb: 12:30:00\nc: !!binary aGk=\n',
      [{ a: '2026-01-01', b: '12:30:00', c: 'aGk=' }],
    ],
    [
      'merge keys',
      'a: &a {x: 1, z: 1}\nb: &b {x: 2}\nc: {<<: [*b, *a], z: 3}\n',
      [{ a: { x: 1, z: 1 }, b: { x: 2 }, c: { x: 2, z: 3 } }],
    ],
    ['a quoted merge key as a key', '"<<": 1\n', [{ '<<': 1 }]],
    ['unknown tags as if they were not there', 'a: !Ref b\n', [{ a: 'b' }]],
    ['directives', '%YAML 1.2\n---\na: 1\n', [{ a: 1 }]],
    ['Windows line ends and a byte order mark', '\uFEFFa: 1\r\nb:\r\n- c\r\n', [{ a: 1, b: ['c'] }]],
  ])('%s', (_title, text, expected) => {
    expect(readYaml(text).problems).toEqual([])
    expect(valuesIn(text)).toEqual(expected)
  })
})

describe('says what is wrong by line and sentence, and quotes nothing', () => {
  test.each<[string, string, number, RegExp]>([
    ['a key that stands twice', 'a: hunter2\nb: 1\na: hunter2\n', 3, /twice/],
    ['a quote that does not end', 'a: 1\nb: "hunter2\n', 3, /quote/],
    ['a wrong indentation', 'a:\n  b: hunter2\n c: 1\n', 3, /indentation|colon/],
    ['a tab', 'a:\n\thunter2: 1\n', 2, /tab/],
    ['two pairs on a line', 'a: 1\nb: hunter2: x\n', 2, /second/],
    ['an unknown escape', 'a: "\\hunter2"\n', 1, /escape/],
    ['a reserved character', 'a: @hunter2\n', 1, /quotes/],
    ['an alias without an anchor', 'a: 1\nb: *hunter2\n', 2, /anchor/],
    ['an alias inside what it refers to', 'a: &hunter2\n- *hunter2\n', 2, /inside/],
    ['a merge of something that is no map', '\n<<: hunter2\n', 2, /merge key/],
    ['two JSON objects without a separator', '{"a": "hunter2"}\n{"b": 1}\n', 2, /---/],
    ['stray text', '- a\n hunter2\n: x\n', 3, /indentation|missing/],
    ['aliases that expand to very much', bomb(), 1, /too much/],
    ['very deep nesting', '['.repeat(100_000), 1, /deep|missing/],
  ])('%s', (_title, text, line, reason) => {
    const { problems, documents } = readYaml(text)
    expect(documents).toEqual([])
    expect(problems).toEqual([{ line, reason: expect.stringMatching(reason) }])
    expect(JSON.stringify(problems)).not.toContain('hunter2')
  })

  test('for each document that is wrong', () => {
    expect(readYaml('a: @\n---\nb: 1\n---\nc:\n\td: @\n').problems.map(({ line }) => line)).toEqual([1, 6])
  })
})

function bomb(): string {
  const levels = Array.from(
    { length: 9 },
    (_, level) =>
      `l${level}: &l${level} [${Array(9)
        .fill(level ? `*l${level - 1}` : 'x')
        .join(', ')}]`,
  )
  return `${levels.join('\n')}\n`
}
