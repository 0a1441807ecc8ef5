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
import { type CST, type Document, isCollection, isMap, isNode, isPair, type Pair } from 'yaml'
import { type Collection, keyOf } from './kubernetes-yaml.ts'
import { type Edits, isNew, PatchError } from './yaml-patch.ts'
import { blockLines, flowPair, flowText, type Style, styleOf } from './yaml-style.ts'
import * as place from './yaml-tokens.ts'
import { type CollectionToken, itemsOf, type Span, spanOf, tokenEnd, tokenOf } from './yaml-tokens.ts'

/** `text` in the place of what stands in the span. */
export interface Splice extends Span {
  text: string
}

/** The changes of one document; throws `PatchError` where the text is too odd to be changed safely. */
export function splicesOf(text: string, doc: Document, edits: Edits): Splice[] {
  const root = doc.contents
  const work: Work = { text, doc, edits, style: styleOf(text, doc), splices: [] }
  if (!isCollection(root) || isNew(root)) throw new PatchError('the whole document would change')
  if (isRewritten(work, root, work.style.json !== undefined)) rewriteRoot(work, root as Collection)
  else writeCollection(work, root as Collection)
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

/** A run of changes between two items that stay. `before` is the number of the item that precedes it, -1 for none. */
interface Gap {
  before: number
  gone: Span[]
  come: unknown[]
}

/** Writes what changed inside first: its lines come before those of the collection itself. */
function writeCollection(work: Work, collection: Collection): void {
  const token = tokenOf(collection)
  const inFlow = token?.type === 'flow-collection'
  for (const item of collection.items) {
    if (isNew(item)) continue
    if (isPair(item)) writePair(work, item, collection, inFlow)
    else if (isCollection(item) && !isRewritten(work, item, inFlow)) writeCollection(work, item as Collection)
  }
  if (!work.edits.items.has(collection) && !collection.items.some((item) => isRewritten(work, item, inFlow)))
    return

  if (!token) throw new PatchError('a list or map has an unusual form')
  const spans = itemsOf(token).map(spanOf)
  for (const gap of gapsOf(work, collection, spans, inFlow)) {
    if (token.type === 'flow-collection') writeFlowGap(work, token, spans, gap)
    else writeBlockGap(work, collection, token, spans, gap)
  }
}

function writePair(work: Work, pair: Pair, map: Collection, inFlow: boolean): void {
  if (!work.edits.values.has(pair) && !isRewritten(work, pair.value, inFlow)) {
    if (isCollection(pair.value)) writeCollection(work, pair.value as Collection)
  } else if (inFlow) {
    replaceFlowValue(work, pair)
  } else {
    replaceBlockValue(work, pair, map)
  }
}

/** True for a collection that must change its form: a block that becomes empty, or in a block `[]` and `{}` that get something. */
function isRewritten(work: Work, node: unknown, inFlow: boolean): boolean {
  const original = isCollection(node) && work.edits.items.get(node as Collection)
  const token = tokenOf(node)
  if (!original || !token) return false
  if (token.type !== 'flow-collection') return (node as Collection).items.length === 0
  const inside = work.text.slice(token.offset + 1, tokenEnd(token) - 1)
  return !inFlow && original.length === 0 && inside.trim() === ''
}

function gapsOf(work: Work, collection: Collection, spans: readonly Span[], inFlow: boolean): Gap[] {
  const original = work.edits.items.get(collection) ?? collection.items
  if (original.length !== spans.length) throw new PatchError('a list or map has an unusual form')
  const places = new Map(original.map((item, index) => [item, index]))

  const gaps: Gap[] = []
  let gap: Gap = { before: -1, gone: [], come: [] }
  const close = (next: number) => {
    gap.gone = spans.slice(gap.before + 1, next)
    if (gap.gone.length > 0 || gap.come.length > 0) gaps.push(gap)
    gap = { before: next, gone: [], come: [] }
  }
  for (const item of collection.items) {
    const index = isRewritten(work, item, inFlow) ? undefined : places.get(item)
    if (index === undefined) gap.come.push(item)
    else close(index)
  }
  close(original.length)
  return gaps
}

function writeBlockGap(
  work: Work,
  collection: Collection,
  token: CollectionToken,
  spans: readonly Span[],
  { before, gone, come }: Gap,
): void {
  const { text, splices } = work
  const lines = come.flatMap((item) => itemLines(work, collection, item))
  const [first, last, previous, next] = [gone[0], gone.at(-1), spans[before], spans[0]]
  if (first && last) {
    if (lines.length > 0)
      splices.push({
        start: first.start,
        end: place.contentEnd(text, last.end),
        text: lines.join(lineBreak(work, token.indent)),
      })
    else splices.push({ ...withoutLines(text, first.start, last.end), text: '' })
  } else if (previous) {
    // At the end of a map, comments at its own column belong to it; elsewhere to what follows.
    const column = isMap(collection) && before === spans.length - 1 ? token.indent : token.indent + 1
    insertLines(
      work,
      place.afterComments(text, place.lineAfter(text, previous.end), column),
      lines,
      token.indent,
    )
  } else if (next && place.beginsLine(text, next.start)) {
    insertLines(work, place.beforeComments(text, place.lineStart(text, next.start)), lines, token.indent)
  } else if (next) {
    const pad = lineBreak(work, token.indent)
    splices.push({ ...at(next.start), text: lines.join(pad) + pad })
  }
}

/** The lines of a span; up to the next item only where something else precedes it on its line, such as the dash of a list. */
function withoutLines(text: string, start: number, end: number): Span {
  const after = place.lineAfter(text, end)
  if (place.beginsLine(text, start)) return { start: place.lineStart(text, start), end: after }
  return { start, end: after + place.indentOf(text, after).length }
}

function insertLines(work: Work, offset: number, lines: readonly string[], column: number): void {
  const atOpenEnd = offset === work.text.length && offset > 0 && work.text[offset - 1] !== '\n'
  const block = ' '.repeat(column) + lines.join(lineBreak(work, column))
  const text = atOpenEnd ? work.style.newline + block : block + work.style.newline
  work.splices.push({ ...at(offset), text })
}

function itemLines(work: Work, collection: Collection, item: unknown): string[] {
  if (!isPair(item)) return blockLines([plain(work, item)], work.style)
  return blockLines(
    { [plainKey(work, item)]: plain(work, item.value) },
    work.style,
    indentsLists(work, collection),
  )
}

/** Whether lists stand further to the right than their keys in this map; as elsewhere in the document if it has none. */
function indentsLists(work: Work, map: Collection): boolean {
  const column = tokenOf(map)?.indent ?? 0
  const lists = map.items.flatMap((pair) => (isPair(pair) && tokenOf(pair.value)) || [])
  const list = lists.find(({ type }) => type === 'block-seq')
  return list ? list.indent > column : work.style.indentsLists
}

function writeFlowGap(
  work: Work,
  token: CST.FlowCollection,
  spans: readonly Span[],
  { before, gone, come }: Gap,
): void {
  const [first, last, previous, next] = [gone[0], gone.at(-1), spans[before], spans[before + gone.length + 1]]
  const pad =
    spans[0] && place.beginsLine(work.text, spans[0].start)
      ? place.indentOf(work.text, spans[0].start)
      : undefined
  const comma = pad === undefined ? inlineComma(work) : `,${work.style.newline}${pad}`
  const text = come.map((item) => flowItem(work, item, pad)).join(comma)
  if (first && last) {
    if (text !== '') work.splices.push({ start: first.start, end: last.end, text })
    else if (next) work.splices.push({ start: first.start, end: next.start, text })
    else if (previous) work.splices.push({ start: previous.end, end: last.end, text })
    else work.splices.push({ start: token.offset + 1, end: tokenEnd(token) - 1, text })
  } else if (previous) {
    work.splices.push({ ...at(previous.end), text: comma + text })
  } else if (next) {
    work.splices.push({ ...at(next.start), text: text + comma })
  } else {
    fillBrackets(work, token, come)
  }
}

/** Puts items between brackets that have none: in JSON over several lines if the rest of the text is, else where the comment inside allows it. */
function fillBrackets(work: Work, token: CST.FlowCollection, come: readonly unknown[]): void {
  const { json, newline, step } = work.style
  const bracket = tokenEnd(token) - 1
  const hasOwnLine = place.beginsLine(work.text, bracket)
  if (!json?.indent && !hasOwnLine) {
    work.splices.push({
      ...at(bracket),
      text: come.map((item) => flowItem(work, item)).join(inlineComma(work)),
    })
    return
  }
  const outer = place.indentOf(work.text, token.offset)
  const pad = outer + (json ? json.indent : ' '.repeat(step))
  const text = come.map((item) => pad + flowItem(work, item, pad)).join(`,${newline}`) + newline
  if (hasOwnLine) work.splices.push({ ...at(place.lineStart(work.text, bracket)), text })
  else work.splices.push({ start: token.offset + 1, end: bracket, text: newline + text + outer })
}

const inlineComma = (work: Work) => (work.style.json ? ',' : ', ')

const at = (offset: number): Span => ({ start: offset, end: offset })

function flowItem(work: Work, item: unknown, pad?: string): string {
  if (isPair(item)) return flowPair(plainKey(work, item), plain(work, item.value), work.style, pad)
  return flowText(plain(work, item), work.style, pad)
}

function replaceFlowValue(work: Work, pair: Pair): void {
  const { item, colon } = partsOf(pair)
  const pad = work.style.json?.indent ? place.indentOf(work.text, spanOf(item).start) : undefined
  const text = flowText(plain(work, pair.value), work.style, pad)
  const value =
    colon && (item.sep?.find((token) => token.type === 'anchor' || token.type === 'tag') ?? item.value)
  const { end } = spanOf(item)
  if (value) work.splices.push({ start: value.offset, end, text })
  else work.splices.push({ ...at(end), text: `${colon ? '' : ':'} ${text}` })
}

function replaceBlockValue(work: Work, pair: Pair, map: Collection): void {
  const { text, style, splices } = work
  const { item, colon } = partsOf(pair)
  if (!colon) throw new PatchError('a key has no colon')
  const start = colon.offset + 1
  const end = Math.max(start, place.contentEnd(text, spanOf(item).end))
  const lineEnd = place.lineEnd(text, end)
  const comment = commentBeside(text, start, end) + text.slice(end, lineEnd)
  const value = plain(work, pair.value)
  const listsIndented = indentsLists(work, map)
  const lines = blockLines(value, style, listsIndented)
  if (!isFilled(value)) {
    splices.push({ start, end: lineEnd, text: ` ${lines.join('')}${comment}` })
    return
  }
  const column = (tokenOf(map)?.indent ?? 0) + (Array.isArray(value) && !listsIndented ? 0 : style.step)
  splices.push({
    start,
    end: lineEnd,
    text: comment + lines.map((line) => lineBreak(work, column) + line).join(''),
  })
}

/** The comment beside a key whose value begins on a line below. */
function commentBeside(text: string, start: number, end: number): string {
  const beside = text.slice(start, Math.min(end, place.lineEnd(text, start)))
  return start + beside.length < end && /^[ \t]*#/.test(beside) ? beside : ''
}

function rewriteRoot(work: Work, root: Collection): void {
  const token = tokenOf(root) as CollectionToken
  const lines = blockLines(plain(work, root), work.style)
  work.splices.push({
    start: token.offset,
    end: place.contentEnd(work.text, tokenEnd(token)),
    text: lines.join(work.style.newline),
  })
}

function partsOf(pair: Pair): { item: CST.CollectionItem; colon: CST.SourceToken | undefined } {
  const item = (pair as { srcToken?: CST.CollectionItem }).srcToken
  if (!item) throw new PatchError('a map has an unusual form')
  return { item, colon: item.sep?.find(({ type }) => type === 'map-value-ind') }
}

const lineBreak = (work: Work, column: number) => work.style.newline + ' '.repeat(column)

const isFilled = (value: unknown) =>
  typeof value === 'object' && value !== null && Object.keys(value).length > 0

const plain = (work: Work, node: unknown): unknown => (isNode(node) ? node.toJS(work.doc) : node)

const plainKey = (work: Work, pair: Pair): string => keyOf(pair, work.doc) ?? '<<'
