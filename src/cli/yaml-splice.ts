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
import { type CST, type Document, isCollection, isMap, isPair, type Node, type Pair } from 'yaml'
import { type Collection, keyOf } from './kubernetes-yaml.ts'
import { type Edits, isNew, PatchError } from './yaml-patch.ts'
import { blockLines, flowPair, flowText, type Style, styleOf, tokenOf } from './yaml-style.ts'
import { contentEnd, itemsOf, type Span, spanOf, TextLines, tokenEnd } from './yaml-tokens.ts'

/** `text` in the place of what stands from `start` up to, not including, `end`. */
export interface Splice extends Span {
  text: string
}

/** The changes of one document; throws `PatchError` where the text is too odd to be changed safely. */
export function splicesOf(text: string, doc: Document, edits: Edits): Splice[] {
  const root = doc.contents
  const work: Work = { text, lines: linesOf(text), doc, edits, style: styleOf(text, doc), splices: [] }
  if (isNew(root)) throw new PatchError('the whole document would change')
  if (isRewritten(work, root, work.style.json !== undefined)) replaceRoot(work, root)
  else writeCollection(work, root)
  return work.splices
}
