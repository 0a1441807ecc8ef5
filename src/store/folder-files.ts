import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { type BrokenManifest, type Located, readManifests } from './manifests.ts'
import { type CatalogObject, keyOf } from './objects.ts'

export interface FolderProblem {
  /** Relative to the catalogue's folder; `.` is the folder itself. */
  readonly file: string
  /** From 1; undefined where the whole file or folder is meant. */
  readonly line?: number
  readonly message: string
}

/** What a folder of manifests held when it was read. */
export interface FolderFiles {
  /** By path relative to the folder, in the order in which definitions count. */
  readonly files: ReadonlyMap<string, FileState>
  /** Every folder that was visited: path and identity. */
  readonly folders: ReadonlyMap<string, string>
  /** About folders; those about files are with the files. */
  readonly problems: readonly FolderProblem[]
  /** Why nothing at all could be read. */
  readonly unreadable?: string
}

export interface FileState {
  readonly stamp: Stamp
  readonly hash: string
  readonly objects: readonly Located<CatalogObject>[]
  /** While the file has problems: what stood in it before and can no longer be read. */
  readonly retained: readonly CatalogObject[]
  readonly broken: readonly Located<BrokenCredential>[]
  readonly problems: readonly FolderProblem[]
}

/** Changes when the file does, as far as its metadata tell; undefined while they do not tell for sure. */
type Stamp = Pick<Stats, 'dev' | 'ino' | 'size' | 'mtimeMs' | 'ctimeMs'> | undefined

type BrokenCredential = BrokenManifest & { readonly kind: 'Credential' | 'ClusterCredential' }

const NOTHING: FolderFiles = { files: new Map(), folders: new Map(), problems: [] }

/**
 * Reads a folder and all below it; files that are as they were `before` keep their state. Yields after each file, so
 * that the caller may do something else in between. What cannot be read now stays as it was.
 */
export function* readFolder(root: string, before = NOTHING): Generator<void, FolderFiles> {
  const reading: Reading = { root, before: before.files, files: new Map(), folders: new Map(), problems: [] }
  yield* readAll(reading, '', new Set())
  const { files, folders, problems } = reading
  if (folders.size === 0) return { ...before, folders, problems, unreadable: problems[0]?.message }
  keepUnreachable(reading)
  return { files, folders, problems }
}

// ---- Which files there are -------------------------------------------------------------------------------------------

interface Reading {
  readonly root: string
  readonly before: FolderFiles['files']
  readonly files: Map<string, FileState>
  readonly folders: Map<string, string>
  readonly problems: FolderProblem[]
}

/**
 * Names that begin with a dot are passed over. In a volume that Kubernetes makes from a ConfigMap, that leaves exactly
 * the links to the current files: `a.yaml` leads to `..data/a.yaml`, and `..data` to the folder of the last update.
 */
function* readAll(reading: Reading, folder: string, above: ReadonlySet<string>): Generator<void> {
  const { root, folders, problems } = reading
  const opened = openedFolder(root, folder, problems)
  // A link that leads to a folder above it would never end.
  if (opened === undefined || above.has(opened.identity)) return
  folders.set(join(root, folder), opened.identity)
  for (const name of opened.names.filter((candidate) => !candidate.startsWith('.'))) {
    const path = folder === '' ? name : `${folder}/${name}`
    const stats = attempt(() => statSync(join(root, path)))
    if ('fault' in stats) {
      // Gone since the folder was listed, or a link to nothing: there is no such file.
      if (stats.code !== 'ENOENT') problems.push({ file: path, message: `it cannot be read: ${stats.fault}` })
    } else if (stats.result.isDirectory()) {
      yield* readAll(reading, path, new Set([...above, opened.identity]))
    } else if (stats.result.isFile() && isManifest(name)) addFile(reading, path, stats.result)
    yield
  }
}

function openedFolder(root: string, folder: string, problems: FolderProblem[]) {
  const path = join(root, folder)
  const opened = attempt(() => ({ identity: identityOf(statSync(path)), names: readdirSync(path).sort() }))
  if ('result' in opened) return opened.result
  const isGone = folder !== '' && opened.code === 'ENOENT'
  const what = folder === '' ? `catalogue folder ${root}` : 'folder'
  if (!isGone) problems.push({ file: folder || '.', message: `the ${what} cannot be read: ${opened.fault}` })
  return undefined
}

function isManifest(name: string): boolean {
  return /\.(?:ya?ml|json)$/i.test(name)
}

function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`
}

/** Files in a folder, or behind a link, that cannot be reached at the moment are not taken for removed. */
function keepUnreachable({ before, files, problems }: Reading): void {
  for (const [path, state] of before) {
    if (files.has(path)) continue
    if (problems.some(({ file }) => path === file || path.startsWith(`${file}/`))) files.set(path, state)
  }
}

// ---- What a file says ------------------------------------------------------------------------------------------------

function addFile({ root, before, files }: Reading, path: string, stats: Stats): void {
  const known = before.get(path)
  const state = isSame(known?.stamp, stats) ? known : readFile(root, path, stats, known)
  if (state) files.set(path, state)
}

function readFile(
  root: string,
  path: string,
  stats: Stats,
  before: FileState | undefined,
): FileState | undefined {
  if (stats.size > LARGEST) return unreadable(path, 'it is larger than 32 MiB', before)
  const text = attempt(() => readFileSync(join(root, path), 'utf8'))
  if ('fault' in text) return text.code === 'ENOENT' ? undefined : unreadable(path, text.fault, before)
  const stamp = stampOf(stats)
  const hash = createHash('sha256').update(text.result).digest('base64')
  // Touched, not changed: it stays the very same state, which is how the others know that nothing has happened.
  if (before?.hash === hash) return Object.assign(before, { stamp })
  // It is not known to throw; if it does, only this file must suffer.
  const manifests = attempt(() => readManifests(text.result))
  if ('fault' in manifests) return unreadable(path, manifests.fault, before)
  const { objects, broken, problems } = manifests.result
  return {
    stamp,
    hash,
    objects,
    retained: problems.length === 0 ? [] : without(everythingIn(before), objects),
    broken: broken.filter(isCredential),
    problems: problems.map((problem) => ({ file: path, ...problem })),
  }
}

/** Bytes; enough for 100,000 objects. A file is held in memory as a whole while it is read. */
const LARGEST = 32 * 1024 * 1024

/** The file as it was, without a stamp: the next look tries again. */
function unreadable(path: string, fault: string, before: FileState = NO_STATE): FileState {
  const message = `it cannot be read: ${fault}`
  if (before.stamp === undefined && before.problems[0]?.message === message) return before
  return { ...before, stamp: undefined, hash: '', problems: [{ file: path, message }] }
}

const NO_STATE: FileState = {
  stamp: undefined,
  hash: '',
  objects: [],
  retained: [],
  broken: [],
  problems: [],
}

/** Two writes within this time can leave a file with the same time stamp; Linux counts in steps of some milliseconds. */
const CLOCK_STEP_MS = 50

function stampOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): Stamp {
  const isSettled = Date.now() - Math.max(mtimeMs, ctimeMs) > CLOCK_STEP_MS
  return isSettled ? { dev, ino, size, mtimeMs, ctimeMs } : undefined
}

function isSame(stamp: Stamp, { dev, ino, size, mtimeMs, ctimeMs }: Stats): boolean {
  return (
    stamp?.dev === dev &&
    stamp.ino === ino &&
    stamp.size === size &&
    stamp.mtimeMs === mtimeMs &&
    stamp.ctimeMs === ctimeMs
  )
}

function everythingIn(state: FileState | undefined): readonly CatalogObject[] {
  return state === undefined ? [] : [...state.objects.map(({ object }) => object), ...state.retained]
}

function without(
  objects: readonly CatalogObject[],
  replaced: readonly Located<CatalogObject>[],
): CatalogObject[] {
  const keys = new Set(replaced.map(({ object }) => keyOf(object)))
  return objects.filter((object) => !keys.has(keyOf(object)))
}

function isCredential(broken: Located<BrokenManifest>): broken is Located<BrokenCredential> {
  return broken.object.kind === 'Credential' || broken.object.kind === 'ClusterCredential'
}

// ---- File system errors ----------------------------------------------------------------------------------------------

type Attempt<T> = { result: T } | { fault: string; code: string | undefined }

function attempt<T>(action: () => T): Attempt<T> {
  try {
    return { result: action() }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return { fault: FAULTS[code ?? ''] ?? code ?? 'for an unknown reason', code }
  }
}

const FAULTS: Readonly<Record<string, string>> = {
  EACCES: 'permission is denied',
  ELOOP: 'its links lead in a circle',
  ENOENT: 'it does not exist',
  ENOTDIR: 'it is not a folder',
  EPERM: 'permission is denied',
}
