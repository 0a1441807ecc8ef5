/*
 * The programs that a test cluster is made of. A folder named by KUBEBUILDER_ASSETS comes first, as in other projects;
 * what it lacks is built from source with Go, once for all checkouts of this machine.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

export const KUBERNETES_VERSION = 'v1.37.2'

interface Build {
  /** Folder in `programs/` with the Go module that pins the versions. */
  readonly module: string
  readonly package: string
  /** Names that the one built program goes by. */
  readonly names: readonly string[]
  readonly ldflags: string
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
  {
    module: 'registry',
    package: 'github.com/distribution/distribution/v3/cmd/registry',
    names: ['registry'],
    ldflags: STRIPPED,
    minutes: 2,
  },
  { module: 'cert-manager', package: '.', names: ['cert-manager'], ldflags: STRIPPED, minutes: 5 },
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

const building = new Map<string, Promise<string>>()

/** Folder with the programs of a build. */
function built(build: Build): Promise<string> {
  const folder = join(CACHE, `${build.module}-${fingerprint(build)}`)
  if (existsSync(folder)) return Promise.resolve(folder)
  const known = building.get(folder)
  if (known) return known
  const begun = compile(build, folder).finally(() => building.delete(folder))
  building.set(folder, begun)
  return begun
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

/** Builds beside the place and moves there at the end: whoever looks meanwhile, or kills this, finds nothing half done. */
async function compile(
  { module, package: target, names, ldflags, minutes }: Build,
  folder: string,
): Promise<string> {
  const started = performance.now()
  say(
    `Building ${names.join(', ')} from source, once: about ${minutes} min on two cores with nothing cached …`,
  )
  mkdirSync(CACHE, { recursive: true })
  const scratch = mkdtempSync(join(CACHE, `.${module}-`))
  try {
    const output = join(scratch, names[0] as string)
    await run('go', ['build', '-trimpath', '-ldflags', ldflags, '-o', output, target], {
      cwd: join(MODULES, module),
      env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' },
      maxBuffer: 64 * 1024 * 1024,
    })
    for (const name of names.slice(1)) symlinkSync(names[0] as string, join(scratch, name))
    try {
      renameSync(scratch, folder)
    } catch (error) {
      // Somebody else was faster.
      if (!existsSync(folder)) throw error
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  say(`Built ${names.join(', ')} in ${((performance.now() - started) / 1000).toFixed(0)} s`)
  return folder
}

/** To the terminal or the log of a build, past what a test runner does with a test's own output. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
