import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { allFolders, type NodeFile, readClusterFile, readGuardianFile } from './layout.ts'
import { cgroupFolders, nodePaths } from './node.ts'
import { isAlive, kill, startedIn, startTime, stop } from './processes.ts'

/**
 * Ends every process of a cluster and removes its folder. Safe to call again, and on what was only half started. Nothing is
 * asked to end gracefully: nobody needs the data.
 */
export async function tearDown(folder: string): Promise<void> {
  const node = readClusterFile(folder)?.node
  await Promise.all(startedIn(folder).map((running) => stop(running, 'SIGKILL')))
  if (node) await tearDownNode(folder, node)
  rmSync(folder, { recursive: true, force: true })
}

/** Removes what is left of clusters whose guardian was killed as well, as when a build's container is stopped. */
export async function removeStale(): Promise<void> {
  for (const folder of allFolders()) {
    const guardian = readGuardianFile(folder)
    if (readClusterFile(folder)?.kept === false && !(guardian && isAlive(guardian))) await tearDown(folder)
  }
}

/** What the kubelet and containerd made outside the folder, too: containers, mounts, cgroups, the network. */
async function tearDownNode(folder: string, { bridge, cgroup }: NodeFile): Promise<void> {
  const sockets = shimSockets(folder)
  const sandboxes = sandboxesOf(folder)
  await endContainers(folder, cgroup)
  unmountBelow(folder)
  if (hasBridge(bridge)) quietly('ip', ['link', 'delete', bridge])
  for (const path of cgroupFolders(cgroup)) removeCgroup(path)
  for (const socket of sockets) rmSync(socket, { force: true })
  removeNamed('/var/lib/cni/results', (name) => sandboxes.some((id) => name.includes(`-${id}-`)))
  removeNamed('/var/log/containers', (_name, path) => linkTarget(path).startsWith(`${folder}/`))
}

/** The processes of the containers, and the shims that hold them. New ones do not come: who would start them is gone. */
async function endContainers(folder: string, cgroup: string): Promise<void> {
  const { socket } = nodePaths(folder)
  const mine = () => processes().filter((pid) => argumentsOf(pid).includes(socket) || isInCgroup(pid, cgroup))
  for (let left = mine(); left.length > 0; left = mine()) {
    for (const pid of left) kill(pid, 'SIGKILL')
    await sleep(20)
  }
}

function processes(): number[] {
  // A zombie cannot be ended again.
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && startTime(pid) !== undefined)
}

function argumentsOf(pid: number): string[] {
  return textOf(`/proc/${pid}/cmdline`).split('\0')
}

/** Lines look like `4:memory:/credinj-0/kubepods/…`. */
function isInCgroup(pid: number, cgroup: string): boolean {
  return textOf(`/proc/${pid}/cgroup`)
    .split('\n')
    .some((line) => `${line.replace(/^[^:]*:[^:]*:/, '')}/`.startsWith(`${cgroup}/`))
}

/** Where each shim listens, outside the folder. */
function shimSockets(folder: string): string[] {
  const tasks = join(nodePaths(folder).containerd, 'state', 'io.containerd.runtime.v2.task', 'k8s.io')
  if (!existsSync(tasks)) return []
  return readdirSync(tasks)
    .map((id) => textOf(join(tasks, id, 'address')).replace('unix://', ''))
    .filter((socket) => socket.startsWith('/run/containerd/'))
}

/** Their ids are in the names of what the network plugins remember. */
function sandboxesOf(folder: string): string[] {
  const sandboxes = join(nodePaths(folder).containerd, 'root', 'io.containerd.grpc.v1.cri', 'sandboxes')
  return existsSync(sandboxes) ? readdirSync(sandboxes) : []
}

/** Throws while anything is mounted there: what is removed next could be somebody's files on a volume. */
function unmountBelow(folder: string): void {
  for (const mount of mountsBelow(folder)) quietly('umount', ['--lazy', mount])
  const left = mountsBelow(folder)
  if (left.length > 0) throw new Error(`These cannot be unmounted, and ${folder} stays: ${left.join(', ')}`)
}

function hasBridge(name: string): boolean {
  return existsSync(join('/sys/class/net', name))
}

/** For what another process may be doing at the same moment; the caller looks at what came of it. */
function quietly(command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, { stdio: 'pipe' })
  } catch {}
}

/** The innermost first. */
function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mount) => mount.startsWith(`${folder}/`))
    .reverse()
}

function removeCgroup(path: string): void {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(path, entry.name))
  try {
    rmdirSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function removeNamed(folder: string, isMine: (name: string, path: string) => boolean): void {
  if (!existsSync(folder)) return
  for (const name of readdirSync(folder)) {
    const path = join(folder, basename(name))
    if (isMine(name, path)) rmSync(path, { force: true })
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** Empty for what is not there, or not any more. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
