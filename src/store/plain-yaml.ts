/**
 * The YAML in which nearly every manifest is written: block mappings and lists of one-line strings, no escapes.
 * Many times as fast as the YAML package, which takes 1.5 s for 10,000 credentials and their Secrets. That is too long
 * at the start, and a webhook answers nobody while it reads a changed file. Whatever is not clearly in this subset is
 * left to the package, so that both always agree (a property test holds them to it).
 */

/** What the text says; null for an empty document; undefined if it has to be read by the YAML package. */
export function parsePlainYaml(text: string): unknown {
  if (NEVER_PLAIN.test(text)) return undefined
  const lines = text.split('\n')
  const reader: Reader = { lines, next: 0, depth: 0 }
  skipEmpty(reader)
  if (reader.next === lines.length) return null
  const value = readBlock(reader, indentOf(lines[reader.next] as string))
  return reader.next === lines.length ? value : undefined
}

/** Tabs, carriage returns and byte order marks have rules of their own. */
const NEVER_PLAIN = /[\t\r\ufeff]/

const EMPTY = /^ *(#.*)?$/
const ENTRY = /^ *([A-Za-z_./][\w./-]*):(?: +(.*))?$/
const ITEM = /^ *- +\S/
const QUOTED = /^(?:"([^"\\]*)"|'([^']*)')$/
/** Cannot be anything but a string: begins with a letter, has neither a comment nor a colon that would end a key. */
const STRING = /^[A-Za-z_/](?:[^\s:#]|[:#](?=[^\s])|[^\S\n]+(?!#)(?=\S))*$/
/** Words that stand for something else than themselves, as value or as key. */
const SPECIAL = /^(?:null|true|false|yes|no|on|off|y|n)$/i

/** Manifests are not nested deeper; this keeps hostile text from exhausting the stack. */
const DEEPEST = 32

interface Reader {
  readonly lines: string[]
  /** Index of the next line that is neither empty nor a comment. */
  next: number
  depth: number
}

/** Reads what stands at exactly this indentation. Undefined: leave it to the package. */
function readBlock(reader: Reader, indent: number): unknown {
  if (reader.depth === DEEPEST) return undefined
  reader.depth++
  const value = ITEM.test(reader.lines[reader.next] as string)
    ? readList(reader, indent)
    : readMapping(reader, indent)
  reader.depth--
  return value
}

function readMapping(reader: Reader, indent: number): Record<string, unknown> | undefined {
  const mapping: Record<string, unknown> = {}
  while (reader.next < reader.lines.length) {
    const line = reader.lines[reader.next] as string
    if (indentOf(line) !== indent) return indentOf(line) < indent ? mapping : undefined
    const [, key, text = ''] = ENTRY.exec(line) ?? []
    if (key === undefined || SPECIAL.test(key) || key in mapping) return undefined
    advance(reader)
    const value = text === '' ? readNested(reader, indent) : readScalar(reader, indent, text)
    if (value === undefined) return undefined
    mapping[key] = value
  }
  return mapping
}

/** What follows `key:` on the lines below: a deeper block, a list at the same indentation, or nothing. */
function readNested(reader: Reader, indent: number): unknown {
  const line = reader.lines[reader.next]
  if (line === undefined) return null
  const deeper = indentOf(line)
  if (deeper > indent || (deeper === indent && ITEM.test(line))) return readBlock(reader, deeper)
  return null
}

function readList(reader: Reader, indent: number): unknown[] | undefined {
  const list: unknown[] = []
  while (reader.next < reader.lines.length) {
    const line = reader.lines[reader.next] as string
    if (indentOf(line) !== indent || !ITEM.test(line)) return indentOf(line) > indent ? undefined : list
    const value = readItem(reader, indent, line)
    if (value === undefined) return undefined
    list.push(value)
  }
  return list
}

function readItem(reader: Reader, indent: number, line: string): unknown {
  const unmarked = `${line.slice(0, indent)} ${line.slice(indent + 1)}`
  if (ENTRY.test(unmarked) || ITEM.test(unmarked)) {
    // The rest of the line is the first line of the item's own block.
    reader.lines[reader.next] = unmarked
    return readBlock(reader, indentOf(unmarked))
  }
  advance(reader)
  return readScalar(reader, indent, unmarked.slice(indentOf(unmarked)))
}

function readScalar(reader: Reader, indent: number, text: string): unknown {
  const following = reader.lines[reader.next]
  // A deeper line would go on with this value.
  if (following !== undefined && indentOf(following) > indent) return undefined
  const trimmed = text.replace(/ +$/, '')
  if (trimmed === '{}') return {}
  if (trimmed === '[]') return []
  const quoted = QUOTED.exec(trimmed)
  if (quoted) return quoted[1] ?? quoted[2]
  return STRING.test(trimmed) && !SPECIAL.test(trimmed) ? trimmed : undefined
}

function advance(reader: Reader): void {
  reader.next++
  skipEmpty(reader)
}

function skipEmpty(reader: Reader): void {
  while (reader.next < reader.lines.length && EMPTY.test(reader.lines[reader.next] as string)) reader.next++
}

function indentOf(line: string): number {
  let indent = 0
  while (line.charCodeAt(indent) === SPACE) indent++
  return indent
}

const SPACE = 32
