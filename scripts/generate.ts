/**
 * Writes every file that is made from another one; with `--verify` it only compares, and fails where one is stale.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { DENIALS, LEFT_ALONE, WARNINGS } from '../src/api/reasons.ts'
import { KINDS } from '../src/api/schema.ts'
import { chartReadme, chartWithVersion, valuesSchema } from './generate/chart.ts'

const CHART = 'charts/credential-injector'

/** Path from the project's root, and what belongs there. */
const GENERATED: Record<string, () => string> = {
  'src/api/schemas.generated.json': schemas,
  'docs/reasons.md': reasonsPage,
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

type Json = Record<string, unknown>

/** One structural schema (apiextensions/v1 JSONSchemaProps) for each kind: as the CRDs carry it, so without status. */
function schemas(): string {
  const entries = Object.entries(KINDS).map(([kind, schema]) => [kind, kindSchema(schema)])
  return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`
}

function kindSchema(schema: z.ZodType): Json {
  const { description, properties, ...rest } = z.toJSONSchema(schema, { target: 'openapi-3.0' }) as Json
  const { spec } = properties as Json
  return {
    description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      // The API server knows the rest of the metadata by itself and lets a CRD say something about the name only.
      metadata: { type: 'object', properties: { name: { type: 'string' } } },
      spec: structural(spec as Json),
    },
    ...('x-kubernetes-validations' in rest && {
      'x-kubernetes-validations': rest['x-kubernetes-validations'],
    }),
  }
}

/** What the API server accepts in a CRD, of the keywords that zod writes. */
const KEYWORDS = new Set(
  (
    'type description default enum format pattern minLength maxLength minItems maxItems required ' +
    'x-kubernetes-validations x-kubernetes-list-type x-kubernetes-list-map-keys'
  ).split(' '),
)

function structural(schema: Json): Json {
  const result: Json = {}
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === 'properties') result.properties = mapValues(value as Json, structural)
    else if (keyword === 'items') result.items = structural(value as Json)
    else if (keyword === 'additionalProperties') Object.assign(result, additional(value as Json | boolean))
    else if (KEYWORDS.has(keyword)) result[keyword] = value
    else throw new Error(`A CRD cannot say "${keyword}": express it otherwise in src/api/schema.ts`)
  }
  // For known formats zod adds a pattern that nobody can read in an error message; the API server knows the format.
  if (result.format !== undefined) delete result.pattern
  return result
}

/** Kubernetes finds unknown fields by the listed properties: closed objects say nothing, maps describe their values. */
function additional(value: Json | boolean): Json {
  return typeof value === 'boolean' ? {} : { additionalProperties: structural(value) }
}

function mapValues(record: Json, change: (value: Json) => Json): Json {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value as Json)]))
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
