import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const COUNTS = fileURLToPath(new URL('../../.ci/counts.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'credential-injector-counts-'))
afterAll(() => rmSync(folder, { recursive: true }))

const good = {
  numPassedTests: 5,
  numPendingTests: 1,
  testResults: [{ status: 'passed', assertionResults: [] }],
}
const failing = {
  numPassedTests: 3,
  numFailedTests: 2,
  testResults: [{ status: 'failed', assertionResults: [{ status: 'failed' }, { status: 'failed' }] }],
}
const unloadable = { numPassedTests: 1, testResults: [{ status: 'failed', assertionResults: [] }] }

test.each([
  ['the counts of both reports are added up', 0, [good, good], '10 passed, 0 failed, 2 skipped', 0],
  ['failed tests are counted', 1, [good, failing], '8 passed, 2 failed, 1 skipped', 1],
  ['a file that cannot be loaded is a failure', 1, [good, unloadable], '6 passed, 1 failed, 1 skipped', 1],
  [
    'a step that fails without a failed test is a failure',
    1,
    [good, good],
    '10 passed, 1 failed, 2 skipped',
    1,
  ],
  ['a report that is missing is a failure', 0, [good, undefined], '5 passed, 1 failed, 1 skipped', 1],
  ['a run in which nothing passed is a failure', 0, [good, {}], '5 passed, 1 failed, 1 skipped', 1],
])('%s', (_, status, reports, line, code) => {
  const files = reports.map((report, index) => {
    const file = join(folder, `${index}.json`)
    rmSync(file, { force: true })
    if (report) writeFileSync(file, JSON.stringify(report))
    return file
  })

  const run = spawnSync(process.execPath, [COUNTS, String(status), ...files], { encoding: 'utf8' })

  expect({ line: run.stdout, code: run.status }).toEqual({ line: `${line}\n`, code })
})
