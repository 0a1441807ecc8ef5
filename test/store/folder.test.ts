import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { type Folder, type FolderOptions, openFolder, type Reload } from '../../src/store/folder.ts'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'catalog-'))
})

afterEach(() => {
  rmSync(root, { recursive: true, force: true })
})

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

function credential(name: string, spec = 'secretRef: {name: s}\n  type: environment'): string {
  return `---\napiVersion: run.ai/v1\nkind: Credential\nmetadata:\n  name: ${name}\n  namespace: team\nspec:\n  ${spec}\n`
}

const WRONG = 'secretRef: {name: s}\n  type: env'
const WRONG_TYPE =
  'spec.type: Unsupported value: "env": supported values: "environment", "file", "dockerRegistry"'

function open(options: FolderOptions = {}): Folder & { reloads: Reload[] } {
  const reloads: Reload[] = []
  const folder = openFolder(root, { watch: false, onReload: (reload) => reloads.push(reload), ...options })
  onTestFinished(() => folder.close())
  return { ...folder, reloads }
}

/** Follows the folder as a server does; `reloaded` resolves with the next change that comes into effect. */
function follow() {
  const waiting: ((reload: Reload) => void)[] = []
  const folder = open({ watch: true, onReload: (reload) => waiting.shift()?.(reload) })
  return { ...folder, reloaded: () => new Promise<Reload>((resolve) => waiting.push(resolve)) }
}

function names(folder: Folder): readonly string[] {
  return folder.store.view('team').names()
}

function messages(folder: Folder): string[] {
  return folder.status().problems.map(({ file, line, message }) => `${file}:${line ?? ''} ${message}`)
}

test('a folder is read with all below it: YAML and JSON, but nothing else and nothing hidden', () => {
  write('a.yaml', credential('a'))
  write('deep/er/b.yml', credential('b'))
  write(
    'deep/c.json',
    JSON.stringify({
      apiVersion: 'run.ai/v1',
      kind: 'ClusterCredential',
      metadata: { name: 'c' },
      spec: { secretRef: { name: 's' }, type: 'environment', namespaceSelector: {} },
    }),
  )
  write('D.YAML', credential('d'))
  write('README.md', credential('no'))
  write('.hidden.yaml', credential('no'))
  write('.git/no.yaml', credential('no'))
  write('a.yaml.bak', credential('no'))
  const folder = open()
  expect(names(folder)).toEqual(['a', 'b', 'd', 'cluster/c'])
  expect(folder.status()).toEqual({
    counts: { credentials: 3, clusterCredentials: 1, policies: 0, namespaces: 1 },
    problems: [],
    lastGoodRead: expect.any(Number),
  })
})

test('an empty folder is a catalogue without credentials', () => {
  expect(names(open())).toEqual([])
})

test.each([
  ['does not exist', () => join(root, 'none'), 'it does not exist'],
  ['is a file', () => join(root, 'a.yaml'), 'it is not a folder'],
])('a folder that %s cannot be opened', (_title, place, fault) => {
  write('a.yaml', '')
  const path = place()
  expect(() => openFolder(path)).toThrow(new Error(`the catalogue folder ${path} cannot be read: ${fault}`))
})

test('at the start, what is broken is reported and left out, and who names it learns why', () => {
  write('team/a.yaml', credential('a') + credential('b', WRONG))
  const folder = open()
  expect(messages(folder)).toEqual([`team/a.yaml:18 Credential team/b: ${WRONG_TYPE}`])
  expect(folder.status().lastGoodRead).toBeUndefined()
  const view = folder.store.view('team')
  expect(view.credential('a')).toMatchObject({ name: 'a' })
  expect(view.credential('b')).toEqual({
    broken: `its manifest in team/a.yaml line 18 is broken: ${WRONG_TYPE}`,
  })
})

test('changes are picked up: added, changed, removed', async () => {
  write('a.yaml', credential('a'))
  write('b.yaml', credential('b'))
  const folder = open()
  const before = folder.store.view('team')
  write('new/c.yaml', credential('c'))
  write('a.yaml', credential('a', 'secretRef: {name: other}\n  type: environment'))
  rmSync(join(root, 'b.yaml'))
  await folder.reload()
  expect(folder.reloads).toEqual([{ changed: ['a.yaml', 'b.yaml', 'new/c.yaml'], problems: [] }])
  expect(names(folder)).toEqual(['a', 'c'])
  expect(folder.store.view('team').credential('a')).toMatchObject({ secretName: 'other' })
  // Whoever has looked before still sees all of what was there before.
  expect([before.names(), before.credential('a')]).toMatchObject([['a', 'b'], { secretName: 's' }])
})

test('nothing is read again, and nothing said, when nothing has changed', async () => {
  write('a.yaml', credential('a'))
  const folder = open()
  const view = folder.store.view('team')
  utimesSync(join(root, 'a.yaml'), 1, 1)
  await folder.reload()
  expect(folder.reloads).toEqual([])
  expect(folder.store.view('team')).toBe(view)
})

test('a change of the same length at the same moment is not missed', async () => {
  write('a.yaml', credential('a'))
  const folder = open()
  for (const name of ['b', 'c', 'd', 'e']) {
    write('a.yaml', credential(name))
    await folder.reload()
    expect(names(folder)).toEqual([name])
  }
})

test('a file that becomes broken takes nothing away; what can be read in it counts', async () => {
  write('a.yaml', credential('a') + credential('b') + credential('c'))
  const folder = open()
  const changedB = 'secretRef: {name: other}\n  type: environment'
  write('a.yaml', credential('a', WRONG) + credential('b', changedB) + credential('d'))
  await folder.reload()
  const view = folder.store.view('team')
  // a: its last good version; b: as it is now; c: was removed, but the file may just be half written; d: new.
  expect(view.names()).toEqual(['a', 'b', 'c', 'd'])
  expect(view.credential('a')).toMatchObject({ spec: { type: 'environment' } })
  expect(view.credential('b')).toMatchObject({ secretName: 'other' })
  const problem = { file: 'a.yaml', line: 9, message: `Credential team/a: ${WRONG_TYPE}` }
  expect(folder.reloads).toEqual([{ changed: ['a.yaml'], problems: [problem] }])
  expect(folder.status().problems).toEqual([problem])

  // Broken in another way: still nothing is lost.
  write('a.yaml', 'x: "')
  await folder.reload()
  expect(names(folder)).toEqual(['a', 'b', 'c', 'd'])
  expect(folder.reloads.at(-1)?.problems).toMatchObject([{ file: 'a.yaml', line: 1 }])

  // Once it is right again, it says what there is.
  write('a.yaml', credential('a') + credential('d'))
  await folder.reload()
  expect(names(folder)).toEqual(['a', 'd'])
  expect(folder.reloads.at(-1)).toEqual({ changed: ['a.yaml'], problems: [] })
  expect(folder.status().problems).toEqual([])
})

test('who asks again while a look waits for its turn gets the same look', async () => {
  write('a.yaml', credential('a'))
  const folder = open()
  const first = folder.reload()
  expect(folder.reload()).toBe(first)
  await first
  expect(folder.reload()).not.toBe(first)
})

test('a broken file that is removed takes all its objects with it', async () => {
  write('a.yaml', credential('a'))
  const folder = open()
  write('a.yaml', credential('a', WRONG))
  await folder.reload()
  rmSync(join(root, 'a.yaml'))
  await folder.reload()
  expect([names(folder), messages(folder)]).toEqual([[], []])
})

test('what is right elsewhere replaces what is only left from before', async () => {
  write('a.yaml', credential('a'))
  const folder = open()
  write('a.yaml', 'x: "')
  write('b.yaml', credential('a', 'secretRef: {name: moved}\n  type: environment'))
  await folder.reload()
  expect(folder.store.view('team').credential('a')).toMatchObject({ secretName: 'moved' })
})

test('of two definitions the first counts, and the second is reported with both places', async () => {
  write('a.yaml', credential('a'))
  write('b.yaml', credential('a', 'secretRef: {name: second}\n  type: environment') + credential('b'))
  write('c.yaml', credential('b'))
  const folder = open()
  expect(folder.store.view('team').credential('a')).toMatchObject({ secretName: 's' })
  expect(messages(folder)).toEqual([
    'b.yaml:2 Credential team/a is already defined in a.yaml line 2, which counts',
    'c.yaml:2 Credential team/b is already defined in b.yaml line 11, which counts',
  ])
  rmSync(join(root, 'a.yaml'))
  await folder.reload()
  expect(folder.store.view('team').credential('a')).toMatchObject({ secretName: 'second' })
  expect(messages(folder)).toHaveLength(1)
  // The problem that was known before is not told again.
  expect(folder.reloads).toEqual([{ changed: ['a.yaml'], problems: [] }])
})

test('the same name in another namespace, or of another kind, is another object', () => {
  write(
    'a.yaml',
    `${credential('a')}${credential('a').replace('namespace: team', 'namespace: other')}---\napiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: team}\n`,
  )
  expect(messages(open())).toEqual([])
})

test('a right definition counts before a broken one', () => {
  write('a.yaml', credential('a', WRONG))
  write('b.yaml', credential('a'))
  const folder = open()
  expect(folder.store.view('team').credential('a')).toMatchObject({ name: 'a' })
  expect(messages(folder)).toHaveLength(1)
})

test('when the folder vanishes, the last good state stays until it is back', async () => {
  write('a.yaml', credential('a'))
  const folder = open()
  renameSync(root, `${root}-away`)
  onTestFinished(() => rmSync(`${root}-away`, { recursive: true, force: true }))
  await folder.reload()
  await folder.reload()
  expect(names(folder)).toEqual(['a'])
  const problem = { file: '.', message: `the catalogue folder ${root} cannot be read: it does not exist` }
  expect(folder.reloads).toEqual([{ changed: [], problems: [problem] }])
  expect(folder.status().problems).toEqual([problem])
  renameSync(`${root}-away`, root)
  write('b.yaml', credential('b'))
  await folder.reload()
  expect([names(folder), messages(folder)]).toEqual([['a', 'b'], []])
})

test('what cannot be reached or read any more stays as it was', async () => {
  write('a.yaml', credential('a'))
  write('b.yaml', credential('b'))
  write('sub/c.yaml', credential('c'))
  const folder = open()
  for (const name of ['a.yaml', 'sub']) {
    rmSync(join(root, name), { recursive: true })
    symlinkSync(name, join(root, name))
  }
  truncateSync(join(root, 'b.yaml'), 33 * 1024 * 1024)
  await folder.reload()
  await folder.reload()
  expect(names(folder)).toEqual(['a', 'b', 'c'])
  expect(messages(folder)).toEqual([
    'a.yaml: it cannot be read: its links lead in a circle',
    'b.yaml: it cannot be read: it is larger than 32 MiB',
    'sub: it cannot be read: its links lead in a circle',
  ])
  expect(folder.reloads).toHaveLength(1)
})

test('links that lead in a circle or to nothing do no harm', () => {
  write('sub/a.yaml', credential('a'))
  symlinkSync('..', join(root, 'sub/up'))
  symlinkSync('gone.yaml', join(root, 'b.yaml'))
  symlinkSync('self.yaml', join(root, 'self.yaml'))
  const folder = open()
  expect(names(folder)).toEqual(['a'])
  expect(messages(folder)).toEqual(['self.yaml: it cannot be read: its links lead in a circle'])
})

/** As the kubelet writes a volume: the files are links through `..data`, which is exchanged as a whole. */
function mountConfigMap(version: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) write(`..${version}/${name}`, text)
  symlinkSync(`..${version}`, join(root, '..data_tmp'))
  renameSync(join(root, '..data_tmp'), join(root, '..data'))
}

test('a ConfigMap volume is read once, and its update as one change', async () => {
  mountConfigMap('2026_1', { 'a.yaml': credential('a'), 'b.yaml': credential('b') })
  symlinkSync('..data/a.yaml', join(root, 'a.yaml'))
  symlinkSync('..data/b.yaml', join(root, 'b.yaml'))
  const folder = follow()
  expect([names(folder), messages(folder)]).toEqual([['a', 'b'], []])
  const reloaded = folder.reloaded()
  mountConfigMap('2026_2', { 'a.yaml': credential('a2'), 'b.yaml': credential('b2') })
  rmSync(join(root, '..2026_1'), { recursive: true })
  expect(await reloaded).toEqual({ changed: ['a.yaml', 'b.yaml'], problems: [] })
  expect(names(folder)).toEqual(['a2', 'b2'])
})

test('a change is noticed without being asked for, also in a folder that is new', async () => {
  write('a.yaml', credential('a'))
  const folder = follow()
  let reloaded = folder.reloaded()
  write('a.yaml', credential('changed'))
  await reloaded
  expect(names(folder)).toEqual(['changed'])
  reloaded = folder.reloaded()
  write('new/deep/b.yaml', credential('b'))
  await reloaded
  expect(names(folder)).toEqual(['b', 'changed'])
  reloaded = folder.reloaded()
  write('new/deep/b.yaml', credential('b2'))
  await reloaded
  expect(names(folder)).toEqual(['b2', 'changed'])
})

test('after it is closed, a folder stays as it is', async () => {
  write('a.yaml', credential('a'))
  const folder = open()
  const reading = folder.reload()
  write('b.yaml', credential('b'))
  folder.close()
  await reading
  await folder.reload()
  expect([names(folder), folder.reloads]).toEqual([['a'], []])
})

test('no value of a Secret stays in memory or gets into a report', async () => {
  const secret = (value: string) =>
    `---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: team}\nstringData: {A: ${value}}\n`
  write('a.yaml', credential('a') + secret('canary-1'))
  write('b.yaml', secret('"canary-2'))
  const folder = open()
  write('a.yaml', credential('a') + secret('canary-3: canary-4'))
  await folder.reload()
  expect(folder.status().problems).toHaveLength(2)
  expect(folder.store.view('team').credential('a')).toMatchObject({ keys: ['A'] })
  const all = [
    folder.status(),
    folder.reloads,
    folder.store.view('team').credential('a'),
    folder.store.view('team').knownSecret('s'),
  ]
  expect(JSON.stringify(all)).not.toContain('canary')
})

test('10,000 credentials in 1,000 namespaces', async () => {
  for (let file = 0; file < 20; file++) {
    const documents = Array.from({ length: 500 }, (_, index) => {
      const number = file * 500 + index
      const name = `{name: c${number}, namespace: n${number % 1000}}`
      return `---
apiVersion: run.ai/v1
kind: Credential
metadata:
  name: c${number}
  namespace: n${number % 1000}
spec:
  secretRef:
    name: c${number}
  type: environment
---
apiVersion: v1
kind: Secret
metadata: ${index === 0 ? name : `\n  name: c${number}\n  namespace: n${number % 1000}`}
stringData:
  API_KEY: x
`
    })
    write(`${file}.yaml`, documents.join(''))
  }
  const folder = open()
  expect(folder.status()).toMatchObject({ counts: { credentials: 10_000, namespaces: 1000 }, problems: [] })
  for (let number = 0; number < 10_000; number += 77) {
    const view = folder.store.view(`n${number % 1000}`)
    expect(view.names()).toHaveLength(10)
    expect(view.credential(`c${number}`)).toMatchObject({ keys: ['API_KEY'] })
  }
  rmSync(join(root, '7.yaml'))
  await folder.reload()
  expect(folder.status().counts.credentials).toBe(9500)
})
