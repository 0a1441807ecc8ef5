/**
 * Writes docs/rights.md from the chart. It renders the chart some dozens of times, which takes helm: the one that HELM names, or
 * the one that the cluster tests build.
 *
 *     npm run rights
 */
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { program } from '../test/cluster/kit/programs.ts'
import { rightsPage } from './generate/rights.ts'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))
const NAME = 'credential-injector'
const CHART = `${CHECKOUT}charts/${NAME}`
const PAGE = 'docs/rights.md'

/** What the cluster is said to have. */
const APIS = ['cert-manager.io/v1', 'monitoring.coreos.com/v1'].flatMap((api) => ['--api-versions', api])

const helm = process.env.HELM || (await program('helm'))

function rendered(values: object): Promise<string> {
  const args = ['template', NAME, CHART, '--namespace', NAME, '--values', '-', ...APIS]
  return new Promise((resolve, reject) => {
    const child = execFile(helm, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    )
    child.stdin?.on('error', () => {}).end(JSON.stringify(values))
  })
}

const page = await rightsPage({
  render: rendered,
  schema: JSON.parse(readFileSync(`${CHART}/values.schema.json`, 'utf8')),
  values: parse(readFileSync(`${CHART}/values.yaml`, 'utf8')),
}).catch(({ message }: Error) => {
  process.stderr.write(`${message}\n`)
  process.exit(1)
})
writeFileSync(`${CHECKOUT}${PAGE}`, page)
process.stdout.write(`wrote ${PAGE}\n`)
