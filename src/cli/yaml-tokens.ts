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
    (item) => item.key !== undefined || item.sep || item.value || item.start.some(({ type }) => indicators.includes(type)),
  )
}

/** From the dash or the key, with its anchor and tag, to the end of the value. */
export function spanOf(item: CST.CollectionItem): Span {
  const start = item.start.find(isSignificant)?.offset ?? item.key?.offset ?? item.sep?.[0]?.offset ?? item.value?.offset ?? 0
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
      return itemsOf(token).reduce((end, item) => spanOf(item).end, token.offset)
    case 'flow-collection': {
      const bracket = token.end.find(({ type }) => type === 'flow-map-end' || type === 'flow-seq-end')
      return (bracket ?? token.start).offset + 1
    }
    case 'block-scalar':
      return token.props.reduce((end, property) => end + ('source' in property ? property.source.length : 0), token.offset) + token.source.length
    default:
      return token.offset + ('source' in token ? token.source.length : 0)
  }
}

/** Questions about the lines of a text. */
export interface Lines {
  /** Offset at which the line of `offset` begins. */
  startOf(offset: number): number
  /** Offset of the line break that ends the line of `offset`, or of the end of the text. */
  endOf(offset: number): number
  /** Offset at which the line after `offset` begins; `offset` itself if that is where a line begins. */
  after(offset: number): number
  /** The blanks that the line of `offset` begins with. */
  indentOf(offset: number): string
}
