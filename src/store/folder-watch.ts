import { type FSWatcher, watch } from 'node:fs'

interface FolderWatch {
  /** To be called when the folders may have become others. */
  update(): void
  close(): void
}

/** A file is often written in several steps: a look comes when it has been quiet for so long … */
const QUIET_MS = 50
/** … but is not put off for longer than this. */
const LATEST_MS = 500
/** Not every file system reports changes (network mounts), and links may lead out of the watched folders. */
const RESCAN_MS = 5000

/**
 * Calls `look` soon after something has changed in one of the folders (path → identity), soon after the watch has begun,
 * since something may have changed just before it, and every few seconds.
 */
export function watchFolders(folders: () => ReadonlyMap<string, string>, look: () => void): FolderWatch {
  const watchers = new Map<string, { identity: string; watcher: FSWatcher | undefined }>()
  let quiet: NodeJS.Timeout | undefined
  let firstChange = 0
  const rescan = setInterval(look, RESCAN_MS).unref()
  update()
  return {
    update,
    close() {
      clearInterval(rescan)
      clearTimeout(quiet)
      for (const { watcher } of watchers.values()) watcher?.close()
    },
  }

  function update(): void {
    const wanted = folders()
    for (const [path, { identity, watcher }] of watchers) {
      if (wanted.get(path) === identity) continue
      watcher?.close()
      watchers.delete(path)
    }
    for (const [path, identity] of wanted) {
      if (watchers.has(path)) continue
      watchers.set(path, { identity, watcher: watchFolder(path, changed) })
      changed()
    }
  }

  function changed(): void {
    const now = Date.now()
    if (quiet === undefined) firstChange = now
    clearTimeout(quiet)
    quiet = setTimeout(
      () => {
        quiet = undefined
        look()
      },
      Math.min(QUIET_MS, firstChange + LATEST_MS - now),
    ).unref()
  }
}

/** Undefined where the system has no more watches to give: then changes are found by looking every few seconds. */
function watchFolder(path: string, changed: () => void): FSWatcher | undefined {
  try {
    return watch(path, { persistent: false }, changed).on('error', () => undefined)
  } catch {
    return undefined
  }
}
