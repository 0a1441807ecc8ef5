/* A private registry: nobody pulls or pushes without the password. It ends with the cluster that it was started for. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { type ImageRecipe, pushImage } from './images.ts'
import type { ClusterFile } from './layout.ts'
import { nodePaths } from './node.ts'
import { freePorts, start, stop, until } from './processes.ts'
import { program } from './programs.ts'

export interface Registry {
  /** `127.0.0.1:PORT` */
  readonly address: string
  readonly username: string
  readonly password: string
  /** Uploads an image as `NAME:TAG`, and returns the name by which a pod pulls it. */
  push(recipe: ImageRecipe, name: string): Promise<string>
  stop(): Promise<void>
}

const USERNAME = 'puller'
const PASSWORD = 'pull-me-if-you-can'
/** Of this password, by bcrypt: the registry takes nothing else. Made by `htpasswd -nbB`. */
const PASSWORD_HASH = '$2y$05$abcdefghijklmnopqrstuu3Ysqw2fX3utgjVgqAydrQykQejxPk.S'

/** Answers when it resolves, and the cluster's node may pull from it over plain HTTP. */
export async function startRegistry({ folder, node }: ClusterFile): Promise<Registry> {
  const [port] = (await freePorts(1)) as [number]
  const address = `127.0.0.1:${port}`
  const name = `registry-${port}`
  const home = join(folder, name)
  mkdirSync(home)
  writeFileSync(join(home, 'htpasswd'), `${USERNAME}:${PASSWORD_HASH}\n`)
  writeFileSync(join(home, 'config.yaml'), stringify(settings(home, address)))
  const running = start(folder, name, await program('registry'), ['serve', join(home, 'config.yaml')])
  await until(folder, running, async () => (await fetch(`http://${address}/v2/`)).status === 401)
  if (node) allowPlainHttp(folder, address)

  return {
    address,
    username: USERNAME,
    password: PASSWORD,
    async push(recipe, image) {
      const reference = `${address}/${image}`
      await pushImage(recipe, reference, { username: USERNAME, password: PASSWORD })
      return reference
    },
    stop: () => stop(running),
  }
}

function settings(home: string, address: string): object {
  return {
    version: 0.1,
    storage: { filesystem: { rootdirectory: join(home, 'images') } },
    http: { addr: address, secret: 'of this registry only' },
    auth: { htpasswd: { realm: 'test', path: join(home, 'htpasswd') } },
    log: { level: 'warn' },
  }
}

/** containerd reads this at each pull. */
function allowPlainHttp(folder: string, address: string): void {
  const host = join(nodePaths(folder).registries, address)
  mkdirSync(host, { recursive: true })
  writeFileSync(
    join(host, 'hosts.toml'),
    `server = "http://${address}"\n\n[host."http://${address}"]\ncapabilities = ["pull", "resolve"]\n`,
  )
}
