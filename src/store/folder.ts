import type { Store } from '../api/catalog.ts'
import { type FileState, type FolderFiles, type FolderProblem, readFolder } from './folder-files.ts'
import { watchFolders } from './folder-watch.ts'
import { type CatalogCounts, createMemoryStore, type MemoryStore } from './memory.ts'
import { type CatalogObject, describe, keyOf } from './objects.ts'

/** A catalogue that is read from a folder of manifests. */
export interface Folder {
  readonly store: Store
  status(): FolderStatus
  /** Reads what has changed, at once instead of when the change is noticed. Resolves when it is in effect. */
  reload(): Promise<void>
  /** Stops watching. The store stays as it is. */
  close(): void
}

interface FolderStatus {
  readonly counts: CatalogCounts
  /** Everything that is wrong now, in the order of files and lines. */
  readonly problems: readonly FolderProblem[]
  /** When the folder was last read without any problem, in milliseconds since 1970; undefined if never. */
  readonly lastGoodRead: number | undefined
}

/** A change that has come into effect. */
export interface Reload {
  /** Files that were added, changed or removed, relative to the folder. */
  readonly changed: readonly string[]
  /** What is wrong in those files, and what is wrong elsewhere only since this change. */
  readonly problems: readonly FolderProblem[]
}

export interface FolderOptions {
  /** Where the secrets of ClusterCredentials are. */
  readonly ownerNamespace?: string
  /** False: read once. */
  readonly watch?: boolean
  /** Called after each change, when it is in effect; not for the first read. */
  readonly onReload?: (reload: Reload) => void
}

/**
 * Reads the catalogue and follows its changes. A change is applied as a whole: views that were taken before it know
 * nothing of it, views taken after it all. Files that become faulty do not take away what stood in them before.
 *
 * @throws Error with a sentence, if the folder cannot be read at the start.
 */
export function openFolder(
  root: string,
  { ownerNamespace, watch = true, onReload }: FolderOptions = {},
): Folder {
  const store = createMemoryStore({ ownerNamespace })
  let current = assemble(finish(readFolder(root)))
  if (current.files.unreadable) throw new Error(current.files.unreadable)
  applyChanges(store, new Map(), current.objects)
  let lastGoodRead = current.problems.length === 0 ? Date.now() : undefined
  let isClosed = false
  let reading = Promise.resolve()
  let waiting: Promise<void> | undefined

  /** One look at a time; whoever asks while another one waits for its turn is served by that one. */
  const reload = () => {
    waiting ??= reading.then(readAgain, readAgain)
    reading = waiting
    return waiting
  }
  const watcher = watch ? watchFolders(() => current.files.folders, reload) : undefined
  return {
    store,
    status: () => ({ counts: store.counts(), problems: current.problems, lastGoodRead }),
    reload,
    close() {
      isClosed = true
      watcher?.close()
    },
  }

  async function readAgain(): Promise<void> {
    waiting = undefined
    const files = await inSlices(readFolder(root, current.files))
    if (isClosed) return
    const before = current
    current = sameContent(before.files, files) ? { ...before, files } : assemble(files)
    applyChanges(store, before.objects, current.objects)
    if (current.problems.length === 0) lastGoodRead = Date.now()
    watcher?.update()
    if (current.objects !== before.objects) onReload?.(compare(before, current))
  }
}

// ---- Reading without standing in the way -----------------------------------------------------------------------------

function finish<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

/** Requests are answered between the slices: nothing else happens in the process while one lasts. */
const SLICE_MS = 5

async function inSlices<T>(steps: Generator<void, T>): Promise<T> {
  let begin = performance.now()
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
    if (performance.now() - begin < SLICE_MS) continue
    await new Promise((resolve) => setImmediate(resolve))
    begin = performance.now()
  }
}

// ---- From files to one catalogue -------------------------------------------------------------------------------------

interface Assembly {
  readonly files: FolderFiles
  readonly objects: ReadonlyMap<string, CatalogObject>
  readonly problems: readonly FolderProblem[]
}

/**
 * Decides what counts where something stands more than once: first what the files say now, in their order; then what
 * faulty files said before; then that something is broken.
 */
function assemble(files: FolderFiles): Assembly {
  const objects = new Map<string, CatalogObject>()
  const problems: FolderProblem[] = [...files.problems]
  addAll(objects, files, problems)
  for (const { retained } of files.files.values()) addMissing(objects, retained)
  for (const [path, { broken }] of files.files) addMissing(objects, broken.map(brokenIn(path)))
  return { files, objects, problems: problems.sort(byPlace) }
}

function addAll(
  objects: Map<string, CatalogObject>,
  { files }: FolderFiles,
  problems: FolderProblem[],
): void {
  for (const [file, state] of files) {
    problems.push(...state.problems)
    for (const { object, line } of state.objects) {
      const key = keyOf(object)
      const first = objects.get(key)
      if (first === undefined) objects.set(key, object)
      else
        problems.push({
          file,
          line,
          message: `${describe(object)} is already defined in ${placeOf(first, files)}`,
        })
    }
  }
}

function placeOf(wanted: CatalogObject, files: FolderFiles['files']): string {
  for (const [file, { objects }] of files) {
    const found = objects.find(({ object }) => object === wanted)
    if (found) return `${file} line ${found.line}, which counts`
  }
  return 'another file'
}

function addMissing(objects: Map<string, CatalogObject>, additions: readonly CatalogObject[]): void {
  for (const object of additions) {
    const key = keyOf(object)
    if (!objects.has(key)) objects.set(key, object)
  }
}

function brokenIn(file: string) {
  return ({
    object: { kind, namespace, name, namespaceSelector, reason },
    line,
  }: FileState['broken'][number]): CatalogObject => ({
    kind,
    namespace,
    name,
    namespaceSelector,
    broken: `its manifest in ${file} line ${line} is broken: ${reason}`,
  })
}

function byPlace(a: FolderProblem, b: FolderProblem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1
  return (a.line ?? 0) - (b.line ?? 0)
}

function sameContent(before: FolderFiles, after: FolderFiles): boolean {
  return (
    before.files.size === after.files.size &&
    before.problems.map(textOf).join() === after.problems.map(textOf).join() &&
    [...after.files].every(([path, state]) => before.files.get(path) === state)
  )
}

/** Files that did not change bring the very objects that they brought before. */
function applyChanges(store: MemoryStore, before: Assembly['objects'], after: Assembly['objects']): void {
  if (before === after) return
  for (const [key, object] of before) if (!after.has(key)) store.remove(object)
  for (const [key, object] of after) if (before.get(key) !== object) store.put(object)
}

function compare(before: Assembly, after: Assembly): Reload {
  const changed = [...after.files.files]
    .filter(([path, state]) => before.files.files.get(path) !== state)
    .map(([path]) => path)
  const removed = [...before.files.files.keys()].filter((path) => !after.files.files.has(path))
  const known = new Set(before.problems.map(textOf))
  const touched = new Set(changed)
  return {
    changed: [...changed, ...removed].sort(),
    problems: after.problems.filter((problem) => touched.has(problem.file) || !known.has(textOf(problem))),
  }
}

function textOf({ file, line, message }: FolderProblem): string {
  return `${file}:${line}:${message}`
}
