/**
 * What the chart's values.yaml says once, in three languages: the schema that Helm checks values with, the table that people
 * read, and the versions that package.json decides.
 *
 * The comment above a key is its description. A last sentence `@schema {…}` (YAML) adds to its JSON schema; the type comes
 * from the default.
 */
import { isMap, isScalar, LineCounter, type Pair, parse, parseDocument, type YAMLMap } from 'yaml'

type Json = Record<string, unknown>

/** One key of values.yaml: a value, or a section with values of its own. */
interface Value {
  /** `webhook.resources.requests` */
  readonly path: string
  readonly key: string
  readonly description: string
  readonly extra: Json
  readonly default: unknown
  /** Undefined for what is given as a whole, such as a map of labels. */
  readonly children: readonly Value[] | undefined
}

interface Section {
  readonly title: string
  readonly values: readonly Value[]
}

// ---- values.schema.json ----------------------------------------------------------------------------------------------

/** JSON Schema (draft 7) of the values. Unknown ones are refused: a typo would otherwise be a setting without effect. */
export function valuesSchema(valuesYaml: string): string {
  const values = readValues(valuesYaml).flatMap((section) => section.values)
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $comment: 'Made from values.yaml by `npm run generate`; change it there.',
    ...closed(values),
  }
  // Helm adds it to the values of every chart that is part of another one.
  Object.assign(schema.properties, { global: { type: 'object' } })
  return `${JSON.stringify(schema, null, 2)}\n`
}

function closed(values: readonly Value[]): { type: string; additionalProperties: boolean; properties: Json } {
  const properties = Object.fromEntries(values.map((value) => [value.key, schemaOf(value)]))
  return { type: 'object', additionalProperties: false, properties }
}

function schemaOf(value: Value): Json {
  const { description, children, extra } = value
  if (children) return { description, ...closed(children) }
  return { description, type: typeOf(value), ...extra }
}

function typeOf({ path, default: given, extra }: Value): unknown {
  if (extra.type !== undefined) return extra.type
  if (Array.isArray(given)) return 'array'
  if (given === null) throw new Error(`values.yaml: ${path} is null: say its type with @schema {type: …}`)
  return Number.isInteger(given) ? 'integer' : typeof given
}

// ---- README.md -------------------------------------------------------------------------------------------------------

/** The chart's page, with a table of all values. */
export function chartReadme(valuesYaml: string): string {
  return `<!-- Made from values.yaml by \`npm run generate\`; change it there, or in scripts/generate/chart.ts. -->

# The chart of credential-injector

Installs the webhook, the controller, the definitions of \`Credential\`, \`ClusterCredential\` and \`CredentialPolicy\`, and
registers the webhook with the API server. It needs Kubernetes 1.30 or newer, and [cert-manager](https://cert-manager.io)
or nothing else:

\`\`\`sh
# with cert-manager in the cluster
helm install credential-injector charts/credential-injector --namespace credential-injector --create-namespace

# without
helm install credential-injector charts/credential-injector --namespace credential-injector --create-namespace \\
  --set certificates.mode=selfManaged
\`\`\`

[docs/install.md](../../docs/install.md) has a quick start; [docs/operations.md](../../docs/operations.md) says what every
alert means, how certificates are renewed and what to do when the webhook is down. One release for each cluster: the
definitions and the webhook are the cluster's.

## Values

A value that is not in this table is refused, and values that contradict each other are refused with a sentence.
${readValues(valuesYaml).map(sectionTable).join('')}`
}

function sectionTable({ title, values }: Section): string {
  const rows = values.flatMap(rowsOf)
  return `\n### ${title}\n\n| value | default | meaning |\n|---|---|---|\n${rows.join('\n')}\n`
}

function rowsOf(value: Value): string[] {
  const { path, description, children } = value
  if (children) return [`| **\`${path}\`** | | ${cell(description)} |`, ...children.flatMap(rowsOf)]
  return [`| \`${path}\` | \`${cell(JSON.stringify(value.default))}\` | ${cell(meaning(value))} |`]
}

function meaning({ description, extra }: Value): string {
  const choices = extra.enum as string[] | undefined
  if (!choices) return description
  const names = choices.map((choice) => (choice === '' ? 'empty' : `\`${choice}\``))
  return `${description} One of ${names.join(', ')}.`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

// ---- Chart.yaml ------------------------------------------------------------------------------------------------------

/** Chart.yaml with the version of package.json for the chart, the program and its image. */
export function chartWithVersion(chartYaml: string, version: string): string {
  return chartYaml
    .replace(/^version: .*$/m, `version: ${version}`)
    .replace(/^appVersion: .*$/m, `appVersion: ${version}`)
    .replace(/^(\s+image: [^:\s]+:).*$/m, `$1${version}`)
}

// ---- values.yaml -----------------------------------------------------------------------------------------------------

const SECTION_LINE = /^# ---- (.+?) -+$/

function readValues(valuesYaml: string): Section[] {
  const lineCounter = new LineCounter()
  const document = parseDocument(valuesYaml, { lineCounter })
  const lines = valuesYaml.split('\n')
  const lineOf = (pair: Pair) => lineCounter.linePos((pair.key as { range: [number] }).range[0]).line - 1
  const read = (map: YAMLMap, parent: string): Value[] =>
    map.items.map((pair) => readValue(pair, parent, commentAbove(lines, lineOf(pair)), read))

  const top = document.contents as YAMLMap<unknown, unknown>
  const values = read(top as YAMLMap, '')
  const starts = lines.flatMap((line, at) => {
    const title = SECTION_LINE.exec(line)?.[1]
    return title === undefined ? [] : [{ title, at }]
  })
  return starts.map(({ title, at }, index) => {
    const end = starts[index + 1]?.at ?? lines.length
    const within = (_: Value, place: number) => {
      const line = lineOf(top.items[place] as Pair)
      return line > at && line < end
    }
    return { title, values: values.filter(within) }
  })
}

function readValue(
  { key, value }: Pair,
  parent: string,
  comment: string,
  read: (map: YAMLMap, path: string) => Value[],
): Value {
  const name = String(isScalar(key) ? key.value : key)
  const path = parent === '' ? name : `${parent}.${name}`
  const [description = '', schema] = comment.split(/\s*@schema\s+/)
  if (description === '') throw new Error(`values.yaml: ${path} has no comment: say above it what it does`)
  const extra = (schema === undefined ? {} : parse(schema)) as Json
  const isSection = isMap(value) && value.items.length > 0 && !('additionalProperties' in extra)
  return {
    path,
    key: name,
    description,
    extra,
    default: isMap(value) || !isScalar(value) ? (value as YAMLMap | null)?.toJSON() : value.value,
    children: isSection ? read(value, path) : undefined,
  }
}

/** The comment lines that end right above a line, in one line. */
function commentAbove(lines: readonly string[], line: number): string {
  const comment: string[] = []
  for (let above = line - 1; above >= 0; above--) {
    const text = /^\s*# ?(.*)$/.exec(lines[above] as string)?.[1]
    if (text === undefined) break
    comment.unshift(text.trim())
  }
  return comment.join(' ')
}
