import type { Path } from '../api/field-error.ts'
import { isObjectName } from '../api/metadata.ts'
import { nearest } from '../api/nearest.ts'
import type { LabelSelector } from '../api/schema.ts'
import { isObject } from '../api/structural.ts'
import { type Fields, offerOf, readerFor } from './kinds.ts'
import { describe, type ObjectRef, type UsableObject } from './objects.ts'
import { readYaml, type YamlDocument } from './yaml.ts'

/** What one file of manifests holds. */
export interface ManifestFile {
  readonly objects: readonly Located<UsableObject>[]
  /** Objects that stand in the file but cannot be used, as far as their names can be made out. */
  readonly broken: readonly Located<BrokenManifest>[]
  readonly problems: readonly ManifestProblem[]
}

/** Something and the line where it stands, counted from 1. */
export interface Located<T> {
  readonly object: T
  readonly line: number
}

export interface BrokenManifest extends ObjectRef {
  /** What is wrong with it, and how many things more. */
  readonly reason: string
  /** As in `BrokenObject`. */
  readonly namespaceSelector?: LabelSelector | null
}

interface ManifestProblem {
  /** Where the faulty field stands, counted from 1. */
  readonly line: number
  readonly message: string
}

/**
 * The objects of the catalogue that stand in a YAML or JSON text: several documents and Lists are taken apart, other
 * kinds are passed over. Never throws. Of a Secret nothing but its names is kept, or shown in a message.
 */
export function readManifests(text: string): ManifestFile {
  const file: Collected = { objects: [], broken: [], problems: [] }
  for (const document of readYaml(text)) {
    if (document.error) addUnreadable(file, document, document.error)
    else if (document.value !== null)
      for (const manifest of manifestsIn(document)) addManifest(file, manifest)
  }
  return file
}

type Collected = { readonly [List in keyof ManifestFile]: ManifestFile[List][number][] }

/** One object, and where in which document it stands. */
interface Manifest {
  readonly value: unknown
  readonly path: Path
  readonly document: YamlDocument
}

function* manifestsIn(document: YamlDocument, value = document.value, path: Path = []): Generator<Manifest> {
  const items = isObject(value) && String(value.kind).endsWith('List') ? value.items : undefined
  if (!isObject(value) || !Array.isArray(items)) return yield { value, path, document }
  for (const [index, item] of items.entries()) {
    yield* manifestsIn(document, withListKind(value, item), [...path, 'items', index])
  }
}

/** In a list of one kind, as the API writes it, the items need not repeat the kind. */
function withListKind({ apiVersion, kind }: Fields, item: unknown): unknown {
  if (!isObject(item) || item.kind !== undefined || kind === 'List') return item
  return { apiVersion, kind: String(kind).replace(/List$/, ''), ...item }
}

// ---- Manifests that can be read --------------------------------------------------------------------------------------

function addManifest(file: Collected, { value, path, document }: Manifest): void {
  if (!isObject(value)) {
    file.problems.push({
      line: document.lineOf(path),
      message: 'a manifest must have apiVersion, kind and metadata',
    })
    return
  }
  const read = readerFor(value)
  if (read === undefined) return
  const faults = read.check(value)
  const line = path.length === 0 ? document.line : document.lineOf(path)
  if (faults.length === 0) {
    const { name, namespace } = value.metadata as { name: string; namespace?: string | null }
    file.objects.push({ object: detached(read.take(value, name, namespace || 'default')), line })
    return
  }
  const located = faults.map((fault) => ({
    line: document.lineOf([...path, ...fault.path]),
    message: fault.message,
  }))
  located.sort((a, b) => a.line - b.line)
  addFaulty(file, refOf(value), located, offerOf(value, faults))
}

/**
 * A copy that shares no string with the text it was read from: a part of a string keeps the whole alive in memory, and
 * the text holds the values of the Secrets.
 */
function detached<T>(object: T): T {
  return JSON.parse(JSON.stringify(object)) as T
}

// ---- Manifests that cannot -------------------------------------------------------------------------------------------

function addUnreadable(file: Collected, document: YamlDocument, error: ManifestProblem): void {
  const refs = [...manifestsIn(document)].map(({ value }) => (isObject(value) ? refOf(value) : undefined))
  const named = refs.filter((ref) => ref !== undefined)
  addFaulty(file, named[0] ?? refIn(document.text), [error])
  for (const ref of named.slice(1)) {
    file.broken.push({ object: detached({ ...ref, reason: error.message }), line: error.line })
  }
}

function addFaulty(
  file: Collected,
  ref: ObjectRef | undefined,
  faults: readonly ManifestProblem[],
  offer: Partial<BrokenManifest> = {},
): void {
  const subject = ref === undefined ? '' : `${describe(ref)}: `
  file.problems.push(...faults.map(({ line, message }) => ({ line, message: subject + message })))
  const [first] = faults
  if (ref === undefined || first === undefined) return
  const others = faults.length === 1 ? '' : ` (and ${faults.length - 1} more)`
  file.broken.push({
    object: detached({ ...ref, ...offer, reason: first.message + others }),
    line: first.line,
  })
}

/** Which object a faulty manifest is meant to be, if that can be said. */
function refOf({ kind, metadata }: Fields): ObjectRef | undefined {
  const { name, namespace } = isObject(metadata) ? metadata : {}
  return refFor(kind, name, namespace || 'default')
}

function refFor(kind: unknown, name: unknown, namespace: unknown): ObjectRef | undefined {
  const written = typeof kind === 'string' ? kind : ''
  const known = KINDS.find((candidate) => candidate === written) ?? nearest(written, KINDS)
  if (known === undefined || !isObjectName(name) || !isObjectName(namespace)) return undefined
  return known === 'Credential' || known === 'Secret'
    ? { kind: known, namespace, name }
    : { kind: known, name }
}

const KINDS = ['Credential', 'ClusterCredential', 'CredentialPolicy', 'Namespace', 'Secret'] as const

/** The same for a text that makes no sense: looks for what a kind and names are usually written like. */
function refIn(text: string): ObjectRef | undefined {
  const kind = /^kind: *["']?(\w+)/m.exec(text)?.[1]
  const metadata = /^metadata:(.*(?:\n[ \t].*|\n)*)/m.exec(text)?.[1] ?? ''
  const indent = /\n([ \t]+)\S/.exec(metadata)?.[1] ?? ' '
  const field = (name: string) =>
    new RegExp(`(?:\\n${indent}|[{,] *)${name}: *["']?([^\\s"',}#]+)`).exec(metadata)?.[1]
  return refFor(kind, field('name'), field('namespace') ?? 'default')
}
