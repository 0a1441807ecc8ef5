import { expect, test } from 'vitest'
import { below, folderKey, moved, normalizeFolder } from '../../src/api/paths.ts'

test.each([
  ['/g/sa.json', '/g', '/x', '/x/sa.json'],
  ['/g', '/g', '/x', '/x'],
  ['/g/', '/g', '/x', '/x/'],
  ['/gg/sa.json', '/g', '/x', '/gg/sa.json'],
  ['/g/odd\\name', '/g', '/x', '/x/odd\\name'],
  ['/g/sa.json', '/g', 'C:\\x', 'C:\\x\\sa.json'],
  ['c:/G/Sub/sa.json', 'C:\\g', 'D:\\x', 'D:\\x\\Sub\\sa.json'],
  ['C:\\g\\Sub\\sa.json', 'C:\\g', '/x', '/x/Sub/sa.json'],
  ['C:\\gg\\sa.json', 'C:\\g', '/x', 'C:\\gg\\sa.json'],
  ['C:/g/sa.json', 'C:\\g', 'c:\\G', 'C:/g/sa.json'],
  ['some text', '/g', '/x', 'some text'],
])('%s of %s in %s is %s', (text, home, folder, expected) => {
  expect(moved(text, home, folder)).toBe(expected)
})

test.each([
  ['/a/b/c', '/a', 'b/c'],
  ['/a', '/a', undefined],
  ['/ab', '/a', undefined],
  ['c:\\a\\b\\c', 'c:\\a', 'b/c'],
])('%s is below %s by %s', (path, folder, expected) => {
  expect(below(path, folder)).toBe(expected)
})

test.each([
  ['data', '/data'],
  ['data/./x//', '/data/x'],
  ['C:/Data//x/', 'c:\\data\\x'],
])('%s is the folder %s', (path, expected) => {
  expect(folderKey(normalizeFolder(path))).toBe(expected)
})
