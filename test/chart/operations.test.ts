/** docs/operations.md, the alerts and the dashboard speak of metrics: of all that exist, and of no others. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { type RunningServer, startServer } from '../support/server.ts'

const root = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')
const page = root('docs/operations.md')
const alerts = root('charts/credential-injector/templates/monitoring/prometheusrule.yaml')
const dashboard = root('charts/credential-injector/files/dashboards/credential-injector.json')

const section = (title: string) => page.split(`### ${title}\n`)[1]?.split(/^##/m)[0] as string
const tableOf = (title: string) =>
  [...section(title).matchAll(/^\| `([a-z_]+)/gm)].map(([, name]) => name).sort()
const documented = new Set([...page.matchAll(/^\| `([a-z_]+)/gm)].map(([, name]) => name as string))
/** Metrics in expressions, each of which names labels; of a histogram its name without `_bucket`. */
const used = (text: string) => {
  const names = [...text.matchAll(/\b[a-z]+_[a-z_]+(?= ?\{)/g)].map(([name]) => name.replace(/_bucket$/, ''))
  return [...new Set(names)]
}

const running: RunningServer[] = []
afterAll(() => {
  for (const server of running) server.signal('SIGKILL')
})

test('every metric of the webhook is documented, and nothing else', async () => {
  const server = await startServer(fileURLToPath(new URL('../../examples/catalog', import.meta.url)))
  running.push(server)
  const text = await (await fetch(server.metricsUrl)).text()
  await server.stop()
  const registered = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name).sort()
  expect(registered.length).toBeGreaterThan(10)
  expect(tableOf('Of the webhook')).toEqual(registered)
})

describe.each([
  ['alerts', alerts],
  ['dashboard', dashboard],
])('the %s', (_, text) => {
  test('use documented metrics only', () => {
    const names = used(text)
    expect(names.length).toBeGreaterThan(8)
    expect(names.filter((name) => !documented.has(name))).toEqual([])
  })
})

test('every alert has a paragraph that says what to do, and every paragraph an alert', () => {
  const names = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
  expect(names.length).toBeGreaterThan(8)
  expect([...page.matchAll(/^### (CredentialInjector\w+)$/gm)].map(([, name]) => name)).toEqual(names)
  for (const name of names) expect(section(name as string).trim().length).toBeGreaterThan(40)
})

test('the dashboard is what Grafana imports: each panel has a place, a query and an explanation', () => {
  const { panels, templating } = JSON.parse(dashboard)
  expect(templating.list.map(({ name }: { name: string }) => name)).toEqual(['datasource', 'namespace'])
  const places = new Set<string>()
  for (const { id, type, title, description, gridPos, targets } of panels) {
    const { x, y, w, h } = gridPos
    expect(x + w).toBeLessThanOrEqual(24)
    for (let column = x; column < x + w; column++)
      for (let row = y; row < y + h; row++) {
        expect(places.has(`${column},${row}`), `panel ${id} "${title}" lies on another`).toBe(false)
        places.add(`${column},${row}`)
      }
    if (type === 'row') continue
    expect(description).toBeTruthy()
    expect(targets.length).toBeGreaterThan(0)
  }
})
