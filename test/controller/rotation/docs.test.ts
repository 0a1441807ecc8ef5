import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { RESTART_REASONS } from '../../../src/controller/rotation/reasons.ts'

const page = readFileSync(new URL('../../../docs/rotation.md', import.meta.url), 'utf8')

test('every reason of an event about restarts stands in the page with what to do, and no other', () => {
  const rows = [...page.matchAll(/^\| `(R[A-Za-z]+)` \| .+ \| (.+) \|$/gm)].map(([, reason, remedy]) => [
    reason,
    remedy,
  ])
  const reasons = Object.entries(RESTART_REASONS).map(([reason, { remedy }]) => [reason, remedy])
  expect(rows.sort()).toEqual(reasons.sort())
})
