/**
 * Measures what the project promises, side by side in one run, and prints a table. Fails if a promise is broken.
 *
 *     npm run bench              about three minutes
 *     npm run bench -- --quick   about one, for a first look: too short for a verdict
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates, writeCertificates } from '../certs/make.ts'
import manifest from '../package.json' with { type: 'json' }
import { writeMany, writeThree } from './catalogs.ts'
import { medianOfEngine } from './engine.ts'
import type { LoadResult } from './load.ts'
import { load, type Server, startServer } from './processes.ts'
import { benchReviews } from './reviews.ts'
import { type Promised, Table } from './table.ts'

const IS_QUICK = process.argv.includes('--quick')
const SECONDS = IS_QUICK ? 1 : 3
const ROUNDS = IS_QUICK ? 3 : 7
const WARM_UP_SECONDS = 2

/** Flags of Node as `npm start` has them, and the program as the image has it. */
const START = [
  ...manifest.scripts.start.split(' ').filter((word) => word.startsWith('--')),
  'dist/webhook.js',
  'serve',
]

const root = mkdtempSync(join(tmpdir(), 'credential-injector-bench-'))
const at = (name: string) => join(root, name)
const reviews = benchReviews()
const table = new Table()

try {
  await writeInputs()
  await startUp()
  engine()
  await againstBareFastify()
  await largeCatalogue()
} finally {
  rmSync(root, { recursive: true })
}
process.exitCode = table.finish() ? 0 : 1

// ---- Inputs ----------------------------------------------------------------------------------------------------------

async function writeInputs(): Promise<void> {
  await writeCertificates(root, await makeCertificates())
  for (const [size, text] of Object.entries(reviews)) writeFileSync(at(size), text)
  for (const [name, write] of Object.entries({
    three: writeThree,
    ten: (folder: string) => writeMany(folder, 10),
    'ten-thousand': (folder: string) => writeMany(folder, 10_000),
  })) {
    mkdirSync(at(name))
    write(at(name))
  }
}

function startWebhook(catalog: string): Promise<Server> {
  const tls = ['--tls-cert', at('tls.crt'), '--tls-key', at('tls.key')]
  return startServer([...START, '--catalog', at(catalog), '--port', '0', ...tls])
}

function post(server: Server, size: string, seconds = SECONDS): Promise<LoadResult> {
  return load(server.url, at(size), seconds, at('ca.crt'))
}

// ---- Measurements ----------------------------------------------------------------------------------------------------

async function startUp(): Promise<void> {
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const server = await startWebhook('three')
    times.push(server.readyAfter)
    await server.stop()
  }
  table.row('start until it answers', `${median(times).toFixed(0)} ms`, below(median(times), 500, 'ms'))
}

function engine(): void {
  const time = medianOfEngine(reviews['4 KB'], at('three'))
  table.row('engine, 4 KB pod, 3 credentials', `${time.toFixed(1)} µs`, below(time, 50, 'µs'))
}

async function againstBareFastify(): Promise<void> {
  const bare = await startServer(['bench/bare.ts', at('tls.crt'), at('tls.key')])
  const webhook = await startWebhook('three')
  for (const size of Object.keys(reviews)) {
    const { ours, theirs, ratio } = await sideBySide(webhook, bare, size)
    table.row(`${size} review`, `${ratio.toFixed(2)} of bare fastify`, above(ratio, 0.85))
    table.row('  webhook', summaryOf(ours))
    table.row('  bare fastify', summaryOf(theirs))
    const promised =
      size === '60 KB' ? undefined : below(webhook.memory(), size === '4 KB' ? 128 : 256, 'MiB')
    table.row('  memory of the webhook after it', `${webhook.memory().toFixed(0)} MiB`, promised)
  }
  await Promise.all([webhook.stop(), bare.stop()])
}

async function largeCatalogue(): Promise<void> {
  const small = await startWebhook('ten')
  const large = await startWebhook('ten-thousand')
  const ready = large.readyAfter / 1000
  table.row(
    'start with 10,000 credentials in 1,000 namespaces',
    `${ready.toFixed(2)} s`,
    below(ready, 3, 's'),
  )
  table.row('  memory', `${large.memory().toFixed(0)} MiB`, below(large.memory(), 200, 'MiB'))
  const { ratio } = await sideBySide(large, small, '4 KB')
  // The same program against itself: all that a single run can tell is that there is no difference worth the name.
  table.row('  4 KB review', `${ratio.toFixed(2)} of a catalogue of 10`, above(ratio, 0.9))
  table.row('  memory after it', `${large.memory().toFixed(0)} MiB`, below(large.memory(), 200, 'MiB'))
  await Promise.all([small.stop(), large.stop()])
}

/** In turns, so that what disturbs the machine disturbs both; the ratio is the median of the pairs'. */
async function sideBySide(first: Server, second: Server, size: string) {
  for (const server of [first, second]) await post(server, size, WARM_UP_SECONDS)
  const ours: LoadResult[] = []
  const theirs: LoadResult[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const turn = [
      async () => ours.push(await post(first, size)),
      async () => theirs.push(await post(second, size)),
    ]
    for (const measure of round % 2 === 0 ? turn : turn.reverse()) await measure()
  }
  const errors = [...ours, ...theirs].reduce((sum, result) => sum + result.errors, 0)
  if (errors > 0) throw new Error(`${errors} of the ${size} reviews had no good answer.`)
  return {
    ours,
    theirs,
    ratio: median(ours.map(({ rate }, round) => rate / (theirs[round] as LoadResult).rate)),
  }
}

// ---- Figures ---------------------------------------------------------------------------------------------------------

function summaryOf(results: readonly LoadResult[]): string {
  const of = (read: (result: LoadResult) => number) => median(results.map(read))
  return `${of(({ rate }) => rate).toFixed(0)}/s, p50 ${of(({ p50 }) => p50).toFixed(1)} ms, p99 ${of(({ p99 }) => p99).toFixed(1)} ms`
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number
}

function below(value: number, limit: number, unit: string): Promised {
  return { sentence: `below ${limit} ${unit}`, kept: value < limit }
}

function above(value: number, limit: number): Promised {
  return { sentence: `at least ${limit}`, kept: value >= limit }
}
