/**
 * Writes every file that is made from another one; with `--verify` it only compares, and fails where one is stale.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { DENIALS, LEFT_ALONE, WARNINGS } from '../src/api/reasons.ts'
import { KINDS } from '../src/api/schema.ts'
import { chartReadme, chartWithVersion, valuesSchema } from './generate/chart.ts'
import { CRD_FILES, crdYaml } from './generate/crds.ts'
import { healthChecksPage } from './generate/health-checks.ts'
import { type Kind, kindSchema } from './generate/structural-schema.ts'

const CHART = 'charts/credential-injector'
const KIND_NAMES = Object.keys(KINDS) as Kind[]

/** Path from the project's root, and what belongs there. */
const GENERATED: Record<string, () => string> = {
  'src/api/schemas.generated.json': schemas,
  ...Object.fromEntries(KIND_NAMES.map((kind) => [CRD_FILES[kind], () => crdYaml(kind)])),
  'docs/reasons.md': reasonsPage,
  'docs/health-checks.md': healthChecksPage,
  [`${CHART}/values.schema.json`]: () => valuesSchema(source(`${CHART}/values.yaml`)),
  [`${CHART}/README.md`]: () => chartReadme(source(`${CHART}/values.yaml`)),
  [`${CHART}/Chart.yaml`]: () =>
    chartWithVersion(source(`${CHART}/Chart.yaml`), JSON.parse(source('package.json')).version),
}

function main(act: (path: string, content: string) => void): void {
  for (const [path, content] of Object.entries(GENERATED)) act(path, content())
}

function write(path: string, content: string): void {
  if (content === current(path)) return
  mkdirSync(new URL('.', absolute(path)), { recursive: true })
  writeFileSync(absolute(path), content)
  process.stdout.write(`wrote ${path}\n`)
}

function verify(path: string, content: string): void {
  if (content === current(path)) return
  process.stderr.write(`${path} is not what its sources say: run npm run generate\n`)
  process.exitCode = 1
}

function current(path: string): string | undefined {
  try {
    return readFileSync(absolute(path), 'utf8')
  } catch {
    return undefined
  }
}

function source(path: string): string {
  return readFileSync(absolute(path), 'utf8')
}

function absolute(path: string): URL {
  return new URL(`../${path}`, import.meta.url)
}

// ---- src/api/schemas.generated.json ----------------------------------------------------------------------------------

/** One structural schema for each kind: what is written by users, so without status. */
function schemas(): string {
  const entries = KIND_NAMES.map((kind) => [kind, kindSchema(kind)])
  return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`
}

// ---- docs/reasons.md -------------------------------------------------------------------------------------------------

type Reasons = Readonly<Record<string, { readonly title: string; readonly remedy: string }>>

function reasonsPage(): string {
  return `<!-- Made from src/api/reasons.ts by \`npm run generate\`; change it there. -->

# Reasons

Whatever the injector decides, it says why with one of these codes. They are the same everywhere: in the message that
\`kubectl\` prints, in \`status.details.causes[].reason\` of a refusal, in warnings, events, metrics and in the report of
\`kubectl credential\`.

| When | Codes |
| --- | --- |
| [The pod is refused](#the-pod-is-refused) | ${codes(DENIALS)} |
| [The pod starts, with a warning](#the-pod-starts-with-a-warning) | ${codes(WARNINGS)} |
| [The pod is left alone](#the-pod-is-left-alone) | ${codes(LEFT_ALONE)} |

## The pod is refused

Nothing of the pod was changed. The message lists everything that is wrong, so that one round of corrections is enough.

${sections(DENIALS)}

## The pod starts, with a warning

The pod is admitted and gets its credentials; the warning says what else you should know. The most important stands
first.

${sections(WARNINGS)}

## The pod is left alone

The pod is admitted as it is.

${sections(LEFT_ALONE)}
`
}

function codes(reasons: Reasons): string {
  return Object.keys(reasons)
    .map((code) => `[\`${code}\`](#${code.toLowerCase()})`)
    .join(', ')
}

function sections(reasons: Reasons): string {
  return Object.entries(reasons)
    .map(([code, { title, remedy }]) => `### \`${code}\`\n\n${title}\n\n**What to do:** ${remedy}`)
    .join('\n\n')
}

main(process.argv.includes('--verify') ? verify : write)
