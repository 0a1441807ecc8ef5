/**
 * Writes the golden files of fixtures/inject (or of the cases named on the command line) from what the engine makes of
 * them now: expected.yaml, the pod after injection, and report.txt. Read the difference before you commit it:
 * effect.yaml is the judgement, and is never written by a program.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  caseNames,
  loadCase,
  openCatalog,
  patched,
  renderPod,
  renderReport,
  runEngine,
  writeCatalog,
} from '../test/support/fixtures.ts'

const names = process.argv.length > 2 ? process.argv.slice(2) : caseNames()
const root = mkdtempSync(join(tmpdir(), 'credential-injector-fixtures-'))
try {
  for (const name of names) updateCase(name)
} finally {
  rmSync(root, { recursive: true })
}

function updateCase(name: string): void {
  const fixture = loadCase(name)
  if (!fixture.request.doors.includes('engine')) return
  const outcome = runEngine(fixture, openCatalog(writeCatalog(fixture, root)))
  const expected = join(fixture.folder, 'expected.yaml')
  if (outcome.kind === 'Injected') writeFileSync(expected, renderPod(patched(fixture.pod, outcome)))
  else rmSync(expected, { force: true })
  writeFileSync(join(fixture.folder, 'report.txt'), renderReport(outcome))
}
