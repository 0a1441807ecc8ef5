/*
 * A real Kubernetes for tests: etcd, API server and controller manager, and with `node` a scheduler, a kubelet and containerd.
 * Clusters do not meet: each has a folder and ports of its own.
 */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createKubeClient, type KubeClient, type KubeObject } from '../../../src/kube/client.ts'
import {
  type Identity,
  startApiServer,
  startControllerManager,
  startEtcd,
  stopApiServer,
  writeSettings,
} from './control-plane.ts'
import { importBaseImages } from './images.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import {
  type ClusterFile,
  newFolder,
  paths,
  readClusterFile,
  writeClusterFile,
  writeGuardianFile,
} from './layout.ts'
import { claimNetwork, startContainerd, startNode, whyNoNode } from './node.ts'
import { freePorts, startTime } from './processes.ts'
import { program } from './programs.ts'
import { removeStale, tearDown } from './teardown.ts'
import { whenObject } from './watch.ts'

export interface ClusterOptions {
  /** Added to the flags of the API server; the last of the same name wins. */
  readonly apiServerArgs?: readonly string[]
  /** Further users with their groups; their tokens are in `userTokens`. */
  readonly users?: Readonly<Record<string, readonly string[]>>
  /** For people; the end of the folder's name when absent. */
  readonly name?: string
  /** With scheduler, containerd and kubelet; where `whyNoNode()` is undefined. */
  readonly node?: boolean
  /** Outlives this process, until `tearDown`. */
  readonly keep?: boolean
}

export interface Cluster extends ClusterFile {
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string
  /** PEM text of the API server's authority. */
  readonly caData: string
  /** Path: one JSON object a line, written before the request is answered. */
  readonly auditLog: string
  /** As the administrator. */
  readonly client: KubeClient
  /** What `kubectl` writes to standard output. Rejects with what it writes to standard error if it fails. */
  kubectl(args: readonly string[], stdin?: string): Promise<string>
  /** The same for what may fail, or warn. */
  tryKubectl(args: readonly string[], stdin?: string): Promise<Outcome>
  /** Creates it and waits until pods can be made in it. */
  createNamespace(name: string, labels?: Record<string, string>): Promise<void>
  /** A token of a service account that exists, for an hour. */
  tokenFor(serviceAccount: string, namespace: string): Promise<string>
  /** Path of a kubeconfig for whoever has the token. */
  kubeconfigFor(token: string, namespace?: string): string
  stopApiServer(signal?: NodeJS.Signals): Promise<void>
  startApiServer(): Promise<void>
  restartApiServer(signal?: NodeJS.Signals): Promise<void>
  /** Forgets all history in etcd: every watch that begins in the past is answered 410 Gone. */
  compact(): Promise<void>
  stop(): Promise<void>
}

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A port that was free a moment ago may be somebody else's by the time that it is used. */
const ATTEMPTS = 3

/** Ready for pods in `default` when it resolves. Stopped by `stop()`, or with the process that started it. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const reason = options.node && whyNoNode()
  if (reason) throw new Error(`The cluster cannot have a node: ${reason}.`)
  await removeStale()
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(options)
    } catch (error) {
      const unlucky = (error as Error).message.includes('address already in use')
      if (!unlucky || attempt === ATTEMPTS) throw error
    }
  }
}

async function startOnce(options: ClusterOptions): Promise<Cluster> {
  const folder = newFolder()
  // The guardian first: a cluster without one is a stale one.
  const guardian = options.keep ? undefined : startGuardian(folder)
  try {
    const { file, identities } = await design(folder, options)
    writeClusterFile(file)
    await linkKubectl(folder)
    writeSettings(file, Object.values(identities))
    await Promise.all([startControlPlane(file), file.node && startContainerdWithImages(file)])
    writeKubeconfig(paths(folder).kubeconfig, {
      url: file.url,
      caFile: paths(folder).ca,
      token: file.adminToken,
    })
    await startControllerManager(file, identities.controllerManager)
    if (file.node) await startNode(file, identities)
    const cluster = open(file, guardian)
    await defaultServiceAccount(cluster.client, 'default')
    if (file.node) await nodeReady(cluster.client)
    return cluster
  } catch (error) {
    await (guardian ? guardian.release() : tearDown(folder))
    throw error
  }
}

/** A cluster that runs, started by this or by another process. `stop()` stops it all the same. */
export function attachCluster(folder: string): Cluster {
  const file = readClusterFile(folder)
  if (!file) throw new Error(`There is no cluster in ${folder}; was it stopped?`)
  return open(file)
}

/** `FOLDER/bin` for a person's PATH. */
async function linkKubectl(folder: string): Promise<void> {
  mkdirSync(join(folder, 'bin'))
  symlinkSync(await program('kubectl'), join(folder, 'bin', 'kubectl'))
}

/** Together: the API server waits for etcd, and if that fails, nobody waits any longer. */
async function startControlPlane(file: ClusterFile): Promise<void> {
  await Promise.all([startEtcd(file), startApiServer(file)])
}

async function startContainerdWithImages(file: ClusterFile): Promise<void> {
  await startContainerd(file)
  await importBaseImages(file)
}

/** Everything that has to be decided before the first program starts. */
async function design(folder: string, options: ClusterOptions) {
  const { name, keep, users = {}, apiServerArgs = [] } = options
  const [api, etcd, peer] = await freePorts(3)
  const { serviceRange = '10.96.0.0/16', ...node } = options.node ? claimNetwork() : {}
  const admin = newIdentity('admin', ['system:masters'])
  const identities = {
    admin,
    controllerManager: newIdentity('system:kube-controller-manager'),
    scheduler: newIdentity('system:kube-scheduler'),
    kubelet: newIdentity('system:node:localhost', ['system:nodes']),
    ...Object.fromEntries(
      Object.entries(users).map(([user, groups]) => [`user ${user}`, newIdentity(user, groups)]),
    ),
  }
  const file: ClusterFile = {
    folder,
    name: name ?? folder.slice(folder.lastIndexOf('-') + 1),
    kept: keep === true,
    url: `https://127.0.0.1:${api}`,
    etcdUrl: `http://127.0.0.1:${etcd}`,
    etcdPeerUrl: `http://127.0.0.1:${peer}`,
    adminToken: admin.token,
    userTokens: Object.fromEntries(Object.values(identities).map(({ user, token }) => [user, token])),
    serviceRange,
    apiServerArgs,
    ...('bridge' in node && { node }),
  }
  return { file, identities }
}

function newIdentity(user: string, groups: readonly string[] = []): Identity {
  return { user, groups, token: randomBytes(24).toString('hex') }
}

interface Guardian {
  /** Has it take the cluster down, and waits until that is done. */
  release(): Promise<void>
}

function startGuardian(folder: string): Guardian {
  const script = fileURLToPath(new URL('guardian.ts', import.meta.url))
  const child = spawn(process.execPath, [script, folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  const exited = once(child, 'exit')
  child.unref()
  const { pid } = child
  if (pid === undefined) throw new Error(`${process.execPath} cannot be started.`)
  writeGuardianFile(folder, { name: 'guardian', pid, started: startTime(pid) ?? '' })
  ;(child.stdin as unknown as { unref(): void }).unref()
  return {
    async release() {
      child.ref()
      child.stdin.end()
      await exited
    },
  }
}

function open(file: ClusterFile, guardian?: Guardian): Cluster {
  const { folder, url, adminToken } = file
  const at = paths(folder)
  const client = createKubeClient({ server: url, ca: readFileSync(at.ca), token: () => adminToken })
  let kubeconfigs = 0

  const cluster: Cluster = {
    ...file,
    kubeconfig: at.kubeconfig,
    caData: readFileSync(at.ca, 'utf8'),
    auditLog: at.auditLog,
    client,
    async kubectl(args, stdin) {
      const { code, stdout, stderr } = await cluster.tryKubectl(args, stdin)
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr || stdout}`)
      return stdout
    },
    async tryKubectl(args, stdin) {
      return run(await program('kubectl'), [`--kubeconfig=${at.kubeconfig}`, ...args], folder, stdin)
    },
    async createNamespace(name, labels) {
      await client.create('/api/v1/namespaces', { metadata: { name, labels } })
      await defaultServiceAccount(client, name)
    },
    async tokenFor(serviceAccount, namespace) {
      const { status } = await client.create<{ status: { token: string } }>(
        `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`,
        { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } },
      )
      return status.token
    },
    kubeconfigFor(token, namespace) {
      kubeconfigs += 1
      const path = join(at.kubeconfigs, `user-${process.pid}-${kubeconfigs}`)
      writeKubeconfig(path, { url, caFile: at.ca, token, namespace })
      return path
    },
    stopApiServer: (signal) => stopApiServer(file, signal),
    startApiServer: () => startApiServer(file),
    async restartApiServer(signal) {
      await stopApiServer(file, signal)
      await startApiServer(file)
    },
    compact: () => compact(file),
    async stop() {
      client.close()
      await (guardian ? guardian.release() : tearDown(folder))
    },
  }
  return cluster
}

/** The controller manager makes it a moment after the namespace; without it the API server refuses pods. */
async function defaultServiceAccount(client: KubeClient, namespace: string): Promise<void> {
  await whenObject(client, `/api/v1/namespaces/${namespace}/serviceaccounts`, 'default', () => true)
}

/** Pods are scheduled from now on. */
async function nodeReady(client: KubeClient): Promise<void> {
  type Node = KubeObject & {
    spec: { taints?: unknown[] }
    status: { conditions?: { type: string; status: string }[] }
  }
  await whenObject<Node>(
    client,
    '/api/v1/nodes',
    'localhost',
    ({ spec, status }) =>
      !spec.taints?.length &&
      !!status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
  )
}

async function compact({ etcdUrl }: ClusterFile): Promise<void> {
  const ask = async (path: string, body: object) => {
    const answer = await fetch(`${etcdUrl}${path}`, { method: 'POST', body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`etcd answers ${answer.status} to ${path}: ${await answer.text()}`)
    return (await answer.json()) as { header: { revision: string } }
  }
  const { header } = await ask('/v3/kv/range', { key: btoa('/'), limit: 1 })
  await ask('/v3/kv/compaction', { revision: header.revision, physical: true })
}

function run(command: string, args: readonly string[], home: string, stdin?: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      args,
      // A home of its own: no settings and no caches of the person at this machine.
      { env: { ...process.env, HOME: home, KUBECONFIG: undefined }, maxBuffer: 256 * 1024 * 1024 },
      (error, stdout, stderr) =>
        resolve({ code: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr }),
    )
    // It may end without having read everything, or anything.
    child.stdin?.on('error', () => {}).end(stdin ?? '')
  })
}
