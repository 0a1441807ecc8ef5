/** An API server writes the schema's defaults into what it stores; a folder does not. The engine must not see a difference. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { type Case, caseNames, loadCase, openCatalog, runEngine, writeCatalog } from '../support/fixtures.ts'

const roots = ['with', 'without'].map((name) =>
  mkdtempSync(join(tmpdir(), `credential-injector-${name}-defaults-`)),
)
afterAll(() => roots.forEach((root) => void rmSync(root, { recursive: true })))

const readable = ({ catalog }: Case) =>
  Object.values(catalog).every((text) => parseAllDocuments(text).every(({ errors }) => errors.length === 0))
const cases = caseNames()
  .map((name) => loadCase(name))
  .filter(readable)

test.each(cases.map((fixture) => [fixture.name, fixture] as const))('%s', (_, fixture) => {
  const catalog = Object.fromEntries(
    Object.entries(fixture.catalog).map(([file, text]) => [file, withDefaults(text)]),
  )
  const [stored, written] = [{ ...fixture, catalog }, fixture].map((each, index) =>
    JSON.stringify(runEngine(each, openCatalog(writeCatalog(each, roots[index] as string)))),
  )
  expect(stored).toBe(written)
})

test('defaults are really added', () => {
  const texts = cases.map(({ catalog }) => Object.values(catalog).map(withDefaults).join())
  expect(texts.filter((text) => text.includes('restart: Never')).length).toBeGreaterThan(150)
  expect(texts.filter((text) => text.includes('failurePolicy: Fail')).length).toBeGreaterThan(30)
})

function withDefaults(text: string): string {
  return parseAllDocuments(text)
    .map((document) => {
      const spec = document.get('spec') as { has?(key: string): boolean } | undefined
      if (document.get('kind') === 'CredentialPolicy' && !spec?.has?.('failurePolicy'))
        document.setIn(['spec', 'failurePolicy'], 'Fail')
      const type = document.getIn(['spec', 'type'])
      if ((type === 'environment' || type === 'file') && !document.hasIn(['spec', 'rotation', 'restart']))
        document.setIn(['spec', 'rotation', 'restart'], 'Never')
      return String(document)
    })
    .join('')
}
