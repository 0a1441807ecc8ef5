/*
 * The programs that a test cluster is made of. A folder named by KUBEBUILDER_ASSETS comes first, as in other projects;
 * what it lacks is built from source with Go, once for all checkouts of this machine.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isAlive, type Running, startTime } from './processes.ts'

const run = promisify(execFile)

export const KUBERNETES_VERSION = 'v1.37.2'

interface Build {
  /** Folder in `programs/` with the Go module that pins the versions. */
  readonly module: string
  readonly package: string
  /** Names that the one built program goes by. */
  readonly names: readonly string[]
  readonly ldflags: string
  /** A folder of the module `from` that is kept beside the program. */
  readonly copy?: { readonly from: string; readonly folder: string; readonly as: string }
  /** Minutes on two cores with nothing cached, for whoever waits. */
  readonly minutes: number
}

/** Stripped: half the size. The flags are part of what Go caches by, so they are the same everywhere. */
const STRIPPED = '-s -w'

const BUILDS: readonly Build[] = [
  {
    module: 'kubernetes',
    package: '.',
    names: ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kubectl'],
    ldflags: `${STRIPPED} -X k8s.io/component-base/version.gitVersion=${KUBERNETES_VERSION}`,
    minutes: 10,
  },
  { module: 'etcd', package: 'go.etcd.io/etcd/server/v3', names: ['etcd'], ldflags: STRIPPED, minutes: 1 },
  { module: 'helm', package: 'helm.sh/helm/v4/cmd/helm', names: ['helm'], ldflags: STRIPPED, minutes: 4 },
  { module: 'registry', package: '.', names: ['registry'], ldflags: STRIPPED, minutes: 2 },
  {
    module: 'cert-manager',
    package: '.',
    names: ['cert-manager'],
    ldflags: STRIPPED,
    minutes: 5,
    copy: { from: 'github.com/cert-manager/cert-manager', folder: 'deploy/crds', as: 'crds' },
  },
]

export type Program =
  | 'etcd'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kubelet'
  | 'kubectl'
  | 'helm'
  | 'registry'
  | 'cert-manager'

/** Path of a program, which is built if it has to be. Rejects with what the compiler said. */
export async function program(name: Program): Promise<string> {
  const given = process.env.KUBEBUILDER_ASSETS
  if (given && existsSync(join(given, name))) return join(given, name)
  const build = BUILDS.find(({ names }) => names.includes(name)) as Build
  return join(await built(build), name)
}

/** Folder of cert-manager's CRDs, as its own release has them. */
export async function certManagerCrds(): Promise<string> {
  return join(await built(BUILDS.find(({ module }) => module === 'cert-manager') as Build), 'crds')
}

const building = new Map<string, Promise<string>>()

/** Folder with the programs of a build. */
function built(build: Build): Promise<string> {
  const folder = join(CACHE, `${build.module}-${fingerprint(build)}`)
  if (existsSync(folder)) return Promise.resolve(folder)
  const known = building.get(folder)
  if (known) return known
  const begun = alone(build, folder).finally(() => building.delete(folder))
  building.set(folder, begun)
  return begun
}

/** One process of this machine builds; the others wait for it. Two that compile the same take longer than one. */
async function alone(build: Build, folder: string): Promise<string> {
  mkdirSync(CACHE, { recursive: true })
  const lock = `${folder}.lock`
  let told = false
  while (!acquire(lock)) {
    if (!told) say(`Waiting for another process to build ${build.names.join(', ')} …`)
    told = true
    await sleep(500)
  }
  try {
    return existsSync(folder) ? folder : await compile(build, folder)
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Whether the lock is ours now. One whose owner has gone is nobody's. */
function acquire(lock: string): boolean {
  try {
    const owner: Running = { name: 'build', pid: process.pid, started: startTime(process.pid) ?? '' }
    writeFileSync(lock, JSON.stringify(owner), { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const owner = ownerOf(lock)
    if (owner && !isAlive(owner)) rmSync(lock, { force: true })
    return false
  }
}

/** Undefined if it has just been released, or is not yet written. */
function ownerOf(lock: string): Running | undefined {
  try {
    return JSON.parse(readFileSync(lock, 'utf8'))
  } catch {
    return undefined
  }
}

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'credential-injector', 'programs')
const MODULES = fileURLToPath(new URL('../programs/', import.meta.url))

/** Changes with everything that the program is made from. */
function fingerprint({ module, ldflags }: Build): string {
  const hash = createHash('sha256').update(ldflags).update(process.arch)
  const folder = join(MODULES, module)
  for (const file of readdirSync(folder).sort()) hash.update(readFileSync(join(folder, file)))
  return hash.digest('hex').slice(0, 12)
}

const STILL_BUILDING_MS = 30_000

/** Builds beside the place and moves there at the end: whoever looks meanwhile, or kills this, finds nothing half done. */
async function compile(build: Build, folder: string): Promise<string> {
  const { module, package: target, names, ldflags, minutes, copy } = build
  const what = names.join(', ')
  const started = performance.now()
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(0)} s`
  say(`Building ${what} from source, once: about ${minutes} min on two cores with nothing cached …`)
  const progress = setInterval(() => say(`… still building ${what}: ${seconds()}`), STILL_BUILDING_MS)
  const scratch = mkdtempSync(join(CACHE, `.${module}-`))
  try {
    const output = join(scratch, names[0] as string)
    await go(module, ['build', '-trimpath', '-ldflags', ldflags, '-o', output, target])
    for (const name of names.slice(1)) symlinkSync(names[0] as string, join(scratch, name))
    if (copy) {
      const source = await go(module, ['list', '-m', '-f', '{{.Dir}}', copy.from])
      cpSync(join(source.trim(), copy.folder), join(scratch, copy.as), { recursive: true })
    }
    renameSync(scratch, folder)
  } finally {
    clearInterval(progress)
    rmSync(scratch, { recursive: true, force: true })
  }
  say(`Built ${what} in ${seconds()}`)
  return folder
}

/** What the Go command writes, in the folder of a module. Rejects with its complaints. */
async function go(module: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run('go', args, {
      cwd: join(MODULES, module),
      env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' },
      maxBuffer: 64 * 1024 * 1024,
    })
    return stdout
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new Error(
      'The test cluster is built with Go, which is not installed. Install Go 1.26 or later (https://go.dev/dl), ' +
        'or set KUBEBUILDER_ASSETS to a folder that has kube-apiserver, etcd and the other programs.',
    )
  }
}

/** To the terminal or the log of a build, past what a test runner does with a test's own output. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
