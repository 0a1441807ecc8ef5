/** How a text writes its YAML or JSON, and new values written the same way. */
import { type Document, stringify, visit } from 'yaml'
import { tokenOf } from './yaml-tokens.ts'

export interface Style {
  newline: '\n' | '\r\n'
  /** Columns that a map is indented by under its key. */
  step: number
  /** True if the dashes of a list stand further to the right than its key. */
  indentsLists: boolean
  /** True for `{ a: 1 }`, false for `{a: 1}`. */
  blanksInBraces: boolean
  /** Set for JSON; what one level is indented by, empty if it is all on one line. */
  json: { indent: string } | undefined
}

/** Habits of a document, by majority; where it has none, those of kubectl's own output. */
export function styleOf(text: string, doc: Document): Style {
  const steps = new Map<number, number>()
  let listsIndented = 0
  visit(doc, {
    Pair(_key, pair, path) {
      const map = tokenOf(path.at(-1))
      const value = tokenOf(pair.value)
      if (map?.type !== 'block-map' || !value) return
      const indent = value.indent - map.indent
      if (value.type === 'block-seq') listsIndented += indent > 0 ? 1 : -1
      if (value.type === 'block-map') steps.set(indent, (steps.get(indent) ?? 0) + 1)
    },
  })
  const [step = 2] = [...steps].sort((a, b) => b[1] - a[1])[0] ?? []
  return {
    newline: /^[^\n]*\r\n/.test(text) ? '\r\n' : '\n',
    step: Math.max(1, step),
    indentsLists: listsIndented > 0,
    blanksInBraces: /[^$]\{ /.test(text),
    json: jsonStyle(text, doc),
  }
}

function jsonStyle(text: string, doc: Document): Style['json'] {
  const root = tokenOf(doc.contents)
  if (root?.type !== 'flow-collection') return undefined
  const first = /^[[{][ \t]*\r?\n([ \t]*)/.exec(text.slice(root.offset))
  return { indent: first?.[1] ?? '' }
}

/** A value as lines of block style, the first at column 0; a scalar or an empty collection as one line. */
export function blockLines(value: unknown, style: Style, indentsLists = style.indentsLists): string[] {
  return stringify(value, {
    indent: style.step,
    indentSeq: indentsLists,
    lineWidth: 0,
    blockQuote: false,
    aliasDuplicateObjects: false,
    // Quotes what YAML 1.1, and so kubectl, would take for something else than text.
    compat: 'yaml-1.1',
  })
    .trimEnd()
    .split('\n')
}

/** A value for the inside of `[ ]` or `{ }`, over several lines only where `pad`, the indentation of the line, is given. */
export function flowText(value: unknown, style: Style, pad?: string): string {
  if (style.json) {
    const indent = pad === undefined ? '' : style.json.indent
    return JSON.stringify(value, undefined, indent).replaceAll('\n', `${style.newline}${pad ?? ''}`)
  }
  if (Array.isArray(value)) return `[${value.map((item) => flowText(item, style)).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const pairs = Object.entries(value).map(([key, item]) => `${flowScalar(key)}: ${flowText(item, style)}`)
    return style.blanksInBraces ? `{ ${pairs.join(', ')} }` : `{${pairs.join(', ')}}`
  }
  return flowScalar(value)
}

/** Plain where that is safe beyond doubt, else as JSON: every JSON scalar is a YAML one. */
function flowScalar(value: unknown): string {
  const plain =
    typeof value === 'string' && /^[A-Za-z_][-\w./]*$/.test(value) && blockLines(value, PLAIN)[0] === value
  return plain ? value : JSON.stringify(value)
}

const PLAIN: Style = { newline: '\n', step: 2, indentsLists: false, blanksInBraces: false, json: undefined }

/** The pair in flow style, without its braces. */
export function flowPair(key: string, value: unknown, style: Style, pad?: string): string {
  const inside = flowText(value, style, pad)
  if (style.json) return `${JSON.stringify(key)}:${style.json.indent === '' ? '' : ' '}${inside}`
  return `${flowScalar(key)}: ${inside}`
}
