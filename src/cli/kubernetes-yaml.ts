/**
 * YAML and JSON manifests, read as kubectl reads them: several documents in one text, `yes` and `0400` with their
 * YAML 1.1 meaning, merge keys, dates and clock times as plain strings. Every node keeps its place in the text.
 */

import type { Alias, Document, Node, Pair, ParseOptions, SchemaOptions, Tags, YAMLMap, YAMLSeq } from 'yaml'
import { isCollection, isScalar, LineCounter, parseAllDocuments, visit } from 'yaml'

interface YamlProblem {
  /** Counted from 1. */
  line: number
  /** A sentence that quotes nothing of the text: manifests may hold secrets. */
  reason: string
}

export interface YamlDocument {
  doc: Document
  /** The document as plain data; null for an empty one. */
  value: unknown
}

export interface YamlText {
  text: string
  documents: YamlDocument[]
  /** When there are any, `documents` is not to be used. */
  problems: YamlProblem[]
  /** Line, counted from 1, of an offset in the text. */
  lineOf(offset: number): number
}

export type Collection = YAMLMap<unknown, unknown> | YAMLSeq<unknown>

export function readYaml(text: string): YamlText {
  const lineCounter = new LineCounter()
  const lineOf = (offset: number) => Math.max(1, lineCounter.linePos(offset).line)
  const parsed = [...parseAllDocuments(text, { ...OPTIONS, lineCounter })] as Document[]
  const problems = parsed.flatMap((doc) => firstProblem(doc, lineOf) ?? [])
  if (problems.length > 0) return { text, documents: [], problems, lineOf }

  const documents: YamlDocument[] = []
  for (const doc of parsed) {
    try {
      documents.push({ doc, value: doc.toJS() })
    } catch (error) {
      problems.push({ line: lineOf(doc.contents?.range?.[0] ?? 0), reason: expansionProblem(error) })
    }
  }
  return { text, documents, problems, lineOf }
}

/** Tags of YAML 1.1 that kubectl does not know, or whose values it leaves as they are written. */
const LEFT_OUT = new Set(
  ['binary', 'omap', 'pairs', 'set', 'timestamp'].map((name) => `tag:yaml.org,2002:${name}`),
)

const OPTIONS: ParseOptions & SchemaOptions & { prettyErrors: false } = {
  schema: 'yaml-1.1',
  merge: true,
  resolveKnownTags: false,
  customTags: (tags: Tags) =>
    tags.filter(
      (tag) =>
        typeof tag === 'string' || !(LEFT_OUT.has(tag.tag) || ('format' in tag && tag.format === 'TIME')),
    ),
  keepSourceTokens: true,
  // Pretty errors quote the text.
  prettyErrors: false,
}

/** The first error of a document; the others mostly follow from it. */
function firstProblem(doc: Document, lineOf: (offset: number) => number): YamlProblem | undefined {
  const error = doc.errors[0]
  if (error) return { line: lineOf(error.pos[0]), reason: SYNTAX[error.code] ?? 'this is not valid YAML' }
  let problem: YamlProblem | undefined
  visit(doc, {
    Alias(_key, alias, path) {
      const source = resolveAlias(alias, doc)
      if (source && !path.includes(source)) return undefined
      problem = {
        line: lineOf(alias.range?.[0] ?? 0),
        reason: source
          ? 'the alias stands inside the node that it refers to'
          : 'the alias refers to no anchor above it',
      }
      return visit.BREAK
    },
  })
  return problem
}

export function resolveAlias(alias: Alias, doc: Document): Node | undefined {
  return alias.resolve(doc) as Node | undefined
}

function expansionProblem(error: unknown): string {
  if (error instanceof ReferenceError) return 'the aliases of this document expand to far too much'
  return 'a merge key (<<) needs a map, an alias of one, or a list of these'
}

/** By the error codes of the `yaml` package, whose own messages quote the text here and there. */
const SYNTAX: Readonly<Record<string, string>> = {
  ALIAS_PROPS: 'an alias cannot have an anchor or a tag',
  BAD_ALIAS: 'the name of an alias or anchor is missing',
  BAD_COLLECTION_TYPE: 'the tag does not fit what follows it',
  BAD_DIRECTIVE: 'the % directive cannot be understood',
  BAD_DQ_ESCAPE:
    'a double-quoted string has an unknown escape: write \\\\ for a backslash, or use single quotes',
  BAD_INDENT: 'the indentation does not fit the lines above',
  BAD_PROP_ORDER: 'an anchor or tag stands before the indicator that it should follow',
  BAD_SCALAR_START: 'a value begins with a reserved character: put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'there is a second "key: value" on one line, or a wrong indentation: put the value in quotes or on its own line',
  BLOCK_IN_FLOW: 'a block list or map cannot stand inside [ ] or { }',
  DUPLICATE_KEY: 'the key stands twice in one map: remove one of the two',
  KEY_OVER_1024_CHARS: 'the key is too long',
  MISSING_CHAR: 'a quote, bracket, comma, colon, dash or space is missing here or above',
  MULTILINE_IMPLICIT_KEY: 'a key goes over several lines: a colon or a quote is missing',
  MULTIPLE_ANCHORS: 'there are two anchors on one node',
  MULTIPLE_DOCS: 'there is more than one document',
  MULTIPLE_TAGS: 'there are two tags on one node',
  RESOURCE_EXHAUSTION: 'the nesting is too deep',
  TAB_AS_INDENT: 'a tab is used for indentation: use spaces',
  TAG_RESOLVE_FAILED: 'the value does not fit its tag',
  UNEXPECTED_TOKEN:
    'something stands where it cannot: look for a wrong indentation, or a missing quote, bracket or ---',
}

/** The key of a pair as text, as it is in the plain data; undefined for a merge key. */
export function keyOf(pair: Pair, doc: Document): string | undefined {
  const key = pair.key
  if (isScalar(key)) return typeof key.value === 'symbol' ? undefined : String(key.value ?? '')
  return isCollection(key) ? undefined : String((key as Alias).toJS(doc))
}
