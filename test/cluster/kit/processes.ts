import { spawn, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Long enough for a loaded machine; a healthy start takes a tenth of it. */
const START_LIMIT_MS = 120_000
const STOP_LIMIT_MS = 10_000

/** A program that was started, and can be stopped by whoever knows its process id and when it began. */
export interface Running {
  readonly name: string
  readonly pid: number
  /** From the kernel: tells the process from a later one that was given the same id. */
  readonly started: string
}

/** Starts a program on its own; what it says goes to `FOLDER/NAME.log`, and its process id to `FOLDER/NAME.pid`. */
export function start(
  folder: string,
  name: string,
  command: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Running {
  const log = openSync(join(folder, `${name}.log`), 'a')
  const child = spawn(command, args, {
    cwd: folder,
    // A group of its own: Ctrl-C in a terminal is for the tests, which stop the cluster themselves.
    detached: true,
    stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH ?? '', HOME: folder, ...environment },
  })
  closeSync(log)
  // It is missed below, by the one who waits for it.
  child.once('error', () => {})
  child.unref()
  if (child.pid === undefined) throw new Error(`${command} cannot be started.`)
  const running = { name, pid: child.pid, started: startTime(child.pid) ?? '' }
  writeFileSync(join(folder, `${name}.pid`), JSON.stringify(running))
  return running
}

/** What was started in a folder, as its `.pid` files have it. */
export function startedIn(folder: string): Running[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.pid'))
    .map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')))
}

/** The process of that name in the folder. Throws if there never was one. */
export function startedAs(folder: string, name: string): Running {
  return JSON.parse(readFileSync(join(folder, `${name}.pid`), 'utf8'))
}

/** Asks it to end, and ends it when it does not in `limit` ms. Resolves when it is gone. */
export async function stop(
  running: Running,
  signal: NodeJS.Signals = 'SIGTERM',
  limit = STOP_LIMIT_MS,
): Promise<void> {
  if (!isAlive(running)) return
  kill(running.pid, signal)
  const deadline = performance.now() + limit
  while (isAlive(running)) {
    if (performance.now() > deadline) kill(running.pid, 'SIGKILL')
    await sleep(20)
  }
}

/** A signal for a process that may be gone. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export function isAlive({ pid, started }: Running): boolean {
  const now = startTime(pid)
  return now !== undefined && now === started
}

/** When a process began, as its system says it. Undefined if there is no such process, or if it is a zombie. */
export function startTime(pid: number): string | undefined {
  return process.platform === 'linux' ? startTimeByProc(pid) : startTimeByPs(pid)
}

function startTimeByProc(pid: number): string | undefined {
  try {
    // The second field is a name in parentheses, which may have anything in it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    const [state, threads, started] = [fields[0], Number(fields[17]), fields[19]]
    // Its first thread may have ended before the others, which still hold its ports.
    return state === 'Z' && threads <= 1 ? undefined : started
  } catch {
    return undefined
  }
}

function startTimeByPs(pid: number): string | undefined {
  const { stdout } = spawnSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8' })
  const [state = 'Z', ...began] = stdout.trim().split(/\s+/)
  return state === '' || state.startsWith('Z') ? undefined : began.join(' ')
}

/** Waits until `ready` is true. Rejects with the end of its log if the program ends, or takes too long. */
export async function until(folder: string, running: Running, ready: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + START_LIMIT_MS
  while (!(await ready().catch(() => false))) {
    const log = () => readFileSync(join(folder, `${running.name}.log`), 'utf8').slice(-3000)
    if (!isAlive(running)) throw new Error(`${running.name} ended before it was ready:\n${log()}`)
    if (performance.now() > deadline)
      throw new Error(`${running.name} is not ready after two minutes:\n${log()}`)
    await sleep(50)
  }
}

/**
 * Below those that systems give to connections (from 32768 on): the port of a server that is started again must not have become
 * somebody's connection meanwhile.
 */
const FIRST_PORT = 20_000
const LAST_PORT = 32_000

/** Ports of the loopback address that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = []
  while (servers.length < count) {
    const server = await listening(randomInt(FIRST_PORT, LAST_PORT))
    if (server) servers.push(server)
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** Undefined if the port is taken. */
function listening(port: number): Promise<Server | undefined> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
