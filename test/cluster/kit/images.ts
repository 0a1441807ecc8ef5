/*
 * Images for the node, made from files of this machine: umoci puts them into an image, skopeo packs it, containerd imports it.
 * Pods use `imagePullPolicy: Never`, and what they run is what is installed here.
 */
import { execFile } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { ClusterFile } from './layout.ts'
import { BUSYBOX_IMAGE, PAUSE_IMAGE } from './names.ts'
import { nodePaths } from './node.ts'

const run = promisify(execFile)

export interface ImageRecipe {
  /** `test.local/NAME:TAG` */
  readonly name: string
  /** Whole folders: the path in the image, and the folder here. */
  readonly folders?: Readonly<Record<string, string>>
  /** Files: the path in the image, and the file here. */
  readonly files?: Readonly<Record<string, string>>
  /** The same for programs, which bring the libraries along that `ldd` names. */
  readonly programs?: Readonly<Record<string, string>>
  /** Small files that are given as text. */
  readonly texts?: Readonly<Record<string, string>>
  /** With a shell and the usual commands, in /bin. */
  readonly busybox?: boolean
  readonly entrypoint?: readonly string[]
  readonly cmd?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** `65532` or `65532:65532` */
  readonly user?: string
}

/** Makes the image known to the node, under its name. */
export async function importImage({ folder }: ClusterFile, recipe: ImageRecipe): Promise<void> {
  await withImage(recipe, async (image, scratch) => {
    const archive = join(scratch, 'image.tar')
    await run('skopeo', ['copy', '--insecure-policy', image, `oci-archive:${archive}:${recipe.name}`])
    await run('ctr', [
      '--address',
      nodePaths(folder).socket,
      '--namespace',
      'k8s.io',
      'images',
      'import',
      archive,
    ])
  })
}

/** Uploads the image to a registry: `reference` is `127.0.0.1:PORT/NAME:TAG`, over plain HTTP. */
export async function pushImage(
  recipe: ImageRecipe,
  reference: string,
  { username, password }: { username: string; password: string },
): Promise<void> {
  const to = [`docker://${reference}`, '--dest-creds', `${username}:${password}`, '--dest-tls-verify=false']
  await withImage(recipe, async (image) => {
    await run('skopeo', ['copy', '--insecure-policy', image, ...to])
  })
}

/** The two that every node has. */
export async function importBaseImages(file: ClusterFile): Promise<void> {
  // Ends at once when it is asked to, as the real one does; a shell that is process 1 would not.
  const pause = `trap 'exit 0' TERM INT; while true; do sleep 3600 & wait $!; done`
  await Promise.all([
    importImage(file, { name: BUSYBOX_IMAGE, busybox: true, cmd: ['sh'] }),
    importImage(file, { name: PAUSE_IMAGE, busybox: true, entrypoint: ['sh', '-c', pause] }),
  ])
}

/** Calls `use` with the image as `oci:FOLDER:TAG` and with a folder for its own files, both gone afterwards. */
async function withImage(
  recipe: ImageRecipe,
  use: (image: string, scratch: string) => Promise<void>,
): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'credential-injector-image-'))
  try {
    const layout = join(scratch, 'layout')
    const image = `${layout}:latest`
    await run('umoci', ['init', '--layout', layout])
    await run('umoci', ['new', '--image', image])
    const root = join(scratch, 'root')
    await fill(root, recipe)
    await run('umoci', ['insert', '--image', image, root, '/'])
    await run('umoci', ['config', '--image', image, ...settings(recipe)])
    await use(`oci:${image}`, scratch)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function settings({ entrypoint = [], cmd = [], env = {}, user }: ImageRecipe): string[] {
  const all = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...env }
  return [
    ...entrypoint.map((word) => `--config.entrypoint=${word}`),
    ...cmd.map((word) => `--config.cmd=${word}`),
    ...Object.entries(all).map(([name, value]) => `--config.env=${name}=${value}`),
    ...(user === undefined ? [] : [`--config.user=${user}`]),
  ]
}

async function fill(root: string, recipe: ImageRecipe): Promise<void> {
  const { folders = {}, files = {}, programs = {}, texts = {}, busybox } = recipe
  const put = (path: string, source: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    copyFileSync(realpathSync(source), join(root, path))
  }
  for (const path of ['tmp', 'etc', 'root', 'dev', 'proc', 'sys'])
    mkdirSync(join(root, path), { recursive: true })
  chmodSync(join(root, 'tmp'), 0o1777)
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532::/tmp:/bin/sh\n',
  )
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnonroot:x:65532:\n')

  if (busybox) {
    put('bin/busybox', await findProgram('busybox'))
    const { stdout } = await run('busybox', ['--list'])
    for (const applet of stdout.trim().split('\n'))
      if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet))
  }
  for (const [path, source] of Object.entries(folders)) cpSync(source, join(root, path), { recursive: true })
  for (const [path, source] of Object.entries(files)) put(path, source)
  for (const [path, source] of Object.entries(programs)) {
    put(path, source)
    for (const library of await libraries(source)) put(library, library)
  }
  for (const [path, content] of Object.entries(texts)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content)
  }
}

/** Paths of the shared libraries of a program, its loader included. */
async function libraries(path: string): Promise<string[]> {
  const { stdout } = await run('ldd', [realpathSync(path)])
  return stdout.split('\n').flatMap((line) => line.match(/(\/\S+) \(0x/)?.[1] ?? [])
}

/** Path of an installed program. */
export async function findProgram(name: string): Promise<string> {
  const { stdout } = await run('sh', ['-c', `command -v ${name}`])
  return stdout.trim()
}
