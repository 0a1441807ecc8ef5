/*
 * etcd, the API server and the controller manager, each with the flags of a test cluster. Nothing here knows of other
 * clusters: everything that two of them could both want is in the `ClusterFile`.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import { writeKubeconfig } from './kubeconfig.ts'
import { type ClusterFile, paths } from './layout.ts'
import { start, startedAs, stop, until } from './processes.ts'
import { program } from './programs.ts'

/** Of a component that is known by a token of its own. */
export interface Identity {
  readonly user: string
  readonly groups: readonly string[]
  readonly token: string
}

/** Every request is in the audit log; of those about pods, everything that was said. */
const AUDIT_POLICY = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: RequestResponse
    resources: [{ group: '', resources: [pods, pods/*] }]
  - level: Metadata
`

/** Writes what the programs read. */
export function writeSettings(file: ClusterFile, identities: readonly Identity[]): void {
  const { folder } = file
  const at = paths(folder)
  mkdirSync(at.pki, { recursive: true })
  mkdirSync(at.kubeconfigs, { recursive: true })
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const secret = { mode: 0o600 }
  writeFileSync(at.serviceAccountKey, privateKey.export({ type: 'sec1', format: 'pem' }), secret)
  writeFileSync(at.serviceAccountPublicKey, publicKey.export({ type: 'spki', format: 'pem' }))
  writeFileSync(at.auditPolicy, AUDIT_POLICY)
  const row = ({ token, user, groups }: Identity) => `${token},"${user}","${user}","${groups.join(',')}"\n`
  writeFileSync(at.tokens, identities.map(row).join(''), secret)
}

/** Healthy when it resolves. */
export async function startEtcd({ folder, etcdUrl, etcdPeerUrl }: ClusterFile): Promise<void> {
  const running = start(folder, 'etcd', await program('etcd'), [
    `--data-dir=${paths(folder).etcd}`,
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=${etcdPeerUrl}`,
    `--initial-advertise-peer-urls=${etcdPeerUrl}`,
    `--initial-cluster=default=${etcdPeerUrl}`,
    // The data is worth nothing after the tests.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ])
  await until(folder, running, async () => (await fetch(`${etcdUrl}/health`)).ok)
}

/** Ready when it resolves. */
export async function startApiServer(file: ClusterFile): Promise<void> {
  const { folder, url, etcdUrl, serviceRange, apiServerArgs } = file
  const at = paths(folder)
  const running = start(folder, 'kube-apiserver', await program('kube-apiserver'), [
    `--etcd-servers=${etcdUrl}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${new URL(url).port}`,
    // It makes a certificate of its own there, which outlives a restart.
    `--cert-dir=${at.pki}`,
    `--service-cluster-ip-range=${serviceRange}`,
    // Nobody asks for the address that it is known by to others: there is no kube-proxy, and pods have a relay.
    '--endpoint-reconciler-type=none',
    `--advertise-address=${file.node?.gateway ?? '198.51.100.1'}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${at.serviceAccountPublicKey}`,
    `--service-account-signing-key-file=${at.serviceAccountKey}`,
    `--token-auth-file=${at.tokens}`,
    '--authorization-mode=Node,RBAC',
    '--allow-privileged=true',
    // Webhooks that are given as a Service are reached at the addresses of their pods, so no kube-proxy is needed.
    '--enable-aggregator-routing=true',
    // The kubelet calls itself localhost: `kubectl logs` and `exec` work over loopback.
    '--kubelet-preferred-address-types=Hostname',
    `--audit-policy-file=${at.auditPolicy}`,
    `--audit-log-path=${at.auditLog}`,
    // What was answered is in the log.
    '--audit-log-mode=blocking',
    // In one file, however long it gets: tests read on from where they were.
    '--audit-log-maxsize=100000',
    ...apiServerArgs,
  ])
  await until(folder, running, () => answers(`${url}/readyz`, file.adminToken))
}

/** It stops listening at once, and would then wait for all watches to end, a minute long. */
const DRAIN_MS = 1_000

/** Requests under way are answered first; `SIGKILL` ends it like a power cut. */
export function stopApiServer({ folder }: ClusterFile, signal?: NodeJS.Signals): Promise<void> {
  return stop(startedAs(folder, 'kube-apiserver'), signal, DRAIN_MS)
}

export async function startControllerManager(file: ClusterFile, identity: Identity): Promise<void> {
  const { folder } = file
  const at = paths(folder)
  const kubeconfig = componentKubeconfig(file, 'controller-manager', identity)
  start(folder, 'kube-controller-manager', await program('kube-controller-manager'), [
    `--kubeconfig=${kubeconfig}`,
    `--service-account-private-key-file=${at.serviceAccountKey}`,
    `--root-ca-file=${at.ca}`,
    '--use-service-account-credentials=true',
    '--leader-elect=false',
    // By default it holds itself back at its start, for four seconds.
    '--kube-api-qps=1000',
    '--kube-api-burst=1000',
    // A node that is ready gets pods a second later, instead of five.
    '--node-monitor-period=1s',
    // No port: nobody asks it anything.
    '--secure-port=0',
  ])
}

/** Path of the file. */
export function componentKubeconfig({ folder, url }: ClusterFile, name: string, { token }: Identity): string {
  const file = join(paths(folder).kubeconfigs, name)
  writeKubeconfig(file, { url, caFile: paths(folder).ca, token })
  return file
}

function answers(url: string, token: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // Its certificate is not known before it has started, and nothing is believed here.
    get(url, { rejectUnauthorized: false, headers: { authorization: `Bearer ${token}` } }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode === 200))
    }).on('error', reject)
  })
}
