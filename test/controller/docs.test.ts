import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createControllerMetrics } from '../../src/controller/metrics.ts'

const [, page = ''] = readFileSync(new URL('../../docs/controller.md', import.meta.url), 'utf8').split(
  '## Metrics',
)

test('every metric of the controller stands in its page, and no other', async () => {
  const metrics = createControllerMetrics()
  // Those that come with what is measured.
  for (const name of ['controller_leader', 'controller_queue_depth']) metrics.gauge(name, name, () => 0)
  metrics.credentials(() => [])
  metrics.staleness(() => [])
  const names = [...(await metrics.text()).matchAll(/^# TYPE credential_injector_(\S+)/gm)].map(
    ([, name]) => name,
  )
  const documented = [...page.matchAll(/^\| `([a-z_]+)(?:\{[a-z,]+\})?` \| /gm)].map(([, name]) => name)
  expect([...documented].sort()).toEqual([...names].sort())
})
