// Prints `N passed, N failed[, N skipped]` from the test runner's reports, added up. A step that failed without a failed test (lint,
// types, an install) counts as one failure. Plain JavaScript: it runs on whatever Node the machine has.
import { readFileSync } from 'node:fs'

const [status, ...files] = process.argv.slice(2)
const reports = files.map(read)
const passed = sum(({ numPassedTests = 0 }) => numPassedTests)
const skipped = sum(({ numPendingTests = 0, numTodoTests = 0 }) => numPendingTests + numTodoTests)
const inTests = sum(
  ({ numFailedTests = 0, testResults = [] }) => numFailedTests + testResults.filter(brokenFile).length,
)
const nothingRan = reports.some(({ numPassedTests = 0 }) => numPassedTests === 0)
const failed = inTests === 0 && (status !== '0' || nothingRan) ? 1 : inTests

process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
process.exitCode = failed > 0 ? 1 : 0

function sum(count) {
  return reports.reduce((total, report) => total + count(report), 0)
}

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
