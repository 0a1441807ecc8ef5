/** Where things stand in a YAML text: items by their tokens, and the lines around them. Offsets are counted from 0. */
import { type CST, isCollection } from 'yaml'
import type { Collection } from './kubernetes-yaml.ts'

export interface Span {
  start: number
  /** Not included. Trailing blanks and comments do not belong to a span; the line end of a block scalar does. */
  end: number
}

export type CollectionToken = CST.BlockMap | CST.BlockSequence | CST.FlowCollection

/** The token of a collection that stands in the text; undefined for anything else. */
export function tokenOf(node: unknown): CollectionToken | undefined {
  const token = isCollection(node) ? (node as Collection).srcToken : undefined
  return token && 'items' in token ? token : undefined
}

/** The items that are nodes: tokens have one more entry for trailing comments, or for a trailing comma. */
export function itemsOf(token: CollectionToken): CST.CollectionItem[] {
  const indicators = token.type === 'block-seq' ? ['seq-item-ind'] : ['anchor', 'tag', 'explicit-key-ind']
  return (token.items as CST.CollectionItem[]).filter(
    (item) =>
      item.key !== undefined ||
      item.sep ||
      item.value ||
      item.start.some(({ type }) => indicators.includes(type)),
  )
}

/** From the dash or the key, with its anchor and tag, to the end of the value. */
export function spanOf(item: CST.CollectionItem): Span {
  const start =
    item.start.find(isSignificant)?.offset ??
    item.key?.offset ??
    item.sep?.[0]?.offset ??
    item.value?.offset ??
    0
  return { start, end: itemEnd(item) ?? start }
}

function itemEnd(item: CST.CollectionItem): number | undefined {
  if (item.value) return tokenEnd(item.value)
  const indicator = item.sep?.findLast(isSignificant)
  if (indicator) return indicator.offset + indicator.source.length
  if (item.key) return tokenEnd(item.key)
  const property = item.start.findLast(isSignificant)
  return property && property.offset + property.source.length
}

function isSignificant({ type }: CST.SourceToken): boolean {
  return type !== 'space' && type !== 'newline' && type !== 'comment' && type !== 'comma'
}

export function tokenEnd(token: CST.Token): number {
  switch (token.type) {
    case 'block-map':
    case 'block-seq':
      return (
        itemsOf(token)
          .slice(-1)
          .map((item) => spanOf(item).end)[0] ?? token.offset
      )
    case 'flow-collection': {
      const bracket = token.end.find(({ type }) => type === 'flow-map-end' || type === 'flow-seq-end')
      return (bracket ?? token.start).offset + 1
    }
    case 'block-scalar':
      return (
        token.props.reduce(
          (end, property) => end + ('source' in property ? property.source.length : 0),
          token.offset,
        ) + token.source.length
      )
    default:
      return token.offset + ('source' in token ? token.source.length : 0)
  }
}

/** Offset at which the line of `offset` begins. */
export function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1
}

/** Offset of the line break that ends the line of `offset`, or of the end of the text. */
export function lineEnd(text: string, offset: number): number {
  const end = text.indexOf('\n', offset)
  if (end < 0) return text.length
  return end > offset && text[end - 1] === '\r' ? end - 1 : end
}

/** Offset at which the first line begins that has nothing of what ends at `end`. */
export function lineAfter(text: string, end: number): number {
  if (end > 0 && text[end - 1] === '\n') return end
  const lineBreak = text.indexOf('\n', end)
  return lineBreak < 0 ? text.length : lineBreak + 1
}

/** The blanks that the line of `offset` begins with. */
export function indentOf(text: string, offset: number): string {
  return /^[ \t]*/.exec(text.slice(lineStart(text, offset)))?.[0] ?? ''
}

/** True if nothing but blanks stands before `offset` on its line. */
export function beginsLine(text: string, offset: number): boolean {
  return lineStart(text, offset) + indentOf(text, offset).length >= offset
}

/** `end` without the line breaks that a block scalar ends with. */
export function contentEnd(text: string, end: number): number {
  let result = end
  while (text[result - 1] === '\n' || text[result - 1] === '\r') result--
  return result
}

/** The end of the comment lines from `offset` on that stand at this column or further to the right, with blank lines among them. */
export function afterComments(text: string, offset: number, column: number): number {
  const comments = new RegExp(`(?:[ \\t]*\\r?\\n)*[ \\t]{${column},}#[^\\n]*(?:\\n|$)`, 'y')
  let end = offset
  for (comments.lastIndex = end; comments.test(text); comments.lastIndex = end) end = comments.lastIndex
  return end
}

/** The beginning of the comment lines that end right above the line that begins at `offset`. */
export function beforeComments(text: string, offset: number): number {
  let start = offset
  while (start > 0 && /^[ \t]*#/.test(text.slice(lineStart(text, start - 1), start)))
    start = lineStart(text, start - 1)
  return start
}
