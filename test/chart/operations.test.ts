/** docs/operations.md, the alerts and the dashboard speak of metrics: of all that exist, and of no others. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCertificateMetrics } from '../../src/controller/certificates/metrics.ts'
import { entryName } from '../../src/controller/policies/entries.ts'
import { type FakeApiServer, startFakeApiServer } from '../support/fake-apiserver.ts'
import { run, writeFolder } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'

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

const running: { signal(name: NodeJS.Signals): void }[] = []
let api: FakeApiServer
beforeAll(async () => {
  api = await startFakeApiServer()
})
afterAll(async () => {
  for (const child of running) child.signal('SIGKILL')
  await api.close()
})

/** The names of what a program registers, once it is ready. */
async function registeredBy(...args: string[]): Promise<string[]> {
  const child = run(args)
  running.push(child)
  await eventually('ready', () => child.stdout().includes('Metrics: '))
  const text = await (await fetch(/Metrics: (\S+)/.exec(child.stdout())?.[1] as string)).text()
  return [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string)
}

describe('metrics', () => {
  const kubeconfig = () =>
    join(
      writeFolder({
        config: JSON.stringify({
          'current-context': 'c',
          contexts: [{ name: 'c', context: { cluster: 'c' } }],
          clusters: [{ name: 'c', cluster: { server: api.url } }],
        }),
      }),
      'config',
    )

  test('every one of the webhook is documented, and nothing else', async () => {
    const registered = await registeredBy('serve', '--port', '0', '--kubeconfig', kubeconfig())
    expect([...tableOf('Of the webhook'), ...tableOf('Of both')].sort()).toEqual(registered.sort())
  })

  test('every one of the controller is documented, and nothing else', async () => {
    const flags = ['--metrics-port', '0', '--leader-elect', 'false']
    const registered = await registeredBy('controller', '--kubeconfig', kubeconfig(), ...flags)
    expect([...tableOf('Of the controller'), ...tableOf('Of both')].sort()).toEqual(registered.sort())
  })

  test('every one of self-managed certificates is documented, and nothing else', async () => {
    const registry = new Registry()
    createCertificateMetrics([registry])
    const registered = registry.getMetricsAsArray().map(({ name }) => name)
    expect(tableOf('Of the controller, in self-managed mode')).toEqual(registered.sort())
  })
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

describe.each([
  ['alerts', /\$called := "(.*)" /g, alerts.replaceAll('\\"', '"')],
  ['dashboard', /apiserver_[a-z_]+\{([^,}]*)/g, dashboard.replaceAll('\\"', '"')],
])('what the %s ask of the API server', (_, pattern, text) => {
  test('is about annotated pods and the pods of every policy, and nobody else', () => {
    const matchers = [...text.matchAll(pattern)].map(
      ([, matcher = '']) => /^name=~"(.*)"$/.exec(matcher)?.[1],
    )
    expect(matchers.length).toBeGreaterThan(0)
    for (const matcher of matchers) {
      const asked = new RegExp(`^(?:${matcher})$`)
      for (const name of ['pods.credentials.run.ai', entryName('ml'), entryName('a'.repeat(253))])
        expect(name).toMatch(asked)
      for (const name of [
        'workloads.credentials.run.ai',
        'x.pods.credentials.run.ai',
        'podsxcredentials.run.ai',
      ])
        expect(name).not.toMatch(asked)
    }
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
