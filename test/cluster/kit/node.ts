/*
 * A real node: scheduler, containerd and kubelet, as root on Linux. Its network is a bridge of its own; where pods look for the
 * API server (the first address of the services' range) a relay listens, so neither kube-proxy nor iptables is needed.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { componentKubeconfig, type Identity } from './control-plane.ts'
import type { ClusterFile, NodeFile } from './layout.ts'
import { PAUSE_IMAGE } from './names.ts'
import { freePorts, start, until } from './processes.ts'
import { program } from './programs.ts'

/** Commands that a node and its images need, and the Debian packages that have them. */
const COMMANDS: Readonly<Record<string, string>> = {
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  ip: 'iproute2',
  umoci: 'umoci',
  skopeo: 'skopeo',
  busybox: 'busybox-static',
  'ssh-keygen': 'openssh-client',
}

/** Why this machine cannot have a node, as a sentence for the name of a skipped test; undefined where it can. */
export function whyNoNode(): string | undefined {
  if (process.platform !== 'linux') return 'a node needs Linux'
  if (process.getuid?.() !== 0) return 'a node needs root'
  const packages = Object.entries(COMMANDS).flatMap(([command, name]) => (hasCommand(command) ? [] : [name]))
  if (!cniFolder()) packages.push('containernetworking-plugins')
  if (packages.length === 0) return undefined
  return `a node needs ${[...new Set(packages)].join(', ')}: run test/cluster/kit/install-node-packages.sh`
}

function hasCommand(command: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, command)))
}

/** Where Debian has the network plugins, and where everybody else has them. */
function cniFolder(): string | undefined {
  return ['/usr/lib/cni', '/opt/cni/bin'].find((folder) => existsSync(join(folder, 'bridge')))
}

/** A network for the pods. Making the bridge is the claim: of two clusters that want the same number, one is refused. */
export function claimNetwork(): NodeFile & { serviceRange: string } {
  for (let number = 0; number < 256; number += 1) {
    const bridge = `credinj-${number}`
    if (!makeBridge(bridge)) continue
    const gateway = `10.213.${number}.1`
    const apiAddress = `10.214.${number}.1`
    execFileSync('ip', ['address', 'add', `${gateway}/24`, 'dev', bridge])
    execFileSync('ip', ['address', 'add', `${apiAddress}/32`, 'dev', bridge])
    execFileSync('ip', ['link', 'set', bridge, 'up'])
    return {
      bridge,
      podRange: `10.213.${number}.0/24`,
      gateway,
      apiAddress,
      cgroup: `/${bridge}`,
      serviceRange: `10.214.${number}.0/24`,
    }
  }
  throw new Error('There are 256 nodes on this machine already: stop some with `npm run cluster:down`.')
}

function makeBridge(name: string): boolean {
  try {
    execFileSync('ip', ['link', 'add', name, 'type', 'bridge'], { stdio: 'pipe' })
    return true
  } catch (error) {
    const said = String((error as { stderr?: Buffer }).stderr)
    if (said.includes('File exists')) return false
    throw new Error(`The network of a node cannot be made: ip link add ${name} type bridge: ${said}`)
  }
}

const CGROUPS = '/sys/fs/cgroup'

/** The folders of a cgroup: one for each controller in version 1, one in version 2. */
export function cgroupFolders(cgroup: string): string[] {
  if (existsSync(join(CGROUPS, 'cgroup.controllers'))) return [join(CGROUPS, cgroup)]
  return readdirSync(CGROUPS, { withFileTypes: true })
    .filter((controller) => controller.isDirectory())
    .map(({ name }) => join(CGROUPS, name, cgroup))
}

/** Where a node's things are in its cluster's folder. */
export const nodePaths = (folder: string) => ({
  containerd: join(folder, 'containerd'),
  socket: join(folder, 'containerd', 'containerd.sock'),
  /** A folder `HOST:PORT` with a `hosts.toml` for each registry; read at each pull. */
  registries: join(folder, 'containerd', 'registries'),
  cni: join(folder, 'containerd', 'cni'),
  kubelet: join(folder, 'kubelet-root'),
})

export interface NodeIdentities {
  readonly scheduler: Identity
  readonly kubelet: Identity
}

/** containerd answers when it resolves: images can be imported. */
export async function startContainerd({ folder, node }: ClusterFile): Promise<void> {
  const at = nodePaths(folder)
  const { bridge, podRange } = node as NodeFile
  mkdirSync(at.registries, { recursive: true })
  mkdirSync(at.cni, { recursive: true })
  writeFileSync(join(at.cni, '10-bridge.conflist'), JSON.stringify(network(folder, bridge, podRange)))
  const config = join(at.containerd, 'config.toml')
  writeFileSync(config, containerdConfig(folder))
  const running = start(folder, 'containerd', 'containerd', [`--config=${config}`])
  await until(folder, running, async () => {
    ctr(folder, ['version'])
    return true
  })
}

/** Runs containerd's own client. Throws with what it says. */
export function ctr(folder: string, args: readonly string[]): string {
  return execFileSync('ctr', ['--address', nodePaths(folder).socket, '--namespace', 'k8s.io', ...args], {
    encoding: 'utf8',
    stdio: 'pipe',
  })
}

/** The node has registered itself, or will in a moment, when it resolves. */
export async function startNode(file: ClusterFile, { scheduler, kubelet }: NodeIdentities): Promise<void> {
  const { folder, node, url } = file
  const { apiAddress, cgroup, gateway } = node as NodeFile
  const relay = fileURLToPath(new URL('relay.ts', import.meta.url))
  start(folder, 'relay', process.execPath, [relay, apiAddress, '443', new URL(url).port])
  start(folder, 'kube-scheduler', await program('kube-scheduler'), [
    `--kubeconfig=${componentKubeconfig(file, 'scheduler', scheduler)}`,
    '--leader-elect=false',
    '--secure-port=0',
    '--kube-api-qps=1000',
    '--kube-api-burst=1000',
  ])

  const [port] = (await freePorts(1)) as [number]
  const config = join(folder, 'kubelet.yaml')
  writeFileSync(config, stringify(kubeletConfig(folder, cgroup, port)))
  for (const path of cgroupFolders(cgroup)) mkdirSync(path, { recursive: true })
  start(folder, 'kubelet', await program('kubelet'), [
    `--config=${config}`,
    `--kubeconfig=${componentKubeconfig(file, 'kubelet', kubelet)}`,
    `--root-dir=${nodePaths(folder).kubelet}`,
    `--cert-dir=${join(nodePaths(folder).kubelet, 'pki')}`,
    // The API server reaches it by this name over loopback.
    '--hostname-override=localhost',
    `--node-ip=${gateway}`,
  ])
}

function network(folder: string, bridge: string, podRange: string): object {
  return {
    cniVersion: '0.4.0',
    name: bridge,
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: podRange }]],
          routes: [{ dst: '0.0.0.0/0' }],
          dataDir: join(folder, 'containerd', 'addresses'),
        },
      },
    ],
  }
}

function containerdConfig(folder: string): string {
  const at = nodePaths(folder)
  const text = JSON.stringify
  return `version = 2
root = ${text(join(at.containerd, 'root'))}
state = ${text(join(at.containerd, 'state'))}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = ${text(at.socket)}

[plugins."io.containerd.internal.v1.opt"]
path = ${text(join(at.containerd, 'opt'))}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = ${text(PAUSE_IMAGE)}
# Without CAP_SYS_RESOURCE runc may not lower the score, and dies with "can't get final child's PID from pipe".
restrict_oom_score_adj = true
disable_hugetlb_controller = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
# Works on every file system, on another overlay too.
snapshotter = "native"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = ${text(join(at.containerd, 'runc'))}

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = ${text(cniFolder())}
conf_dir = ${text(at.cni)}

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = ${text(at.registries)}
`
}

function kubeletConfig(folder: string, cgroup: string, port: number): object {
  const none = Object.fromEntries(
    ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available'].map((signal) => [
      signal,
      '0%',
    ]),
  )
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: `unix://${nodePaths(folder).socket}`,
    address: '127.0.0.1',
    port,
    healthzPort: 0,
    // Loopback only.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: cgroup,
    failCgroupV1: false,
    failSwapOn: false,
    localStorageCapacityIsolation: false,
    // A developer's disk may be as full as it likes.
    evictionHard: none,
    imageGCHighThresholdPercent: 100,
    makeIPTablesUtilChains: false,
    oomScoreAdj: 0,
    podLogsDir: join(folder, 'pod-logs'),
    volumePluginDir: join(folder, 'volume-plugins'),
    serializeImagePulls: false,
    // A changed Secret is in the pod's files within seconds, not a minute and a half.
    configMapAndSecretChangeDetectionStrategy: 'Watch',
    syncFrequency: '5s',
  }
}
