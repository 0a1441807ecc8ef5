/**
 * YAML and JSON manifests, read as kubectl reads them: several documents in one text, `yes` and `0400` with their
 * YAML 1.1 meaning, merge keys, dates and clock times as plain strings. Every node keeps its place in the text.
 */

import type { Alias, Document, Node, Pair, ParseOptions, SchemaOptions, Tags, YAMLMap, YAMLSeq } from 'yaml'
import { isCollection, isScalar, LineCounter, parseAllDocuments, visit } from 'yaml'
import { yamlFault } from '../store/yaml-faults.ts'

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
  if (error) return { line: lineOf(error.pos[0]), reason: yamlFault(error.code) }
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

/** The key of a pair as text, as it is in the plain data; undefined for a merge key. */
export function keyOf(pair: Pair, doc: Document): string | undefined {
  const key = pair.key
  if (isScalar(key)) return typeof key.value === 'symbol' ? undefined : String(key.value ?? '')
  return isCollection(key) ? undefined : String((key as Alias).toJS(doc))
}
