import {
  CONFLICT_MODES,
  CONTAINERS,
  type ConflictMode,
  DEFAULT_CONFLICT_MODE,
  INJECT,
  KNOWN_ANNOTATIONS,
  ON_CONFLICT,
  OPT_OUT,
  PREFIX,
  RESTART_ON_ROTATION,
  SKIP_CONTAINERS,
} from '../annotations.ts'
import type { NamespaceView } from '../api/catalog.ts'
import { didYouMean } from '../api/nearest.ts'
import type { Pod } from '../api/pod.ts'
import type { Findings } from './findings.ts'
import { suggestion } from './suggestion.ts'

/** One item of the inject annotation, or of a policy's list. */
export interface CredentialName {
  /** `cluster/NAME` was written: only a ClusterCredential will do. */
  cluster: boolean
  name: string
  /** `=PATH`, as written. */
  path?: string
}

/** What the annotations of a pod ask for. */
export interface PodRequest {
  names: CredentialName[]
  mode: ConflictMode
  optOut: boolean
  /** Whether the container of that name was selected. */
  selects: (container: string) => boolean
}

/** Path in the pod of an annotation, for a problem's `field`. */
export const annotationField = (key: string) => `metadata.annotations[${key}]`

/** Reads all annotations; what cannot be understood is denied, what nobody reads is warned about. */
export function readRequest(
  pod: Pod,
  containers: readonly string[],
  view: NamespaceView,
  findings: Findings,
): PodRequest {
  const annotations = pod.metadata?.annotations ?? {}
  warnAboutUnknownKeys(annotations, findings)
  // Of no consequence here; the controller would take what it does not understand for no answer, without a word.
  readSwitch(RESTART_ON_ROTATION, annotations, findings)
  return {
    names: readNames(annotations[INJECT], view, findings),
    mode: readMode(annotations[ON_CONFLICT], findings),
    optOut: readSwitch(OPT_OUT, annotations, findings),
    selects: readSelection(annotations[CONTAINERS], annotations[SKIP_CONTAINERS], containers, findings),
  }
}

/** `NAME` or `cluster/NAME`; undefined when no object could have that name. */
export function parseCredentialName(text: string): CredentialName | undefined {
  const cluster = text.startsWith('cluster/')
  const name = cluster ? text.slice('cluster/'.length) : text
  // A copy's secret is called credential-NAME, so a ClusterCredential's name leaves room for that prefix.
  if (name.length > (cluster ? 242 : 253) || !SUBDOMAIN.test(name)) return undefined
  return { cluster, name }
}

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

function readNames(text: string | undefined, view: NamespaceView, findings: Findings): CredentialName[] {
  const names: CredentialName[] = []
  for (const item of listItems(INJECT, text, findings)) {
    const name = readName(item)
    if (name) names.push(name)
    else findings.deny('InvalidAnnotation', annotationField(INJECT), invalidName(item, view))
  }
  return names
}

function readName(item: string): CredentialName | undefined {
  const equals = item.indexOf('=')
  if (equals < 0) return parseCredentialName(item)
  const name = parseCredentialName(item.slice(0, equals).trim())
  return name && { ...name, path: item.slice(equals + 1).trim() }
}

function invalidName(item: string, view: NamespaceView): string {
  const [written] = item.split('=', 1) as [string]
  const hint = suggestion(written.trim().slice(0, 253), view.names())
  return `"${clip(item)}" is not a credential: write NAME, cluster/NAME or NAME=/path, with a name of lower-case letters, digits, "-" and "."${hint}`
}

function readMode(text: string | undefined, findings: Findings): ConflictMode {
  if (text === undefined) return DEFAULT_CONFLICT_MODE
  const mode = CONFLICT_MODES.find((candidate) => candidate === text.trim())
  if (mode) return mode
  findings.deny(
    'InvalidAnnotation',
    annotationField(ON_CONFLICT),
    `${ON_CONFLICT} is "${clip(text)}"${didYouMean(text.trim(), CONFLICT_MODES) || `: write ${CONFLICT_MODES.join(', ')}`}`,
  )
  return DEFAULT_CONFLICT_MODE
}

function readSwitch(key: string, annotations: Record<string, string>, findings: Findings): boolean {
  const text = annotations[key]
  if (text !== undefined && text !== 'true' && text !== 'false') {
    findings.deny(
      'InvalidAnnotation',
      annotationField(key),
      `${key} is "${clip(text)}": write "true" or "false"`,
    )
  }
  return text === 'true'
}

function readSelection(
  only: string | undefined,
  skip: string | undefined,
  containers: readonly string[],
  findings: Findings,
): (container: string) => boolean {
  const selected = listItems(CONTAINERS, only, findings)
  const skipped = listItems(SKIP_CONTAINERS, skip, findings)
  if (selected.length > 0 && skipped.length > 0) {
    findings.deny(
      'InvalidAnnotation',
      annotationField(SKIP_CONTAINERS),
      `${CONTAINERS} and ${SKIP_CONTAINERS} exclude each other: keep one`,
    )
  }
  denyUnknownContainers(selected, CONTAINERS, containers, findings)
  denyUnknownContainers(skipped, SKIP_CONTAINERS, containers, findings)
  // Which one was meant is not known: the pod is refused, and what else is wrong anywhere is to be said with it.
  if (selected.some((name) => !containers.includes(name))) return () => true
  if (selected.length > 0) return (container) => selected.includes(container)
  return (container) => !skipped.includes(container)
}

function denyUnknownContainers(
  names: string[],
  key: string,
  containers: readonly string[],
  findings: Findings,
): void {
  for (const name of names) {
    if (containers.includes(name)) continue
    const hint = didYouMean(name, containers) || `; it has ${someOf(containers, 10)}`
    findings.deny('UnknownContainer', annotationField(key), `the pod has no container "${clip(name)}"${hint}`)
  }
}

/** Without the prefix, which a misspelt one has too. */
const KNOWN_KEYS = KNOWN_ANNOTATIONS.map((known) => known.slice(PREFIX.length))

function warnAboutUnknownKeys(annotations: Record<string, string>, findings: Findings): void {
  for (const key in annotations) {
    if (!key.startsWith(PREFIX) || (KNOWN_ANNOTATIONS as readonly string[]).includes(key)) continue
    const hint = didYouMean(key.slice(PREFIX.length), KNOWN_KEYS)
    findings.warn('UnknownAnnotation', `nothing reads ${key}${hint}`)
  }
}

/** Items separated by commas or line breaks, without blanks, empty items and repeats. */
function listItems(key: string, text: string | undefined, findings: Findings): string[] {
  if (!text) return []
  const items = new Set(text.split(/[,\n\r]/).map((part) => part.trim()))
  items.delete('')
  if (items.size <= MOST_ITEMS) return [...items]
  findings.deny('InvalidAnnotation', annotationField(key), `the list has more than ${MOST_ITEMS} items`)
  return []
}

/**
 * An annotation may have 256 KiB. Every item can cost a search for the nearest name, so a list nobody wrote by hand is
 * refused before that; more credentials than this would not fit into a patch that the API server takes either.
 */
const MOST_ITEMS = 256

/** The first names, and how many there are besides. */
export function someOf(names: readonly string[], most: number): string {
  const shown = names.slice(0, most).map(clip).join(', ')
  return names.length > most ? `${shown} and ${names.length - most} more` : shown
}

/** A stranger's text inside a sentence: no control characters, and not longer than a name can be. */
export function clip(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const printable = text.replace(/[\u0000-\u001f\u007f]/g, ' ')
  return printable.length > 80 ? `${printable.slice(0, 79)}…` : printable
}
