/** Starts servers and loads as child processes, each on a core of its own where the system can do that. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { LoadResult } from './load.ts'

/** The first core is the servers', of whom only one is busy at a time; the second is the load's. */
const SERVERS_CORE = 0
const LOAD_CORE = 1

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))
const CAN_PIN = process.platform === 'linux' && spawnSync('taskset', ['--version']).status === 0

export interface Server {
  /** Where reviews are posted. */
  readonly url: string
  /** From the start of the process to its word that it is ready, in milliseconds. */
  readonly readyAfter: number
  /** Resident memory now, in MiB. */
  memory(): number
  /** Processor time so far, in milliseconds; undefined where the system does not say. */
  processorTime(): number | undefined
  /** Resolves when the process is gone. SIGINT when absent. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

/** Runs Node with these arguments, in the checkout: a server that says `is ready: `, and then its URL. Rejects with what it wrote if it ends instead. */
export async function startServer(args: readonly string[]): Promise<Server> {
  const started = performance.now()
  const child = spawnPinned(SERVERS_CORE, args)
  const exited = once(child, 'exit')
  const url = await readyUrl(child)
  const readyAfter = performance.now() - started
  return {
    url,
    readyAfter,
    memory: () => residentMemory(child.pid as number),
    processorTime: () => processorTime(child.pid as number),
    async stop(signal = 'SIGINT') {
      child.kill(signal)
      await exited
    },
  }
}

/** Posts the review in `bodyFile` for so many seconds, as an API server does. */
export async function load(
  url: string,
  bodyFile: string,
  seconds: number,
  caFile: string,
): Promise<LoadResult> {
  const child = spawnPinned(LOAD_CORE, ['bench/load.ts', url, bodyFile, String(seconds), caFile])
  return JSON.parse(await text(child.stdout as NodeJS.ReadableStream))
}

/** `taskset` replaces itself by the program, so the child is the program and its id the program's. */
function spawnPinned(core: number, args: readonly string[]): ChildProcess {
  const command = [process.execPath, ...args]
  if (CAN_PIN) command.unshift('taskset', '--cpu-list', String(core))
  // What a server logs is written, to nowhere.
  return spawn(command[0] as string, command.slice(1), { cwd: CHECKOUT, stdio: ['ignore', 'pipe', 'ignore'] })
}

async function readyUrl(child: ChildProcess): Promise<string> {
  let said = ''
  for await (const chunk of child.stdout as NodeJS.ReadableStream) {
    said += chunk
    const url = /is ready: .*?(https?:\S+)/s.exec(said)?.[1]
    if (url) return url
  }
  throw new Error(`A server ended before it was ready:\n${said}`)
}

/** The kernel counts it in hundredths of a second (proc(5), `utime` and `stime`). */
function processorTime(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

function residentMemory(pid: number): number {
  const kibibytes =
    process.platform === 'linux'
      ? /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      : execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
  return Number(kibibytes) / 1024
}
