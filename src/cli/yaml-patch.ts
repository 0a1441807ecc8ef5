/**
 * JSON Patch (RFC 6902: add, replace, remove) applied to the nodes of a YAML document.
 *
 * Aliases and merge keys make one node stand in several places. An operation is about one place only, so:
 * - a path that leads through an alias, or through a key that a merge brings in, gets a copy of its own there first;
 * - before a node with an anchor changes or goes, every alias of it becomes a copy of what it was.
 *
 * The nodes that come in carry no range: that is how `yaml-splice.ts` tells them from what the text already has.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Document, Node, YAMLMap, YAMLSeq } from 'yaml'
import { isAlias, isMap, isNode, isPair, isSeq, Pair, visit } from 'yaml'
import type { PatchOperation } from '../api/pod.ts'
import { type Collection, keyOf, resolveAlias } from './kubernetes-yaml.ts'

/** What the changed parts were before. */
export interface Edits {
  /** Items of every collection that gained, lost or exchanged some. */
  items: Map<Collection, readonly unknown[]>
  /** Values of every pair that got another. */
  values: Map<Pair, unknown>
}

/** The operation cannot be carried out; the message says why, without quoting the document. */
export class PatchError extends Error {}

interface Edit extends Edits {
  doc: Document
}

/** Changes the document's nodes, in the order of the operations; throws `PatchError`, and leaves a half-changed document then. */
export function patchNodes(doc: Document, operations: readonly PatchOperation[]): Edits {
  const edit: Edit = { doc, items: new Map(), values: new Map() }
  for (const operation of operations) apply(edit, operation)
  return edit
}

function apply(edit: Edit, operation: PatchOperation): void {
  const path = readPointer(operation.path)
  const last = path.pop()
  if (last === undefined) throw new PatchError('a whole document cannot be replaced')
  const parent = descend(edit, path)
  if (isSeq(parent)) applyToSeq(edit, parent, last, operation)
  else if (isMap(parent)) applyToMap(edit, parent, last, operation)
  else throw new PatchError('there is no list or map where one is needed')
}

function readPointer(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The node at a path, made changeable: on the way there nothing is shared with another place any more. */
function descend(edit: Edit, path: readonly string[]): unknown {
  let node: unknown = ownCopy(edit, edit.doc.contents, (copy) => {
    edit.doc.contents = copy
  })
  for (const token of path) {
    if (isMap(node)) {
      const pair = pairOf(edit, node, token) ?? pairFromMerge(edit, node, token)
      node = ownCopy(edit, pair.value, (copy) => setValue(edit, pair, copy))
    } else if (isSeq(node)) {
      const list = node
      const index = indexIn(list, token)
      node = ownCopy(edit, list.items[index], (copy) => setItem(edit, list, index, copy))
    } else {
      throw new PatchError('there is no list or map where one is needed')
    }
  }
  return node
}

/** `node` itself, unshared; or for an alias a copy that `put` has put in its place. */
function ownCopy(edit: Edit, node: unknown, put: (copy: Node) => void): unknown {
  if (isAlias(node)) {
    const copy = create(edit, node.toJS(edit.doc))
    put(copy)
    return copy
  }
  if (isNode(node)) unshare(edit, node)
  return node
}

function applyToSeq(edit: Edit, seq: YAMLSeq<unknown>, token: string, operation: PatchOperation): void {
  if (operation.op === 'add') {
    const index = token === '-' ? seq.items.length : indexIn(seq, token, seq.items.length)
    touch(edit, seq).splice(index, 0, create(edit, operation.value))
    return
  }
  const index = indexIn(seq, token)
  if (operation.op === 'replace') {
    setItem(edit, seq, index, changedTo(edit, seq.items[index], operation.value))
  } else {
    release(edit, seq.items[index])
    touch(edit, seq).splice(index, 1)
  }
}

function applyToMap(
  edit: Edit,
  map: YAMLMap<unknown, unknown>,
  key: string,
  operation: PatchOperation,
): void {
  if (operation.op === 'remove') {
    removeKey(edit, map, key)
    return
  }
  const pair = pairOf(edit, map, key)
  if (pair) setValue(edit, pair, changedTo(edit, pair.value, operation.value))
  else touch(edit, map).push(createPair(edit, key, operation.value))
}

function indexIn(seq: YAMLSeq<unknown>, token: string, last = seq.items.length - 1): number {
  const index = /^(0|[1-9]\d*)$/.test(token) ? Number(token) : -1
  if (index < 0 || index > last) throw new PatchError('a list has no item of that number')
  return index
}

function pairOf(edit: Edit, map: YAMLMap<unknown, unknown>, key: string): Pair | undefined {
  return map.items.find((pair) => keyOf(pair, edit.doc) === key)
}

/** Gives the map a pair of its own for a key that a merge brings in: a map's own keys win over merged ones. */
function pairFromMerge(edit: Edit, map: YAMLMap<unknown, unknown>, key: string): Pair {
  const merged = mergedInto(edit, map)
  if (!merged || !Object.hasOwn(merged, key)) throw new PatchError('a map has no key of that name')
  const pair = createPair(edit, key, merged[key])
  touch(edit, map).push(pair)
  return pair
}

function removeKey(edit: Edit, map: YAMLMap<unknown, unknown>, key: string): void {
  // Without its own pair, a merged value of the same key would come to light.
  if (Object.hasOwn(mergedInto(edit, map) ?? {}, key)) expandMerges(edit, map)
  const index = map.items.findIndex((pair) => keyOf(pair, edit.doc) === key)
  if (index < 0) throw new PatchError('a map has no key of that name')
  release(edit, map.items[index])
  touch(edit, map).splice(index, 1)
}

const isMerge = (edit: Edit, pair: Pair) => keyOf(pair, edit.doc) === undefined

/** What the map's merge keys bring in by themselves; undefined without any. */
function mergedInto(edit: Edit, map: YAMLMap<unknown, unknown>): Record<string, unknown> | undefined {
  const merges = map.items.filter((pair) => isMerge(edit, pair))
  if (merges.length === 0) return undefined
  const alone = create(edit, {}) as YAMLMap<unknown, unknown>
  alone.items.push(...merges)
  return alone.toJS(edit.doc)
}

/** Writes merged keys out, where the (first) merge key stands. */
function expandMerges(edit: Edit, map: YAMLMap<unknown, unknown>): void {
  const added = Object.entries(mergedInto(edit, map) ?? {})
    .filter(([key]) => !pairOf(edit, map, key))
    .map(([key, value]) => createPair(edit, key, value))
  const items = touch(edit, map)
  for (const pair of [...items]) {
    if (!isMerge(edit, pair as Pair)) continue
    release(edit, (pair as Pair).value)
    items.splice(items.indexOf(pair), 1, ...added.splice(0))
  }
}

/** The node that says `value` in place of `node`: the same one where nothing changes, or changed inside. */
function changedTo(edit: Edit, node: unknown, value: unknown): unknown {
  if (isNode(node) && isDeepStrictEqual(node.toJS(edit.doc), value)) return node
  if (isMap(node) && isPlainObject(value) && !node.items.some((pair) => isMerge(edit, pair))) {
    unshare(edit, node)
    return changeMap(edit, node, value)
  }
  if (isSeq(node) && Array.isArray(value)) {
    unshare(edit, node)
    return changeSeq(edit, node, value)
  }
  release(edit, node)
  return create(edit, value)
}

function changeMap(edit: Edit, map: YAMLMap<unknown, unknown>, value: Record<string, unknown>): unknown {
  for (const pair of [...map.items]) {
    const key = keyOf(pair, edit.doc) as string
    if (Object.hasOwn(value, key)) setValue(edit, pair, changedTo(edit, pair.value, value[key]))
    else removeKey(edit, map, key)
  }
  for (const [key, item] of Object.entries(value)) {
    if (!pairOf(edit, map, key)) touch(edit, map).push(createPair(edit, key, item))
  }
  return map
}

function changeSeq(edit: Edit, seq: YAMLSeq<unknown>, value: readonly unknown[]): unknown {
  while (seq.items.length > value.length) {
    release(edit, seq.items.at(-1))
    touch(edit, seq).pop()
  }
  value.forEach((item, index) => {
    if (index < seq.items.length) setItem(edit, seq, index, changedTo(edit, seq.items[index], item))
    else touch(edit, seq).push(create(edit, item))
  })
  return seq
}

/** A list item or a value is about to go, and is still there: what refers to anchors in it gets copies. */
function release(edit: Edit, gone: unknown): void {
  if (isPair(gone)) {
    release(edit, gone.key)
    release(edit, gone.value)
  } else if (isNode(gone)) {
    visit(gone, { Node: (_key, node) => unshare(edit, node) })
  }
}

/** Puts a copy in the place of every alias of this node. */
function unshare(edit: Edit, node: Node): void {
  if (isAlias(node) || !('anchor' in node) || !node.anchor) return
  visit(edit.doc, {
    Alias(key, alias, path) {
      if (resolveAlias(alias, edit.doc) !== node) return
      const copy = create(edit, alias.toJS(edit.doc))
      const parent = path.at(-1)
      if (isPair(parent) && key === 'value') setValue(edit, parent, copy)
      else if (isSeq(parent)) setItem(edit, parent, key as number, copy)
      else throw new PatchError('an alias is used as a key: write the key out')
    },
  })
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function create(edit: Edit, value: unknown): Node {
  return edit.doc.createNode(value, { aliasDuplicateObjects: false }) as Node
}

function createPair(edit: Edit, key: string, value: unknown): Pair {
  return new Pair(create(edit, key), create(edit, value))
}

function setValue(edit: Edit, pair: Pair, value: unknown): void {
  if (pair.value === value) return
  if (!edit.values.has(pair)) edit.values.set(pair, pair.value)
  pair.value = value
}

function setItem(edit: Edit, seq: YAMLSeq<unknown>, index: number, item: unknown): void {
  if (seq.items[index] !== item) touch(edit, seq)[index] = item
}

/** The collection's items, to be changed: what they were is kept. */
function touch(edit: Edit, collection: Collection): unknown[] {
  if (!edit.items.has(collection)) edit.items.set(collection, [...collection.items])
  return collection.items
}

/** True for nodes that the text has no words for yet. */
export function isNew(item: unknown): boolean {
  if (isPair(item)) return isNew(item.key)
  return isNode(item) && !item.range
}
