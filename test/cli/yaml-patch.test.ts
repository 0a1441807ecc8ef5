import { describe, expect, test } from 'vitest'
import type { PatchOperation } from '../../src/api/pod.ts'
import { readYaml } from '../../src/cli/kubernetes-yaml.ts'
import { patchText } from '../../src/cli/manifest-patch.ts'

interface Case {
  title: string
  before: string
  operations: PatchOperation[]
  after: string
}

const add = (path: string, value: unknown): PatchOperation => ({ op: 'add', path, value })
const replace = (path: string, value: unknown): PatchOperation => ({ op: 'replace', path, value })
const remove = (path: string): PatchOperation => ({ op: 'remove', path })

const lines = (...all: string[]) => all.map((line) => `${line}\n`).join('')

function check({ before, operations, after }: Case): void {
  expect(patchText(readYaml(before), new Map([[0, operations]]))).toBe(after)
}

describe('where additions go', () => {
  test.each<Case>([
    {
      title: 'a key at the end of its map, lists indented as in that map',
      before: lines('spec:', '    containers:', '        -   name: a', '    nodeName: x', 'other:', '- 1'),
      operations: [add('/spec/volumes', [{ name: 'v' }])],
      after: lines(
        'spec:',
        '    containers:',
        '        -   name: a',
        '    nodeName: x',
        '    volumes:',
        '        - name: v',
        'other:',
        '- 1',
      ),
    },
    {
      title: 'a list beside lists that are not indented',
      before: lines('spec:', '  containers:', '  - name: a'),
      operations: [add('/spec/volumes', [{ name: 'v', items: [1] }])],
      after: lines(
        'spec:',
        '  containers:',
        '  - name: a',
        '  volumes:',
        '  - name: v',
        '    items:',
        '    - 1',
      ),
    },
    {
      title: 'the first item before the comments of what was first',
      before: lines('env:  # variables', '  # mine', '  # really', '  - name: A # a'),
      operations: [add('/env/0', { name: 'B' })],
      after: lines('env:  # variables', '  - name: B', '  # mine', '  # really', '  - name: A # a'),
    },
    {
      title:
        'the last item after the comment beside the one before it, and before what belongs to the next key',
      before: lines('env:', '- name: A # a', '  # still A', '# about b', 'b: 1'),
      operations: [add('/env/-', { name: 'B' })],
      after: lines('env:', '- name: A # a', '  # still A', '- name: B', '# about b', 'b: 1'),
    },
    {
      title: 'inner additions before outer ones',
      before: lines('spec:', '  containers:', '  - name: a', '    env:', '    - name: A'),
      operations: [
        add('/spec/volumes', [1]),
        add('/spec/containers/0/envFrom', [2]),
        add('/spec/containers/0/env/-', { name: 'B' }),
      ],
      after: lines(
        'spec:',
        '  containers:',
        '  - name: a',
        '    env:',
        '    - name: A',
        '    - name: B',
        '    envFrom:',
        '    - 2',
        '  volumes:',
        '  - 1',
      ),
    },
    {
      title: 'before the first item of a list that begins on the line of another',
      before: lines('- - a', '  - b'),
      operations: [add('/0/0', { k: [1] })],
      after: lines('- - k:', '    - 1', '  - a', '  - b'),
    },
    {
      title: 'a map that begins beside its dash',
      before: lines('-   name: a', '    x: 1', '- name: b'),
      operations: [add('/0/w', 'z')],
      after: lines('-   name: a', '    x: 1', '    w: z', '- name: b'),
    },
    {
      title: 'after a text without a line break at its end',
      before: 'a: 1\nb:\n  c: 2',
      operations: [add('/b/d', 3), add('/e', 4)],
      after: 'a: 1\nb:\n  c: 2\n  d: 3\ne: 4',
    },
    {
      title: 'after a block scalar and the blank lines that it keeps',
      before: 'a:\n- |+\n  text\n\n\nb: 1\n',
      operations: [add('/a/-', 'x')],
      after: 'a:\n- |+\n  text\n\n\n- x\nb: 1\n',
    },
    {
      title: 'with the line breaks of the text',
      before: 'a:\r\n  b: 1 # c\r\n\r\nd: e\r\n',
      operations: [add('/a/x', { w: ['z'] })],
      after: 'a:\r\n  b: 1 # c\r\n  x:\r\n    w:\r\n    - z\r\n\r\nd: e\r\n',
    },
    {
      title: 'behind a byte order mark',
      before: '\uFEFFa:\n- 1\n',
      operations: [add('/a/0', 0)],
      after: '\uFEFFa:\n- 0\n- 1\n',
    },
  ])('$title', check)
})

describe('what is written', () => {
  test.each<Case>([
    {
      title: 'quotes only what YAML 1.1 would not read as text',
      before: 'a: {}\n',
      operations: [add('/a', { yes: 'no', m: '0400', t: '12:30', empty: '', plain: 'a b', from: '$(X)' })],
      after: lines(
        'a:',
        '  "yes": "no"',
        '  m: "0400"',
        '  t: "12:30"',
        '  empty: ""',
        '  plain: a b',
        '  from: $(X)',
      ),
    },
    {
      title: 'text of several lines on one, so that no indentation can change it',
      before: 'a: 1\n',
      operations: [add('/b', 'one\n  two\n')],
      after: 'a: 1\nb: "one\\n  two\\n"\n',
    },
    {
      title: 'long values are not folded',
      before: 'a: 1\n',
      operations: [add('/b', 'word '.repeat(40).trim())],
      after: `a: 1\nb: ${'word '.repeat(40).trim()}\n`,
    },
    {
      title: 'empty brackets become a block, and the comment beside them stays',
      before: lines('env: []  # none', 'labels: { }', 'resources: {} # later'),
      operations: [add('/env/0', { name: 'A' }), add('/labels/app', 'x')],
      after: lines('env:  # none', '- name: A', 'labels:', '  app: x', 'resources: {} # later'),
    },
    {
      title: 'brackets with a comment inside stay brackets',
      before: lines('env: [ # none', ']'),
      operations: [add('/env/0', 1)],
      after: lines('env: [ # none', '  1', ']'),
    },
    {
      title: 'inside brackets with a comma',
      before: lines('env: [{name: A, value: "b"}, x,] # c', 'm: {k: v}'),
      operations: [add('/env/0', { name: 'B b' }), add('/env/-', [1, 'two']), add('/m/o', null)],
      after: lines('env: [{name: "B b"}, {name: A, value: "b"}, x, [1, two],] # c', 'm: {k: v, o: null}'),
    },
    {
      title: 'inside brackets over several lines on a line of its own',
      before: lines('env: [', '  {name: A},', '  {name: B}', ']'),
      operations: [add('/env/-', { name: 'C' })],
      after: lines('env: [', '  {name: A},', '  {name: B},', '  {name: C}', ']'),
    },
    {
      title: 'JSON stays JSON, with its indentation',
      before: '{\n\t"a": [],\n\t"b": {\n\t\t"c": 1\n\t}\n}\n',
      operations: [add('/a/0', { x: [1] }), add('/b/d', 'e')],
      after:
        '{\n\t"a": [\n\t\t{\n\t\t\t"x": [\n\t\t\t\t1\n\t\t\t]\n\t\t}\n\t],\n\t"b": {\n\t\t"c": 1,\n\t\t"d": "e"\n\t}\n}\n',
    },
    {
      title: 'JSON on one line stays on one line',
      before: '{"a":{"b":1},"c":{}}',
      operations: [add('/a/x', [1, 'y']), add('/c/z', true)],
      after: '{"a":{"b":1,"x":[1,"y"]},"c":{"z":true}}',
    },
  ])('$title', check)
})

describe('what is replaced or removed', () => {
  test.each<Case>([
    {
      title: 'a scalar, with the comment beside it kept',
      before: 'a:   "old"   # why\nb: 1\n',
      operations: [replace('/a', 'new')],
      after: 'a: new   # why\nb: 1\n',
    },
    {
      title: 'a map by one that shares keys: these keep their place and form',
      before: lines('env:', '- name: "A" # name', '  value: b # value', '- name: B'),
      operations: [replace('/env/0', { name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } })],
      after: lines(
        'env:',
        '- name: "A" # name',
        '  valueFrom:',
        '    secretKeyRef:',
        '      name: s',
        '      key: k # value',
        '- name: B',
      ),
    },
    {
      title: 'a block scalar',
      before: 'a: |\n  one\n  two\nb: 1\n',
      operations: [replace('/a', [1])],
      after: 'a:\n- 1\nb: 1\n',
    },
    {
      title: 'a list by a scalar, with the comment beside the key kept',
      before: lines('a: # why', '- 1', '- 2 # two', 'b: 1'),
      operations: [replace('/a', 5)],
      after: lines('a: 5 # why # two', 'b: 1'),
    },
    {
      title: 'nothing by something',
      before: 'a:\nb: ~ # c\n',
      operations: [replace('/a', { x: 1 }), replace('/b', 2)],
      after: 'a:\n  x: 1\nb: 2 # c\n',
    },
    {
      title: 'the first key of a list item',
      before: lines('- a: 1', '  b: 2'),
      operations: [remove('/0/a')],
      after: lines('- b: 2'),
    },
    {
      title: 'everything',
      before: lines('a:', '  b: 1', 'c:', '- 2', '- 3'),
      operations: [remove('/a/b'), remove('/c/0'), remove('/c/0')],
      after: lines('a: {}', 'c: []'),
    },
    {
      title: 'items between brackets',
      before: 'a: [1, 2, 3]\nb: {x: 1, y: 2}\nc: [9]\n',
      operations: [remove('/a/2'), remove('/a/0'), remove('/b/x'), remove('/c/0')],
      after: 'a: [2]\nb: {y: 2}\nc: []\n',
    },
  ])('$title', check)
})

describe('shared parts', () => {
  test.each<Case>([
    {
      title: 'a change at an alias leaves the anchor alone',
      before: lines('a: &shared # here', '- 1', 'b: *shared # there'),
      operations: [add('/b/-', 2)],
      after: lines('a: &shared # here', '- 1', 'b: # there', '- 1', '- 2'),
    },
    {
      title: 'a change at an anchor leaves its aliases what they were',
      before: lines('a: &shared', '- 1', 'b: *shared', 'c: *shared'),
      operations: [add('/a/-', 2)],
      after: lines('a: &shared', '- 1', '- 2', 'b:', '- 1', 'c:', '- 1'),
    },
    {
      title: 'a change below an anchor does, too',
      before: lines('list:', '- &one', '  env:', '  - x', '- *one'),
      operations: [add('/list/0/env/-', 'w')],
      after: lines('list:', '- &one', '  env:', '  - x', '  - w', '- env:', '  - x'),
    },
    {
      title: 'a removed anchor leaves copies',
      before: lines('a: &x {k: v}', 'b: *x'),
      operations: [remove('/a')],
      after: lines('b:', '  k: v'),
    },
    {
      title: 'a replaced scalar with an anchor leaves copies',
      before: lines('a: &x old', 'b: *x'),
      operations: [replace('/a', 'new')],
      after: lines('a: new', 'b: old'),
    },
    {
      title: 'a list that a merge key brings in becomes the map’s own',
      before: lines('base: &base', '  env:', '  - x', 'use:', '  <<: *base', '  name: n'),
      operations: [add('/use/env/-', 'w')],
      after: lines(
        'base: &base',
        '  env:',
        '  - x',
        'use:',
        '  <<: *base',
        '  name: n',
        '  env:',
        '  - x',
        '  - w',
      ),
    },
    {
      title: 'a change of what is merged leaves the other map what it was',
      before: lines('base: &base', '  env:', '  - x', 'use:', '  <<: *base', '  name: n'),
      operations: [add('/base/env/-', 'w')],
      after: lines(
        'base: &base',
        '  env:',
        '  - x',
        '  - w',
        'use:',
        '  <<:',
        '    env:',
        '    - x',
        '  name: n',
      ),
    },
    {
      title: 'a merged key can be removed',
      before: lines('base: &base {k: 1, l: 2}', 'use:', '  <<: *base', '  k: 3'),
      operations: [remove('/use/k')],
      after: lines('base: &base {k: 1, l: 2}', 'use:', '  l: 2'),
    },
    {
      title: 'an added key wins over a merged one',
      before: lines('base: &base {k: 1}', 'use:', '  <<: *base'),
      operations: [add('/use/k', 2)],
      after: lines('base: &base {k: 1}', 'use:', '  <<: *base', '  k: 2'),
    },
  ])('$title', check)
})

describe('several documents', () => {
  const text =
    '%YAML 1.1\n# head\n---  # one\na:  [ 1 ]\n...\n# between\n---\n---\n\n# two\n---\nb:\n - x   # tail\n...\n\n'

  test('those without operations stay byte for byte, with all that is around them', () => {
    const source = readYaml(text)
    expect(source.documents.map(({ value }) => value)).toEqual([{ a: [1] }, null, null, { b: ['x'] }])
    expect(patchText(source, new Map([[3, [add('/b/0', 'w')]]]))).toBe(text.replace(' - x', ' - w\n - x'))
    expect(patchText(readYaml(text), new Map())).toBe(text)
  })
})

describe('what cannot be done is said without quoting the text', () => {
  test.each([
    ['a path that leads nowhere', 'a: secret\n', add('/b/c', 1)],
    ['a path into a scalar', 'a: secret\n', add('/a/c', 1)],
    ['an item that does not exist', 'a: [secret]\n', remove('/a/3')],
    ['an item that is no number', 'a: [secret]\n', add('/a/x', 1)],
    ['a whole document', 'a: secret\n', replace('', 1)],
    ['an alias as a key', 'a: &k secret\n*k : 1\n', replace('/a', 'x')],
  ])('%s', (_title, before, operation) => {
    const act = () => patchText(readYaml(before), new Map([[0, [operation]]]))
    expect(act).toThrow(/[a-z ]{10,}/)
    expect(act).not.toThrow(/secret/)
  })
})
