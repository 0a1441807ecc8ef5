/** Reads fixtures/inject: one folder is one case. The format is described in fixtures/README.md. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { apply_patch as applyPatch } from 'jsonpatch'
import { parse, parseAllDocuments, stringify } from 'yaml'
import type { Store } from '../../src/api/catalog.ts'
import type { Pod } from '../../src/api/pod.ts'
import { inject, type Outcome } from '../../src/inject/index.ts'
import { openFolder } from '../../src/store/folder.ts'
import { excludedNamespaces } from '../../src/store/memory.ts'
import {
  everyContainer,
  type FileView,
  type NamespaceContent,
  observe,
  type PodObject,
  type Values,
} from './kubelet.ts'

const FIXTURES = fileURLToPath(new URL('../../fixtures/inject', import.meta.url))
export const UPDATE_COMMAND = 'npx node scripts/update-fixtures.ts'

/** Where the secrets of ClusterCredentials are. */
const OWNER_NAMESPACE = 'credential-injector'

export type Door = 'engine' | 'https' | 'cli'

export interface Case {
  name: string
  folder: string
  podText: string
  pod: PodObject
  /** The catalogue's files by name, as they go to `--catalog`. */
  catalog: Record<string, string>
  effect: Effect
  request: Required<RequestFile>
}

/** request.yaml: what the case needs to be different from the usual. */
interface RequestFile {
  namespace?: string
  /** RFC 3339. */
  now?: string
  operation?: string
  doors?: Door[]
  /** False: the pod itself is one that no API server would take. */
  apiValidation?: boolean
}

const USUAL_REQUEST: Required<RequestFile> = {
  namespace: 'runai-team-a',
  now: '2026-11-23T12:00:00Z',
  operation: 'CREATE',
  doors: ['engine', 'https', 'cli'],
  apiValidation: true,
}

/** A reason, and what its sentence must contain. */
export type Expectation = Record<string, string | string[]>

/** effect.yaml: what a person expects of the case. */
export interface Effect {
  about: string
  /** `Injected`, `Denied`, or the reason why the pod is left alone. */
  outcome: string
  containers?: Record<string, ContainerEffect>
  imagePullSecrets?: string[]
  injected?: string
  warnings?: Expectation[]
  problems?: Expectation[]
  /** Nothing that is added may say anything about file modes. */
  noModes?: boolean
  /** How many volumes are added. */
  addedVolumes?: number
  /** Names that must be answered with one and the same sentence. */
  sameAnswer?: string[]
}

interface ContainerEffect {
  env?: Record<string, string>
  files?: Record<string, FileView>
  waits?: string
}

/** Every folder there is. */
export function caseNames(): string[] {
  return readdirSync(FIXTURES).sort()
}

const FILES = ['pod.yaml', 'effect.yaml', 'request.yaml', 'expected.yaml', 'report.txt']
const isCatalog = (file: string) => /^catalog(-[a-z]+)?\.yaml$/.test(file)

/** Throws a sentence when a file is missing, superfluous or not of the right form. */
export function loadCase(name: string, root = FIXTURES): Case {
  const folder = join(root, name)
  const files = readdirSync(folder)
  for (const needed of ['pod.yaml', 'catalog.yaml', 'effect.yaml'])
    if (!files.includes(needed)) throw new Error(`${name} has no ${needed}`)
  for (const file of files)
    if (!FILES.includes(file) && !isCatalog(file)) throw new Error(`${name}/${file} is no file of a case`)
  const read = (file: string) => readFileSync(join(folder, file), 'utf8')
  const podText = read('pod.yaml')
  return {
    name,
    folder,
    podText,
    pod: parse(podText),
    catalog: Object.fromEntries(files.filter(isCatalog).map((file) => [file, read(file)])),
    effect: checkKeys(name, 'effect.yaml', parse(read('effect.yaml')), EFFECT_KEYS),
    request: {
      ...USUAL_REQUEST,
      ...(files.includes('request.yaml') &&
        checkKeys(name, 'request.yaml', parse(read('request.yaml')), Object.keys(USUAL_REQUEST))),
    },
  }
}

const EFFECT_KEYS = [
  'about',
  'outcome',
  'containers',
  'imagePullSecrets',
  'injected',
  'warnings',
  'problems',
  'noModes',
  'addedVolumes',
  'sameAnswer',
]

/** A misspelt key would check nothing, without a word. */
function checkKeys<T extends object>(name: string, file: string, value: T, allowed: string[]): T {
  for (const key of Object.keys(value))
    if (!allowed.includes(key)) throw new Error(`${name}/${file}: nothing reads the key ${key}`)
  return value
}

/** A golden file, or undefined when there is none. */
export function golden(fixture: Case, file: 'expected.yaml' | 'report.txt'): string | undefined {
  const path = join(fixture.folder, file)
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

// ---- What the kubelet would find -------------------------------------------------------------------------------------

interface Manifest {
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string> }
  spec?: { secretRef?: { name: string }; namespaceSelector?: unknown }
  data?: Values
  stringData?: Values
}

function manifestsOf(fixture: Case): Manifest[] {
  return Object.values(fixture.catalog).flatMap((text) =>
    parseAllDocuments(text)
      .map((document) => document.toJS() as Manifest)
      .filter((manifest) => manifest !== null),
  )
}

/**
 * The Secrets and ConfigMaps of the pod's namespace with their values, among them the copies of the ClusterCredentials'
 * secrets that the controller would keep there.
 */
function contentOf(fixture: Case): NamespaceContent {
  const manifests = manifestsOf(fixture)
  const ofKind = (kind: string, namespace: string): Record<string, Values> =>
    Object.fromEntries(
      manifests
        .filter((manifest) => manifest.kind === kind && manifest.metadata.namespace === namespace)
        .map((manifest) => [manifest.metadata.name, valuesOf(manifest)]),
    )
  const secrets = ofKind('Secret', fixture.request.namespace)
  const shared = ofKind('Secret', OWNER_NAMESPACE)
  for (const { kind, metadata, spec } of manifests) {
    const source = shared[spec?.secretRef?.name ?? '']
    if (kind === 'ClusterCredential' && source) secrets[`credential-${metadata.name}`] ??= source
  }
  return { secrets, configMaps: ofKind('ConfigMap', fixture.request.namespace) }
}

function valuesOf({ kind, data = {}, stringData = {} }: Manifest): Values {
  if (kind === 'ConfigMap') return data
  const decoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()])
  return { ...Object.fromEntries(decoded), ...stringData }
}

/** Every value of every Secret, also as base64; shorter ones could occur by chance. */
export function secretValues(fixture: Case): string[] {
  return manifestsOf(fixture)
    .filter(({ kind }) => kind === 'Secret')
    .flatMap((manifest) => [...Object.values(valuesOf(manifest)), ...Object.values(manifest.data ?? {})])
    .flatMap((value) => [value, Buffer.from(value).toString('base64')])
    .filter((value) => value.length >= 6)
}

/** What the pod comes to, in the form of effect.yaml, so that the two can be compared. */
export function effectOf(pod: PodObject, fixture: Case): Pick<Effect, 'containers' | 'imagePullSecrets'> {
  const view = observe(pod, contentOf(fixture))
  return {
    containers: Object.fromEntries(
      everyContainer(pod).map(({ name }) => {
        const { env, files, waits } = view.containers[name] ?? { env: {}, files: {}, waits: [] }
        return [name, { env, files, waits: waits.join('; ') }]
      }),
    ),
    imagePullSecrets: view.imagePullSecrets,
  }
}

/** effect.yaml with everything filled in that it may leave out. A container that waits may leave its values out too. */
export function expectedEffect(
  { effect }: Case,
  actual: ReturnType<typeof effectOf>,
): ReturnType<typeof effectOf> {
  const containers = Object.entries(effect.containers ?? {}).map(([name, container]) => {
    const { env, files, waits = '' } = container
    const seen = waits !== '' && !env && !files ? actual.containers?.[name] : undefined
    return [name, { env: env ?? seen?.env ?? {}, files: files ?? seen?.files ?? {}, waits }]
  })
  return { containers: Object.fromEntries(containers), imagePullSecrets: effect.imagePullSecrets ?? [] }
}

// ---- Golden files ----------------------------------------------------------------------------------------------------

/** The text of expected.yaml. */
export function renderPod(pod: PodObject): string {
  return stringify(pod, { lineWidth: 0 })
}

/** The text of report.txt. */
export function renderReport(outcome: Outcome): string {
  const title = outcome.kind === 'LeftAlone' ? outcome.reason : outcome.kind
  const named = outcome.credentials.map(({ kind, name }) => `${kind}/${name}`)
  const lines = [named.length > 0 ? `${title}: ${named.join(', ')}` : title]
  if (outcome.kind !== 'Denied')
    for (const { credential, policy, container, form, detail } of outcome.grants())
      lines.push(
        `  ${container ?? '(pod)'}: ${form} from ${credential}${policy === undefined ? '' : ` of policy ${policy}`}: ${detail}`,
      )
  if (outcome.kind === 'Denied')
    for (const { reason, field, message } of outcome.problems)
      lines.push(`  ${reason} at ${field}`, `    ${message}`)
  for (const { reason, message } of outcome.warnings) lines.push(`  warning ${reason}: ${message}`)
  return `${lines.join('\n')}\n`
}

// ---- The engine on a case --------------------------------------------------------------------------------------------

/** Namespaces that are never touched. */
export const EXCLUDED = excludedNamespaces(OWNER_NAMESPACE)

/** Writes the case's catalogue below `root` as a folder of its own, and returns that folder. */
export function writeCatalog(fixture: Case, root: string): string {
  const folder = join(root, fixture.name)
  mkdirSync(folder)
  for (const [file, text] of Object.entries(fixture.catalog)) writeFileSync(join(folder, file), text)
  return folder
}

/** Reads a catalogue's folder once, as it is now. */
export function openCatalog(folder: string): Store {
  return openFolder(folder, { watch: false }).store
}

export function runEngine({ pod, request }: Case, store: Store, input: PodObject = pod): Outcome {
  const view = store.view(request.namespace)
  return inject({ pod: input as Pod, view, excludedNamespaces: EXCLUDED, now: Date.parse(request.now) })
}

/** The pod after the outcome's patch, applied by the jsonpatch library to a copy. */
export function patched(pod: PodObject, outcome: Outcome): PodObject {
  return outcome.kind === 'Injected' ? applyPatch(structuredClone(pod), outcome.patch) : pod
}

/** The catalogues of several cases as one text. Throws when they contradict each other. */
export function catalogOf(fixtures: Case[]): string {
  const objects = new Map<string, string>()
  for (const manifest of fixtures.flatMap(manifestsOf)) {
    const key = [manifest.kind, manifest.metadata.namespace, manifest.metadata.name].join(' ')
    const text = stringify(manifest)
    if ((objects.get(key) ?? text) !== text) throw new Error(`two cases have different ideas of ${key}`)
    objects.set(key, text)
  }
  return [...objects.values()].join('---\n')
}
