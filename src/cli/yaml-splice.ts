/**
 * Writes changes of YAML nodes (`yaml-patch.ts`) into the text they were read from. What did not change is not
 * written again but stays byte for byte: comments, quotes, folded lines, odd spacing. A diff of the two texts shows
 * what was added and nothing else.
 *
 * A changed collection is a row of its old items with gaps between them. In a gap, items went, came, or both:
 *
 *   came       lines after the item before the gap, or before the first item
 *   went       their lines go; inside [ ] and { } with a comma
 *   both       the new ones in the place of the old ones
 *
 * A pair whose value changed keeps its key and the comment beside it.
 */
import type { CST, Document, Pair } from 'yaml'
import { isCollection, isMap, isPair } from 'yaml'
import { type Collection, keyOf } from './kubernetes-yaml.ts'
import { type Edits, isChangedCollection, isNew, PatchError } from './yaml-patch.ts'
import { blockLines, flowPair, flowText, type Style, styleOf, tokenOf } from './yaml-style.ts'

/** `text` in the place of what stands from `start` up to, not including, `end`. */
export interface Splice {
  start: number
  end: number
  text: string
}

/** The changes of one document; throws `PatchError` where the text is too odd to be changed safely. */
export function splicesOf(text: string, doc: Document, edits: Edits): Splice[] {
  const work: Work = { text, doc, edits, style: styleOf(text, doc), splices: [] }
  const root = doc.contents
  if (isNew(root)) throw new PatchError('the whole document would change')
  if (isRewritten(work, root)) replaceRoot(work, root)
  else writeNode(work, root)
  return work.splices
}

/** Applies splices that do not overlap; of two at one place the earlier in the list comes first. */
export function splice(text: string, splices: readonly Splice[]): string {
  let result = ''
  let position = 0
  for (const { start, end, text: inserted } of splices.toSorted((a, b) => a.start - b.start)) {
    if (start < position) throw new PatchError('two changes meet at one place of the text')
    result += text.slice(position, start) + inserted
    position = end
  }
  return result + text.slice(position)
}

interface Work {
  text: string
  doc: Document
  edits: Edits
  style: Style
  splices: Splice[]
}

type CollectionToken = CST.BlockMap | CST.BlockSequence | CST.FlowCollection
type Item = CST.CollectionItem

interface Span {
  start: number
  end: number
}

/** A run of changes between two items that stay. `before` is the number of the item that precedes it, -1 for none. */
interface Gap {
  before: number
  gone: Span[]
  come: unknown[]
}

function writeNode(work: Work, node: unknown): void {
  if (isPair(node)) return writePair(work, node)
  if (!isCollection(node)) return
  const collection = node as Collection
  for (const item of collection.items) if (!isRewritten(work, item) && !isNew(item)) writeNode(work, item)
  if (work.edits.items.has(collection) || collection.items.some((item) => isRewritten(work, item))) writeCollection(work, collection)
}

function writePair(work: Work, pair: Pair): void {
  if (work.edits.values.has(pair) || isRewritten(work, pair.value)) replaceValue(work, pair)
  else writeNode(work, pair.value)
}

/** True for a collection that must change its form: one that becomes empty, or `[]` and `{}` that get something. */
function isRewritten(work: Work, node: unknown): boolean {
  if (!isChangedCollection(work.edits, node)) return false
  const token = tokenOf(node)
  if (!token) return false
  if (token.type !== 'flow-collection') return node.items.length === 0
  return token.indent >= 0 && work.edits.items.get(node)?.length === 0 && !hasInside(work, token) && work.style.json === undefined
}

/** True if there is more than blanks between the brackets: a comment, that is, or a line break. */
function hasInside(work: Work, token: CST.FlowCollection): boolean {
  return work.text.slice(token.offset + 1, tokenEnd(token) - 1).trim() !== ''
}

// ---- collections ----

function writeCollection(work: Work, collection: Collection): void {
  const token = tokenOf(collection)
  if (!token) throw new PatchError('a list or map has an unusual form')
  const spans = itemsOf(token).map((item) => spanOf(item))
  for (const gap of gapsOf(work, collection, spans)) {
    if (token.type === 'flow-collection') writeFlowGap(work, token, spans, gap)
    else writeBlockGap(work, collection, token, spans, gap)
  }
}

function gapsOf(work: Work, collection: Collection, spans: readonly Span[]): Gap[] {
  const original = work.edits.items.get(collection) ?? collection.items
  if (original.length !== spans.length) throw new PatchError('a list or map has an unusual form')
  const place = new Map(original.map((item, index) => [item, index]))
  const stays = (item: unknown) => place.has(item) && !isRewritten(work, item)

  const gaps: Gap[] = []
  let gap: Gap = { before: -1, gone: [], come: [] }
  const close = (next: number) => {
    gap.gone = spans.slice(gap.before + 1, next)
    if (gap.gone.length > 0 || gap.come.length > 0) gaps.push(gap)
    gap = { before: next, gone: [], come: [] }
  }
  for (const item of collection.items) {
    if (stays(item)) close(place.get(item) as number)
    else gap.come.push(item)
  }
  close(original.length)
  return gaps
}

function writeBlockGap(
  work: Work,
  collection: Collection,
  token: CST.BlockMap | CST.BlockSequence,
  spans: readonly Span[],
  { before, gone, come }: Gap,
): void {
  const pad = work.style.newline + ' '.repeat(token.indent)
  const lines = come.flatMap((item) => itemLines(work, collection, item))
  const [first, last] = [gone[0], gone.at(-1)]
  if (first && last) {
    if (lines.length > 0) work.splices.push({ start: first.start, end: contentEnd(work, last.end), text: lines.join(pad) })
    else work.splices.push(withoutLines(work, first.start, last.end))
    return
  }
  const previous = spans[before]
  if (previous) {
    // At the end of a map, comments at its own column belong to it; elsewhere to what follows.
    const own = isMap(collection) && before === spans.length - 1 ? token.indent : token.indent + 1
    insertLines(work, afterComments(work, lineAfter(work, previous.end), own), lines, token.indent)
    return
  }
  const next = spans[0] as Span
  const start = lineStart(work, next.start)
  if (isBlank(work.text.slice(start, next.start))) insertLines(work, beforeComments(work, start), lines, token.indent)
  else work.splices.push({ start: next.start, end: next.start, text: lines.join(pad) + pad })
}

function itemLines(work: Work, collection: Collection, item: unknown): string[] {
  if (!isPair(item)) return blockLines([plain(work, item)], work.style)
  return blockLines({ [plainKey(work, item)]: plain(work, item.value) }, work.style, listsIndentedIn(work, collection))
}

/** Whether lists stand further to the right in this map; by the document's habit if the map has none. */
function listsIndentedIn(work: Work, map: Collection): boolean {
  const column = tokenOf(map)?.indent ?? 0
  const lists = map.items.map((pair) => isPair(pair) && tokenOf(pair.value)).filter((list) => list && list.type === 'block-seq')
  const list = lists[0]
  return list ? list.indent > column : work.style.indentsLists
}

function writeFlowGap(work: Work, token: CST.FlowCollection, spans: readonly Span[], { before, gone, come }: Gap): void {
  const first = spans[0]
  const ownLine = first !== undefined && isBlank(work.text.slice(lineStart(work, first.start), first.start))
  const pad = ownLine ? indentOf(work, first.start) : undefined
  const comma = pad === undefined ? ', ' : `,${work.style.newline}${pad}`
  const text = come.map((item) => flowItem(work, item, pad)).join(comma)
  const [start, end] = [gone[0]?.start, gone.at(-1)?.end]
  const [previous, next] = [spans[before], spans[before + gone.length + 1]]
  if (start !== undefined && end !== undefined) {
    if (text !== '') work.splices.push({ start, end, text })
    else if (next) work.splices.push({ start, end: next.start, text })
    else if (previous) work.splices.push({ start: previous.end, end, text })
    else work.splices.push({ start: token.offset + 1, end: tokenEnd(token) - 1, text })
  } else if (previous) work.splices.push({ start: previous.end, end: previous.end, text: comma + text })
  else if (next) work.splices.push({ start: next.start, end: next.start, text: text + comma })
  else fillFlow(work, token, come)
}

/** Puts items between brackets that have none, JSON over several lines where the rest of the text is. */
function fillFlow(work: Work, token: CST.FlowCollection, come: readonly unknown[]): void {
  const { json, newline } = work.style
  const bracket = tokenEnd(token) - 1
  if (json === undefined || json.indent === '') {
    const text = come.map((item) => flowItem(work, item)).join(', ')
    work.splices.push({ start: bracket, end: bracket, text })
    return
  }
  const outer = indentOf(work, token.offset)
  const pad = outer + json.indent
  const text = come.map((item) => newline + pad + flowItem(work, item, pad)).join(',')
  work.splices.push({ start: token.offset + 1, end: bracket, text: text + newline + outer })
}

function flowItem(work: Work, item: unknown, pad?: string): string {
  if (isPair(item)) return flowPair(plainKey(work, item), plain(work, item.value), work.style, pad)
  return flowText(plain(work, item), work.style, pad)
}

// ---- values of pairs ----

function replaceValue(work: Work, pair: Pair): void {
  const item = (pair as { srcToken?: Item }).srcToken
  if (!item?.key) throw new PatchError('a map has an unusual form')
  const colon = item.sep?.find((token) => token.type === 'map-value-ind')
  const value = plain(work, pair.value)
  // Only what stands in a block map begins a line, or follows dashes and other indicators that do.
  const map = blockMapOf(work, pair)
  if (map && colon) return replaceBlockValue(work, map, colon.offset + 1, spanOf(item).end, value)

  const keyEnd = tokenEnd(item.key)
  const start = colon ? valueStart(item, colon) : keyEnd
  const pad = work.style.json && work.style.json.indent !== '' ? indentOf(work, item.key.offset) : undefined
  const text = flowText(value, work.style, pad)
  work.splices.push({ start, end: Math.max(start, spanOf(item).end), text: colon && start > colon.offset + 1 ? text : `${colon ? '' : ':'} ${text}` })
}

/** Where the value begins, with its anchor and tag; right after the colon if there is none. */
function valueStart(item: Item, colon: CST.SourceToken): number {
  const properties = item.sep?.find((token) => token.offset > colon.offset && (token.type === 'anchor' || token.type === 'tag'))
  return properties?.offset ?? item.value?.offset ?? colon.offset + 1
}

function replaceBlockValue(work: Work, map: Collection, colonEnd: number, valueEnd: number, value: unknown): void {
  const { text, style } = work
  const column = tokenOf(map)?.indent ?? 0
  const end = Math.max(colonEnd, contentEnd(work, valueEnd))
  const lineEnd = endOfLine(work, end)
  const keyLineEnd = endOfLine(work, colonEnd)
  // Comments beside the key stay there, if the old value begins below, and so do those behind the old value.
  const header = text.slice(colonEnd, keyLineEnd)
  const comment = (keyLineEnd < end && /^[ \t]*#/.test(header) ? header : '') + text.slice(end, lineEnd)
  const inline = !isFilled(value)
  const indentsLists = listsIndentedIn(work, map)
  const lines = blockLines(value, style, indentsLists)
  const indent = Array.isArray(value) && !indentsLists ? column : column + style.step
  const replacement = inline
    ? ` ${lines.join('')}${comment}`
    : comment + lines.map((line) => style.newline + ' '.repeat(indent) + line).join('')
  work.splices.push({ start: colonEnd, end: lineEnd, text: replacement.trimEnd() })
}

const isFilled = (value: unknown) => typeof value === 'object' && value !== null && Object.keys(value).length > 0

/** The block map that a pair stands in; undefined for a flow map. */
function blockMapOf(work: Work, pair: Pair): Collection | undefined {
  return findParent(work.doc.contents, pair)
}

function replaceRoot(work: Work, root: unknown): void {
  const token = tokenOf(root)
  if (!token) throw new PatchError('the whole document would change')
  const lines = blockLines(plain(work, root), work.style)
  work.splices.push({ start: token.offset, end: contentEnd(work, tokenEnd(token)), text: lines.join(work.style.newline) })
}
