/* What a cluster is on disk: a folder of its own, with everything that whoever meets it later has to know. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Running } from './processes.ts'

const PREFIX = 'credential-injector-cluster-'

/** Says all that is needed to use, restart and remove a cluster; `cluster.json` in its folder. */
export interface ClusterFile {
  readonly folder: string
  /** For people, and for `cluster:down --name`. */
  readonly name: string
  /** Lives until `cluster:down`; otherwise it ends with the process that started it. */
  readonly kept: boolean
  /** `https://127.0.0.1:PORT` */
  readonly url: string
  readonly etcdUrl: string
  readonly etcdPeerUrl: string
  /** Member of `system:masters`. */
  readonly adminToken: string
  /** Tokens of further users by their names. */
  readonly userTokens: Readonly<Record<string, string>>
  readonly serviceRange: string
  readonly apiServerArgs: readonly string[]
  readonly node?: NodeFile
}

/** What only a real node has. */
export interface NodeFile {
  /** Network bridge of the pods; its name is this cluster's claim on the two ranges. */
  readonly bridge: string
  /** `10.213.N.0/24` and its first address, which the host has. */
  readonly podRange: string
  readonly gateway: string
  /** First address of the services' range: where pods look for the API server. */
  readonly apiAddress: string
  /** Below each controller of cgroups; begins with `/`. */
  readonly cgroup: string
}

export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), PREFIX))
}

/** Folders of clusters that may still be there. */
export function allFolders(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => join(tmpdir(), name))
}

export function writeClusterFile(file: ClusterFile): void {
  mkdirSync(file.folder, { recursive: true })
  // Moved into place: whoever reads it at the same moment sees it whole.
  writeFileSync(join(file.folder, '.cluster.json'), JSON.stringify(file, null, 2), { mode: 0o600 })
  renameSync(join(file.folder, '.cluster.json'), join(file.folder, 'cluster.json'))
}

/** Undefined where no cluster was begun, where it is gone, and where it is another user's. */
export function readClusterFile(folder: string): ClusterFile | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'cluster.json'), 'utf8'))
  } catch (error) {
    if (['ENOENT', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

/** Not among the `.pid` files: it is the one that ends those. */
export function writeGuardianFile(folder: string, guardian: Running): void {
  writeFileSync(join(folder, 'guardian.json'), JSON.stringify(guardian))
}

export function readGuardianFile(folder: string): Running | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'guardian.json'), 'utf8'))
  } catch {
    return undefined
  }
}

/** Where things are in a cluster's folder. */
export const paths = (folder: string) => ({
  kubeconfig: join(folder, 'kubeconfig'),
  ca: join(folder, 'pki', 'apiserver.crt'),
  auditLog: join(folder, 'audit.log'),
  auditPolicy: join(folder, 'audit-policy.yaml'),
  tokens: join(folder, 'tokens.csv'),
  pki: join(folder, 'pki'),
  serviceAccountKey: join(folder, 'service-account.key'),
  serviceAccountPublicKey: join(folder, 'service-account.pub'),
  etcd: join(folder, 'etcd'),
  kubeconfigs: join(folder, 'kubeconfigs'),
})
