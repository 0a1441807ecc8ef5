/*
 * Takes a cluster down when whoever started it is gone, however that came about: its standard input is a pipe that the
 * kernel closes with the process at the other end.
 *
 *     node guardian.ts FOLDER
 */
import { once } from 'node:events'
import { tearDown } from './teardown.ts'

const [folder] = process.argv.slice(2)
// Ctrl-C in a terminal, or the end of a session, is for the others; the pipe tells when they are gone.
for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(signal, () => {})
await once(process.stdin.resume(), 'close')
await tearDown(folder as string)
