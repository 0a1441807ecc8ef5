/**
 * Assembles the image's file system without Docker, for tests on machines that have none: what the last stage of the Dockerfile
 * says is done by hand, with this machine's Node and the libraries that it needs in place of the base image's.
 *
 *     npm run image -- FOLDER
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPrograms } from './build.ts'
import { type Copy, type ImageDescription, readDockerfile } from './image/dockerfile.ts'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))
/** Where the Dockerfile's build stage has its checkout. */
const BUILD_FOLDER = '/src/'

export interface AssembledImage extends ImageDescription {
  /** The root file system. */
  readonly folder: string
  /** Every file in it, as paths in the image, sorted. */
  readonly files: readonly string[]
  /** The programs' bytes, and those of Node with what it needs. */
  readonly programBytes: number
  readonly baseBytes: number
}

/** Builds the programs and puts the image's root file system into `folder`, which should be empty. */
export async function assembleImage(folder: string): Promise<AssembledImage> {
  mkdirSync(folder, { recursive: true })
  const description = readDockerfile(readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8'))
  await buildPrograms(join(CHECKOUT, 'dist'))
  // It becomes `/`, which everybody may enter; temporary folders are their owner's only.
  chmodSync(folder, 0o755)
  addBase(folder, description)
  const baseBytes = bytesIn(folder)
  for (const copy of description.copies) addCopy(folder, copy)
  return {
    ...description,
    folder,
    files: filesIn(folder),
    programBytes: bytesIn(folder) - baseBytes,
    baseBytes,
  }
}

// ---- What the base image brings --------------------------------------------------------------------------------------

const PASSWD =
  'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n'
const GROUP = 'root:x:0:\nnonroot:x:65532:\n'
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'

function addBase(folder: string, { entrypoint }: ImageDescription): void {
  const node = realpathSync(join(CHECKOUT, 'node_modules/node/bin/node'))
  addFile(folder, node, entrypoint[0] as string, 0o755)
  for (const library of librariesOf(node)) addFile(folder, library, library, 0o755)
  mkdirSync(join(folder, 'etc'), { recursive: true })
  writeFileSync(join(folder, 'etc/passwd'), PASSWD)
  writeFileSync(join(folder, 'etc/group'), GROUP)
  if (existsSync(AUTHORITIES)) addFile(folder, AUTHORITIES, AUTHORITIES, 0o644)
  // Mount points of the runtime, which cannot make them below a root that is read-only.
  for (const name of ['dev', 'proc', 'sys', 'home/nonroot', 'tmp'])
    mkdirSync(join(folder, name), { recursive: true })
  chmodSync(join(folder, 'tmp'), 0o1777)
}

/** Absolute paths of the shared libraries of a program, its loader included, as `ldd` tells them. */
function librariesOf(program: string): string[] {
  const told = execFileSync('ldd', [program], { encoding: 'utf8' })
  return [...told.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path as string)
}

// ---- What the Dockerfile copies --------------------------------------------------------------------------------------

function addCopy(folder: string, { from, sources, destination }: Copy): void {
  for (const source of sources) {
    if (!source.startsWith(BUILD_FOLDER))
      throw new Error(`COPY --from=${from} ${source}: not below ${BUILD_FOLDER}.`)
    const found = globSync(source.slice(BUILD_FOLDER.length), { cwd: CHECKOUT })
    if (found.length === 0)
      throw new Error(
        `The Dockerfile copies ${source}, which the build does not make: change one of the two.`,
      )
    for (const file of found) {
      const target = destination.endsWith('/') ? destination + basename(file) : destination
      addFile(folder, join(CHECKOUT, file), target, 0o644)
    }
  }
}

function addFile(folder: string, source: string, target: string, mode: number): void {
  const path = join(folder, target)
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(source, path)
  chmodSync(path, mode)
}

function filesIn(folder: string): string[] {
  return globSync('**', { cwd: folder, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length))
    .sort()
}

function bytesIn(folder: string): number {
  return filesIn(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2)
  if (!folder) {
    process.stderr.write('Name the folder to put the root file system into: npm run image -- FOLDER\n')
    process.exit(2)
  }
  const { files, programBytes, baseBytes } = await assembleImage(folder)
  const mebibytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`
  process.stdout.write(
    `${folder} has ${files.length} files: programs ${mebibytes(programBytes)}, Node and its libraries ${mebibytes(baseBytes)}.\n`,
  )
}
