/** docs/threat-model.md: every threat has its row, and every test that it names exists. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { KNOWN_ANNOTATIONS } from '../../src/annotations.ts'

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const page = readFileSync(at('docs/threat-model.md'), 'utf8')

/** `[title](../test/…)`: the title of a test in that file, or a part of it; or the file's own path for all that is in it. */
const links = [...page.matchAll(/\[([^\]]+)\]\(\.\.\/((?:test|fixtures)\/[^)]+)\)/g)].map(
  ([, title = '', path = '']) => ({ title, path }),
)

const section = (title: string) => page.split(`\n## ${title}\n`)[1]?.split(/^## /m)[0] as string
const rows = (title: string) =>
  section(title)
    .split('\n')
    .filter((line) => /^\| /.test(line))
    .slice(1)

test('names many tests', () => {
  expect(links.length).toBeGreaterThan(60)
})

/** Texts that stand where a test, or what several are in, has its title. */
function titlesIn(path: string): string[] {
  const text = readFileSync(at(path), 'utf8')
  return [...text.matchAll(/\((['"`])((?:(?!\1).)+)\1/g)].map(([, , title = '']) => title)
}

test.each([...new Map(links.map((link) => [`${link.path}: ${link.title}`, link]))])(
  '%s',
  (_, { title, path }) => {
    expect(existsSync(at(path)), path).toBe(true)
    if (title === path || path.startsWith('fixtures/')) return
    expect(titlesIn(path)).toContainEqual(expect.stringContaining(title))
  },
)

test('the eighteen threats are all there, each with a test or a word why there is none', () => {
  const threats = rows('The eighteen threats')
  expect(threats.map((row) => Number(row.split('|')[1]))).toEqual(Array.from({ length: 18 }, (_, i) => i + 1))
  for (const row of [...threats, ...rows('Incidents of others'), ...rows('Failures of others')])
    expect(row.split(' | ').at(-1), row).toMatch(/\]\(\.\.\/|no test: there is nothing to show/)
})

/** Names of things of the pod's own namespace, paths in the pod, and choices of a few words. */
const HARMLESS: readonly string[] = [
  'inject',
  'containers',
  'skip-containers',
  'on-conflict',
  'opt-out',
  'injected',
  'restart-on-rotation',
  'restarted-for',
]

test('no annotation is an address, a template or an option of the server', () => {
  for (const key of KNOWN_ANNOTATIONS) expect(HARMLESS).toContain(key.replace(/.*\//, ''))
})

test('the version of fastify is one without the holes that are known', () => {
  const { dependencies } = JSON.parse(readFileSync(at('package.json'), 'utf8'))
  const [major, minor, patch] = dependencies.fastify.split('.').map(Number)
  expect([major > 5, major === 5 && minor > 8, major === 5 && minor === 8 && patch >= 5]).toContain(true)
})
