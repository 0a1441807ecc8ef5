import { expect, test } from 'vitest'
import { readManifests } from '../../src/store/manifests.ts'

function credential(name: string, spec = 'secretRef: {name: s}\n  type: environment'): string {
  return `apiVersion: run.ai/v1\nkind: Credential\nmetadata:\n  name: ${name}\n  namespace: team\nspec:\n  ${spec}\n`
}

function objectsIn(text: string) {
  const { objects, problems } = readManifests(text)
  expect(problems).toEqual([])
  return objects.map(({ object }) => object)
}

test('of each kind, what the catalogue needs', () => {
  const text = `
apiVersion: run.ai/v1
kind: Credential
metadata: {name: a, namespace: team, labels: {x: y}}
spec: {secretRef: {name: s}, type: environment, description: null}
status: {conditions: []}
---
apiVersion: run.ai/v1
kind: ClusterCredential
metadata: {name: b}
spec: {secretRef: {name: s}, type: environment, namespaceSelector: {}}
---
apiVersion: run.ai/v1
kind: CredentialPolicy
metadata: {name: c}
spec: {namespaceSelector: {}, credentials: [a], enforcement: Default}
---
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {team: ml}}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: team}
data: {B: eA==, A: eA==}
stringData: {A: x, C: null}
`
  expect(objectsIn(text)).toEqual([
    {
      kind: 'Credential',
      namespace: 'team',
      name: 'a',
      spec: { secretRef: { name: 's' }, type: 'environment' },
    },
    {
      kind: 'ClusterCredential',
      name: 'b',
      spec: { secretRef: { name: 's' }, type: 'environment', namespaceSelector: {} },
    },
    {
      kind: 'CredentialPolicy',
      name: 'c',
      spec: { namespaceSelector: {}, credentials: ['a'], enforcement: 'Default' },
    },
    { kind: 'Namespace', name: 'team', labels: { team: 'ml' } },
    { kind: 'Secret', namespace: 'team', name: 's', type: 'Opaque', keys: ['B', 'A', 'C'] },
  ])
})

test('without a namespace, it is default', () => {
  const text =
    'apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: x/y\n---\napiVersion: run.ai/v1\nkind: Credential\nmetadata: {name: a, namespace: ""}\nspec: {secretRef: {name: s}, type: environment}\n'
  expect(objectsIn(text)).toMatchObject([
    { kind: 'Secret', namespace: 'default', type: 'x/y', keys: [] },
    { kind: 'Credential', namespace: 'default' },
  ])
})

test('lists are taken apart, also those of one kind as the API writes them', () => {
  const item = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'a' } }
  const list = { apiVersion: 'v1', kind: 'List', items: [item, { apiVersion: 'v1', kind: 'ConfigMap' }] }
  const typed = { apiVersion: 'v1', kind: 'NamespaceList', items: [{ metadata: { name: 'b' } }] }
  const nested = { apiVersion: 'v1', kind: 'List', items: [list, typed] }
  expect(objectsIn(JSON.stringify(nested))).toMatchObject([{ name: 'a' }, { kind: 'Namespace', name: 'b' }])
})

test.each([
  ['another kind', 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: 5\n'],
  ['a ConfigMap', 'apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n'],
  ['a kind of the same name of another group', 'apiVersion: accounts.example.com/v1\nkind: Credential\n'],
  ['values for a chart', 'image:\n  tag: latest\n'],
  ['a list of other kinds', 'apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Service}]\n'],
  ['an empty list', 'apiVersion: v1\nkind: List\nitems: []\n'],
  ['nothing', ''],
  ['empty documents', '---\n---\n# nothing\n'],
])('passed over without a word: %s', (_title, text) => {
  expect(readManifests(text)).toEqual({ objects: [], broken: [], problems: [] })
})

test('every fault is reported with its line, and the object with the first one', () => {
  const text = `# team a\n---\n${credential('a')}---\n${credential('b', 'type: env\n  secretRef:\n    nam: s')}`
  const { objects, broken, problems } = readManifests(text)
  expect(objects).toMatchObject([{ object: { name: 'a' }, line: 3 }])
  expect(problems).toEqual([
    {
      line: 18,
      message:
        'Credential team/b: spec.type: Unsupported value: "env": supported values: "environment", "file", "dockerRegistry"',
    },
    { line: 19, message: 'Credential team/b: spec.secretRef.name: Required value' },
    { line: 20, message: 'Credential team/b: unknown field "spec.secretRef.nam"; did you mean "name"?' },
  ])
  expect(broken).toEqual([
    {
      line: 18,
      object: {
        kind: 'Credential',
        namespace: 'team',
        name: 'b',
        reason:
          'spec.type: Unsupported value: "env": supported values: "environment", "file", "dockerRegistry" (and 2 more)',
      },
    },
  ])
})

test('in a list, the line is that of the item’s field', () => {
  const text = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: a}
- apiVersion: run.ai/v1
  kind: ClusterCredential
  metadata:
    name: b
  spec:
    secretRef: {name: s}
    type: environment
    mode: "0400"
`
  const { objects, problems } = readManifests(text)
  expect(objects).toMatchObject([{ object: { name: 'a' }, line: 4 }])
  expect(problems).toEqual([
    { line: 14, message: 'ClusterCredential b: spec.mode: Forbidden: mode goes with type file only' },
  ])
})

test.each([
  [
    'a misspelt kind',
    'apiVersion: run.ai/v1\nkind: Credentials\n',
    2,
    'no matches for kind "Credentials" in version "run.ai/v1"; did you mean "Credential"?',
  ],
  [
    'another version',
    'kind: Credential\napiVersion: run.ai/v1beta1\n',
    2,
    'no matches for kind "Credential" in version "run.ai/v1beta1"; write apiVersion: run.ai/v1',
  ],
  [
    'a misspelt group',
    'kind: Credential\napiVersion: runai/v1\n',
    2,
    'no matches for kind "Credential" in version "runai/v1"; write apiVersion: run.ai/v1',
  ],
  ['no version', 'kind: CredentialPolicy\n', 1, 'apiVersion: Required value: write apiVersion: run.ai/v1'],
  [
    'no kind',
    'apiVersion: run.ai/v1\n',
    1,
    'kind: Required value: write one of Credential, ClusterCredential, CredentialPolicy',
  ],
  ['no object', 'a: b\n---\njust text\n', 3, 'a manifest must have apiVersion, kind and metadata'],
  [
    'no name',
    'apiVersion: v1\nkind: Secret\nmetadata:\n  generateName: a-\n',
    3,
    'metadata.name: Required value: write a name: only an API server can make one from generateName',
  ],
  [
    'a label that is no text',
    'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels:\n    gpu: yes\n',
    6,
    'Namespace a: metadata.labels.gpu: Invalid value: "boolean": metadata.labels.gpu in body must be of type string: "boolean"',
  ],
  [
    'a namespace with a dot',
    'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a.b\n',
    4,
    'Namespace a.b: metadata.name: Invalid value: "a.b": must not contain dots',
  ],
])('reported: %s', (_title, text, line, message) => {
  const { objects, problems } = readManifests(text)
  expect(objects).toEqual([])
  expect(problems).toEqual([{ line, message }])
})

test('a kind that is misspelt is known by the one that was meant', () => {
  const { broken } = readManifests(credential('a').replace('kind: Credential', 'kind: Credentials'))
  expect(broken).toMatchObject([{ object: { kind: 'Credential', namespace: 'team', name: 'a' } }])
})

test.each([
  ['from what could be read', `${credential('a')}  type: file\n`, 'a', 9],
  ['from block lines', credential('a').replace('spec:', 'spec'), 'a', 6],
  [
    'behind labels',
    'kind: Credential\nmetadata:\n  labels:\n    name: other\n  name: a\n  namespace: "team"\nspec\n x',
    'a',
    7,
  ],
  ['from tabs', 'kind: Credential\nmetadata:\n\tname: a\n\tnamespace: team\nspec: {}\n', 'a', 3],
  ['from a flow mapping', 'kind: Credential\nmetadata: { namespace: team, name: a }\nspec: @\n', 'a', 3],
  [
    'from JSON',
    '{"kind": "Credential", "metadata": {"name": "a", "namespace": "team"},\n"spec": {"a" "b"}}',
    'a',
    2,
  ],
])('an object in a text that makes no sense is recognised %s', (_title, text, name, line) => {
  const { broken, problems } = readManifests(text)
  expect(broken).toMatchObject([{ line, object: { kind: 'Credential', namespace: 'team', name } }])
  expect(problems).toEqual([
    { line, message: expect.stringMatching(/^Credential team\/a: not valid YAML: /) },
  ])
})

test('a text that nobody can recognise is reported all the same', () => {
  expect(readManifests('{{ range .Values.credentials }}\nkind: Credential\n{{ end }}\n')).toEqual({
    objects: [],
    broken: [],
    problems: [{ line: 1, message: expect.stringMatching(/^not valid YAML: /) }],
  })
})

test('a plain value has at most 4096 characters: whoever watches credentials keeps it', () => {
  const text = (length: number) =>
    credential(
      'a',
      `secretRef: {name: s}\n  type: environment\n  variables: [{name: A, value: ${'x'.repeat(length)}}]`,
    )
  expect(objectsIn(text(4096))).toHaveLength(1)
  expect(readManifests(text(4097)).problems).toMatchObject([
    { message: expect.stringMatching(/spec\.variables\[0\]\.value: Too long: .*4096/) },
  ])
})

const CANARY = 'canary-4711-hunter2'
const SECRET = 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n'

test.each([
  ['as it should be', `${SECRET}stringData:\n  A: ${CANARY}\n  B: |\n    ${CANARY}\ndata:\n  C: ${CANARY}\n`],
  ['no text', `${SECRET}stringData:\n  A: [${CANARY}]\n`],
  ['not in a mapping', `${SECRET}stringData: ${CANARY}\n`],
  ['a list', `${SECRET}data:\n- ${CANARY}\n`],
  ['as a key', `${SECRET}stringData:\n  A:\n  "${CANARY} ": x\n`],
  ['as a field', `${SECRET}stringdata:\n  A: ${CANARY}\n${CANARY}: x\n`],
  ['as type', `${SECRET}type: [${CANARY}]\n`],
  ['without a closing quote', `${SECRET}stringData:\n  A: "${CANARY}\n`],
  ['with a wrong escape', `${SECRET}stringData:\n  A: "\\q${CANARY}"\n`],
  ['indented wrongly', `${SECRET}stringData:\n  A: |\n    x\n   ${CANARY}: ${CANARY}: x\n ${CANARY}\n`],
  ['twice', `${SECRET}stringData:\n  ${CANARY}: ${CANARY}\n  ${CANARY}: ${CANARY}\n`],
  ['as an alias', `${SECRET}stringData:\n  A: *${CANARY}\n`],
  ['behind a character that needs quotes', `${SECRET}stringData:\n  A: @${CANARY}\n  B: \`${CANARY}\n`],
  ['as a directive', `%${CANARY}\n---\n${SECRET}`],
  ['as a tag', `${SECRET}stringData:\n  A: !<${CANARY}\n`],
  ['as a key that is no text', `${SECRET}stringData:\n  ? {${CANARY}: 1}\n  : ${CANARY}\n`],
  ['in another kind that is broken', `kind: Deployment\nspec: {a: "${CANARY}\n`],
])('no value of a Secret is kept or shown: %s', (_title, text) => {
  expect(JSON.stringify(readManifests(text))).not.toContain('canary')
})

test.each([
  [
    'a number',
    'stringData:\n  PORT: 5432\n',
    6,
    'stringData.PORT: Invalid value: "integer": stringData.PORT in body must be of type string: "integer"',
  ],
  [
    'a key with a blank',
    'stringData:\n  A: x\n  b c: x\n',
    7,
    'stringData: key number 2 must consist of letters, digits, "-", "_" and "."',
  ],
  [
    'a key of the file system',
    'data:\n  ..: eA==\n',
    6,
    'data: key number 1 must consist of letters, digits, "-", "_" and "."',
  ],
  [
    'a misspelt field',
    'stringdata: {}\n',
    5,
    'a Secret has only type, data, stringData and immutable besides its metadata',
  ],
])('faults of a Secret: %s', (_title, rest, line, message) => {
  const { objects, problems } = readManifests(SECRET + rest)
  expect(objects).toEqual([])
  expect(problems).toEqual([{ line, message: `Secret default/s: ${message}` }])
})
