import { rmSync } from 'node:fs'
import { allFolders, readClusterFile, readGuardianFile } from './layout.ts'
import { isAlive, startedIn, stop } from './processes.ts'

/**
 * Ends every process of a cluster and removes its folder. Safe to call again, and on what was only half started. Nothing is
 * asked to end gracefully: nobody needs the data.
 */
export async function tearDown(folder: string): Promise<void> {
  await Promise.all(startedIn(folder).map((running) => stop(running, 'SIGKILL')))
  rmSync(folder, { recursive: true, force: true })
}

/** Removes what is left of clusters whose guardian was killed as well, as when a build's container is stopped. */
export async function removeStale(): Promise<void> {
  for (const folder of allFolders()) {
    const guardian = readGuardianFile(folder)
    if (readClusterFile(folder)?.kept === false && !(guardian && isAlive(guardian))) await tearDown(folder)
  }
}
