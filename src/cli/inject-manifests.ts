/** Manifests in, manifests with credentials and a report out. Pure: reads no file, prints nothing. */

import { isCollection } from 'yaml'
import type { Store } from '../api/catalog.ts'
import type { PatchOperation, Pod } from '../api/pod.ts'
import { fieldIn, type PodPlace, type PodsFound, podsIn, pointerTo } from '../api/pod-places.ts'
import { DENIALS, WARNINGS } from '../api/reasons.ts'
import { inject, type Outcome, podShapeProblem } from '../inject/index.ts'
import { readYaml, type YamlDocument, type YamlText } from './kubernetes-yaml.ts'
import { patchText } from './manifest-patch.ts'
import type { Finding, PodReport, Report } from './report.ts'

export interface Manifest {
  /** As reports call it. */
  file: string
  text: string
}

export interface Settings {
  store: Store
  /** For objects that name none. */
  namespace: string
  excludedNamespaces: ReadonlySet<string>
  /** In milliseconds since 1970. */
  now: number
}

export interface Injected {
  /** The manifests, one after the other; undefined if anything is refused or failed: it is all or nothing. */
  output: string | undefined
  report: Report
}

export function injectManifests(manifests: readonly Manifest[], settings: Settings): Injected {
  const files = manifests.map((manifest) => injectFile(manifest, settings))
  const pods = files.flatMap((file) => file.pods)
  const errors = files.flatMap((file) => file.errors)
  const outcome =
    errors.length > 0 ? 'Failed' : pods.some((pod) => pod.outcome === 'Denied') ? 'Refused' : 'Done'
  const otherObjects = files.reduce((sum, file) => sum + file.otherObjects, 0)
  return {
    output: outcome === 'Done' ? joined(files.map(({ text }) => text)) : undefined,
    report: {
      outcome,
      pods,
      otherObjects,
      unreached: files.flatMap((file) => file.unreached),
      errors,
      catalogProblems: [],
    },
  }
}

interface InjectedFile {
  text: string
  pods: PodReport[]
  otherObjects: number
  unreached: Finding[]
  errors: Finding[]
}

function injectFile({ file, text }: Manifest, settings: Settings): InjectedFile {
  const source = readYaml(text)
  const result: InjectedFile = { text, pods: [], otherObjects: 0, unreached: [], errors: [] }
  result.errors = source.problems.map(({ line, reason }) => ({
    file,
    line,
    message: `this is not valid YAML: ${reason}`,
  }))

  const operations = new Map<number, PatchOperation[]>()
  for (const [index, document] of source.documents.entries()) {
    operations.set(index, injectDocument(file, source, document, settings, result))
  }
  if (result.errors.length === 0) result.text = changed(file, source, operations, result)
  return result
}

/** Adds what becomes of the document's pods to the result, and returns the operations on the document. */
function injectDocument(
  file: string,
  source: YamlText,
  { doc, value }: YamlDocument,
  settings: Settings,
  result: InjectedFile,
): PatchOperation[] {
  const { pods, others, unreached } = podsIn(value)
  result.otherObjects += others
  for (const object of unreached) {
    const line = source.lineOf(offsetOf(doc, object))
    result.unreached.push({ file, line, message: `${nameOf(object)} ${whyUnreached(object)}` })
  }
  return pods.flatMap((place) => {
    const line = source.lineOf(offsetOf(doc, place))
    const problem = podShapeProblem(place.pod)
    if (problem) {
      result.errors.push({ file, line, message: `${nameOf(place)}: ${fieldIn(place, problem)}` })
      return []
    }
    const namespace = place.namespace ?? settings.namespace
    const { store, excludedNamespaces, now } = settings
    const outcome = inject({ pod: place.pod as Pod, view: store.view(namespace), excludedNamespaces, now })
    result.pods.push({ ...reportOf(place, outcome), namespace, file, line })
    return outcome.kind === 'Injected' ? moved(outcome.patch, pointerTo(place)) : []
  })
}

function whyUnreached({ template }: PodsFound['unreached'][number]): string {
  return template
    ? `names credentials in its own metadata, where nothing reads them: move the annotation to ${template.join('.')}.metadata`
    : UNKNOWN_PLACE
}

const UNKNOWN_PLACE =
  'names credentials where this command knows of no pod: it is passed on as it is, and its pods are injected when they are created'

const nameOf = ({ kind, name }: Pick<PodPlace, 'kind' | 'name'>) => (name === '' ? kind : `${kind} ${name}`)

const moved = (patch: readonly PatchOperation[], to: string) =>
  patch.map((operation) => ({ ...operation, path: to + operation.path }))

/** Where the object begins in its file. */
function offsetOf(doc: YamlDocument['doc'], { objectPath }: Pick<PodPlace, 'objectPath'>): number {
  const node = objectPath.length === 0 ? doc.contents : doc.getIn(objectPath, true)
  const range = isCollection(node) ? node.range : undefined
  return range?.[0] ?? doc.contents?.range?.[0] ?? 0
}

function reportOf(place: PodPlace, outcome: Outcome): Omit<PodReport, 'namespace' | 'file' | 'line'> {
  const problems = outcome.kind === 'Denied' ? outcome.problems : []
  return {
    kind: place.kind,
    name: place.name,
    outcome: outcome.kind,
    reason: outcome.kind === 'LeftAlone' ? outcome.reason : undefined,
    credentials: outcome.credentials,
    grants: outcome.kind === 'Denied' ? [] : outcome.grants(),
    warnings: outcome.warnings.map((warning) => ({ ...warning, remedy: WARNINGS[warning.reason].remedy })),
    conflicts: problems.map((problem) => ({
      ...problem,
      field: fieldIn(place, problem.field),
      remedy: DENIALS[problem.reason].remedy,
    })),
  }
}

function changed(
  file: string,
  source: YamlText,
  operations: Map<number, PatchOperation[]>,
  result: InjectedFile,
): string {
  for (const [index, list] of operations) if (list.length === 0) operations.delete(index)
  try {
    return patchText(source, operations)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    result.errors.push({ file, message: `the manifests cannot be changed as they are written: ${reason}` })
    return source.text
  }
}

/** Texts of several files as one stream of documents. */
function joined(texts: readonly string[]): string {
  return texts.reduce((stream, text) => {
    if (stream === '' || text === '') return stream + text
    const ended = stream.endsWith('\n') ? stream : `${stream}\n`
    // Directives are only read at the very beginning, or after the end of a document.
    if (text.startsWith('%')) return `${ended}...\n${text}`
    return text.startsWith('---') ? ended + text : `${ended}---\n${text}`
  }, '')
}
