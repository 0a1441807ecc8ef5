/** Starts the program as its users do, as a child process with a folder of manifests, and waits until it says that it is ready. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeCertificates, writeCertificates } from '../../certs/make.ts'

const MAIN = fileURLToPath(new URL('../../bin/credential-injector.js', import.meta.url))
const READY_WITHIN_MS = 20_000

export interface RunningServer {
  /** `https://127.0.0.1:PORT/mutate/pods` */
  readonly url: string
  /** `http://127.0.0.1:PORT/metrics` */
  readonly metricsUrl: string
  /** PEM text of the authority that its certificate is of. */
  readonly ca: string
  readonly pid: number
  /** What it has written so far. */
  stdout(): string
  stderr(): string
  /** Its log, one object a line. */
  log(): Record<string, unknown>[]
  /** Resolves when the process is gone. */
  readonly exited: Promise<Exit>
  signal(name: NodeJS.Signals): void
  /** Ends it without the shutdown delay. */
  stop(): Promise<Exit>
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A folder of its own with these files: names to texts. */
export function writeFolder(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'credential-injector-'))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

let certificates: Promise<{ folder: string; ca: string }> | undefined

/** One serving certificate for all servers of a test file: tls.crt, tls.key and ca.crt in `folder`. */
export function testCertificates(): Promise<{ folder: string; ca: string }> {
  certificates ??= (async () => {
    const made = await makeCertificates()
    const folder = writeFolder({})
    await writeCertificates(folder, made)
    return { folder, ca: made.ca }
  })()
  return certificates
}

/** Ready to answer when it resolves. Rejects with what the program wrote if it ends instead. */
export async function startServer(catalog: string, flags: string[] = []): Promise<RunningServer> {
  const { folder, ca } = await testCertificates()
  const tls = flags.includes('--tls-cert')
    ? []
    : ['--tls-cert', join(folder, 'tls.crt'), '--tls-key', join(folder, 'tls.key')]
  const child = run(['serve', '--catalog', catalog, '--port', '0', ...tls, ...flags])
  await ready(child)
  const urls = child.stdout().match(/https?:\/\/\S+/g) ?? []
  return {
    ...child,
    ca,
    url: String(urls[0]),
    metricsUrl: String(urls[1]),
    stop: () => {
      child.signal('SIGINT')
      return child.exited
    },
  }
}

export interface Run extends Pick<RunningServer, 'pid' | 'stdout' | 'stderr' | 'log' | 'exited' | 'signal'> {
  readonly process: ChildProcess
}

/** Runs `credential-injector` with these arguments; for what does not become ready. */
export function run(args: string[], env: NodeJS.ProcessEnv = {}): Run {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text))
  const exited = once(child, 'close').then(([code, signal]) => ({ code, signal }) as Exit)
  return {
    process: child,
    pid: child.pid as number,
    stdout: () => out,
    stderr: () => err,
    log: () =>
      err
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line)),
    exited,
    signal: (name) => void child.kill(name),
  }
}

async function ready({ process: child, stdout, stderr, exited }: Run): Promise<void> {
  const limit = AbortSignal.timeout(READY_WITHIN_MS)
  const ended = exited.then(() => Promise.reject(new Error(`it ended at once:\n${stdout()}${stderr()}`)))
  ended.catch(() => {})
  // The announcement is written at once, so it has arrived whole when its first line has.
  while (!stdout().includes('is ready:'))
    await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data', { signal: limit }), ended])
}
