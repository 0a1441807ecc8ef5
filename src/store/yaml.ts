import { boolYaml11Tag, CORE_SCHEMA, defineScalarTag, load, NOT_RESOLVED } from 'js-yaml'
import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  type ParsedNode,
  parseAllDocuments,
  type ScalarTag,
} from 'yaml'
import type { Path } from '../api/field-error.ts'
import { yamlFault } from './yaml-faults.ts'

/** One document of a YAML stream. */
export interface YamlDocument {
  /** What it says, if it can be read; null if it is empty. */
  readonly value: unknown
  /** Why it cannot be read. `value` then is what could be made out of it, and only good for naming it. */
  readonly error?: { readonly message: string; readonly line: number }
  readonly text: string
  /** The line of the stream, from 1, where its content begins. */
  readonly line: number
  /** The line where the field at `path` stands; of the nearest thing around it, if it is missing. */
  lineOf(path: Path): number
}

/**
 * The documents of a YAML (or JSON) stream. Never throws, and never shows what the stream says in a message.
 *
 * Two libraries share the work. js-yaml reads several times as fast and in less memory, which decides how soon a large
 * catalogue is ready and how long nobody is answered while a changed file is read. The YAML package knows where
 * everything stands: it reads what js-yaml cannot, to say why and where, and what a problem was found in.
 */
export function* readYaml(stream: string): Generator<YamlDocument> {
  for (const { text, line } of split(stream.replace(/^\ufeff/, ''))) {
    const value = quickly(text)
    if (value === undefined) yield* readWithPositions(text, line)
    else yield readDocument(text, line, value)
  }
}

/** What a text says that is one document without faults, anchors and tags; undefined if it is anything else. */
export function quickly(text: string): unknown {
  if (DISPUTED.test(text)) return undefined
  try {
    return load(text, { schema: KUBERNETES_SCHEMA })
  } catch {
    return undefined
  }
}

/** What the two libraries read differently: aliases, tags, merge keys and directives, and keys that are not plain text. */
const DISPUTED =
  /[&*!?]|<<|^%|^[\s-]*(?:|~|null|true|false|yes|no|on|off|[-+]?\.?\d[\w.+-]*|[-+]?\.(?:inf|nan)) *:(?:\s|$)/im

function readDocument(text: string, line: number, value: unknown): YamlDocument {
  return {
    value,
    text,
    line: line + linesBefore(text, text.search(CONTENT)),
    // Hardly ever needed: only now is the text read with its positions.
    lineOf: (path) => readWithPositions(text, line)[0]?.lineOf(path) ?? line,
  }
}

/** The first line that is neither empty, nor a comment, nor a document marker. */
const CONTENT = /^(?!---(?: |$)| *(?:#|$)).+/m

interface Chunk {
  readonly text: string
  readonly line: number
}

/**
 * Cuts a stream at its document markers: a fault then spoils only its own document, and no more than one document is
 * held in memory with all its positions. Such a line cannot be anything else, not even inside a quoted or block text.
 */
function* split(stream: string): Generator<Chunk> {
  // Directives such as %YAML belong to the document that follows.
  if (/^%/m.test(stream)) return yield { text: stream, line: 1 }
  let start = 0
  let line = 1
  for (const { index } of stream.matchAll(/^---(?=\s|$)/gm)) {
    const text = stream.slice(start, index)
    yield { text, line }
    line += linesBefore(text, text.length)
    start = index
  }
  yield { text: stream.slice(start), line }
}

function linesBefore(text: string, end: number): number {
  let count = 0
  for (let at = text.indexOf('\n'); at !== -1 && at < end; at = text.indexOf('\n', at + 1)) count++
  return count
}

// ---- With positions -------------------------------------------------------------------------------------------

function readWithPositions(text: string, firstLine: number): YamlDocument[] {
  const documents = parseAllDocuments(text, {
    schema: 'core',
    merge: true,
    customTags: (tags) => [WORD_BOOLEAN, ...tags],
    stringKeys: true,
    // The package's own messages quote the source, which may hold a secret.
    prettyErrors: false,
    logLevel: 'silent',
  })
  const lineAt = (position: number) => firstLine + linesBefore(text, position)
  return [...documents].map((document) => {
    const start = document.contents?.range?.[0] ?? 0
    return {
      ...readingOf(document, lineAt),
      text,
      line: lineAt(start),
      lineOf: (path) => lineAt(positionOf(document.contents, path)),
    }
  })
}

/** `yes`, `no`, `on` and `off` are booleans for kubectl and the API server, which follow YAML 1.1 in this. */
const BOOLEAN_WORD = /^(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$/
const isYes = (word: string) => /^(?:yes|on)$/i.test(word)

const WORD_BOOLEAN: ScalarTag = {
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  identify: () => false,
  test: BOOLEAN_WORD,
  resolve: isYes,
}

const KUBERNETES_SCHEMA = CORE_SCHEMA.withTags(
  defineScalarTag('tag:yaml.org,2002:bool', {
    ...boolYaml11Tag,
    resolve: (word: string) => {
      if (BOOLEAN_WORD.test(word)) return isYes(word)
      return (
        /^(?:true|True|TRUE)$/.test(word) || (/^(?:false|False|FALSE)$/.test(word) ? false : NOT_RESOLVED)
      )
    },
  }),
)

function readingOf(
  document: Document.Parsed,
  lineAt: (position: number) => number,
): Pick<YamlDocument, 'value' | 'error'> {
  const [fault] = document.errors
  const error = fault && { message: sentenceOf(fault.code), line: lineAt(fault.pos[0]) }
  try {
    return { value: document.toJS() as unknown, error }
  } catch {
    const message = sentenceOf('BAD_ALIAS')
    return { value: null, error: error ?? { message, line: lineAt(document.contents?.range?.[0] ?? 0) } }
  }
}

function positionOf(contents: ParsedNode | null, path: Path): number {
  let node: unknown = contents
  let position = contents?.range?.[0] ?? 0
  for (const step of path) {
    const found = isMap(node)
      ? entryOf(node.items, step)
      : isSeq(node)
        ? { value: node.items[step as number] }
        : undefined
    if (found === undefined) return position
    position = startOf('key' in found ? found.key : found.value) ?? position
    node = found.value
  }
  return position
}

function entryOf(pairs: readonly { key: unknown; value: unknown }[], step: string | number) {
  return pairs.find(({ key }) => isScalar(key) && String(key.value) === String(step))
}

function startOf(node: unknown): number | undefined {
  return (node as ParsedNode | null)?.range?.[0]
}

function sentenceOf(code: string): string {
  return `not valid YAML: ${yamlFault(code)}`
}
