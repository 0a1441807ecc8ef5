import { expect, test } from 'vitest'
import { mountPathProblem } from '../../src/api/paths.ts'
import { validateManifest } from '../../src/api/validate.ts'
import { credential, file, RIGHT, WRONG } from '../support/manifest-table.ts'

test.each(WRONG)('%s', (_title, manifest, ...sentences) => {
  const messages = validateManifest(manifest).map(({ message }) => message)
  expect(messages.sort()).toEqual(sentences.sort())
})

test.each(RIGHT)('right: %s', (_title, manifest) => {
  expect(validateManifest(manifest)).toEqual([])
})

test('whatever a status holds, it is ignored', () => {
  expect(validateManifest(credential({}, { status: { anything: [1] } }))).toEqual([])
})

test('a problem says where it is', () => {
  const wrong = file({
    files: [{ key: 'a' }, { key: 'b', mode: 'x' }],
    variables: [{ name: 'A' }, { name: 'A' }],
  })
  const paths = validateManifest(wrong).map(({ path }) => path)
  expect(paths).toEqual([
    ['spec', 'files', 1, 'mode'],
    ['spec', 'variables', 1],
  ])
})

test('the manifest is left as it was', () => {
  const manifest = file({ description: null, files: [{ key: 'a', path: null }] })
  const before = structuredClone(manifest)
  validateManifest(manifest)
  expect(manifest).toEqual(before)
})

test('the schema refuses the mount paths that an annotation may not have either', () => {
  const parts = [
    '',
    '/',
    '//',
    '.',
    '..',
    'a',
    'proc',
    'dev',
    'C:',
    'c:\\',
    '\\',
    ':',
    'var/run/secrets/kubernetes.io',
    '\n',
  ]
  const paths = parts.flatMap((a) =>
    parts.flatMap((b) => parts.flatMap((c) => [a + b + c, `/${a}/${b}/${c}`])),
  )
  const disagreements = [...new Set(paths)].filter((path) => {
    const refused = validateManifest(file({ mountPath: path })).length > 0
    return refused !== (mountPathProblem(path) !== undefined)
  })
  expect(disagreements).toEqual([])
})
