// Prints `N passed, N failed[, N skipped]` from the test runner's report. A step that failed without a failed test (lint,
// types, an install) counts as one failure. Plain JavaScript: it runs on whatever Node the machine has.
import { readFileSync } from 'node:fs'

const [file, status] = process.argv.slice(2)
const report = read(file)
const passed = report.numPassedTests ?? 0
const skipped = (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0)
const inTests = (report.numFailedTests ?? 0) + (report.testResults ?? []).filter(brokenFile).length
const failed = inTests === 0 && (status !== '0' || passed === 0) ? 1 : inTests

process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
process.exitCode = failed > 0 ? 1 : 0

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return {}
  }
}

/** A file that could not even be loaded has no tests to count. */
function brokenFile({ status: result, assertionResults }) {
  return result === 'failed' && !assertionResults.some(({ status: test }) => test === 'failed')
}
