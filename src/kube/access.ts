import { readFileSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { KubeAccess } from './client.ts'

/** There is no way to the cluster; the message is a sentence that says what to do. */
export class AccessError extends Error {}

export interface AccessChoice {
  /** A kubeconfig file. */
  readonly kubeconfig?: string
  /** One of its contexts, instead of its current one. */
  readonly context?: string
}

/**
 * The kubeconfig that was named, or else the pod's own service account.
 *
 * @throws AccessError
 */
export async function clusterAccess({ kubeconfig, context }: AccessChoice = {}): Promise<KubeAccess> {
  return kubeconfig === undefined ? inClusterAccess() : kubeconfigAccess(kubeconfig, context)
}

// ---- Inside of a pod -------------------------------------------------------------------------------------------------

/** Where the kubelet puts what belongs to a pod's service account. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * The service account of the pod that this process runs in. Its token is read again whenever the kubelet has renewed it.
 *
 * @throws AccessError, if this is no pod or it has no token.
 */
export function inClusterAccess(
  env: Readonly<Record<string, string | undefined>> = process.env,
  folder = SERVICE_ACCOUNT,
): KubeAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env
  if (!host || !port) {
    throw new AccessError('This is not a pod of a cluster: name a kubeconfig with --kubeconfig FILE.')
  }
  const token = followFile(resolve(folder, 'token'), inPod)
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca: readAll(resolve(folder, 'ca.crt'), inPod),
    token: () => token().trim(),
    namespace: readAll(resolve(folder, 'namespace'), inPod).trim(),
  }
}

function inPod(file: string): string {
  return `The pod has no ${file}: its service account's token must be mounted (automountServiceAccountToken: true).`
}

// ---- By a kubeconfig -------------------------------------------------------------------------------------------------

interface Kubeconfig {
  readonly 'current-context'?: string
  readonly contexts?: readonly Named<'context', ContextEntry>[] | null
  readonly clusters?: readonly Named<'cluster', ClusterEntry>[] | null
  readonly users?: readonly Named<'user', UserEntry>[] | null
}

type Named<Key extends string, Entry> = { readonly name?: string } & { readonly [K in Key]?: Entry | null }

interface ContextEntry {
  readonly cluster?: string
  readonly user?: string
  readonly namespace?: string
}

interface ClusterEntry {
  readonly server?: string
  readonly 'certificate-authority'?: string
  readonly 'certificate-authority-data'?: string
  readonly 'insecure-skip-tls-verify'?: boolean
  readonly 'tls-server-name'?: string
  readonly 'proxy-url'?: string
}

interface UserEntry {
  readonly 'client-certificate'?: string
  readonly 'client-certificate-data'?: string
  readonly 'client-key'?: string
  readonly 'client-key-data'?: string
  readonly token?: string
  readonly tokenFile?: string
  readonly exec?: unknown
  readonly 'auth-provider'?: unknown
  readonly username?: string
}

/**
 * What a kubeconfig says about one of its contexts (client-go `clientcmd/api/v1`): certificates and tokens, inline or in files,
 * which stand relative to it.
 *
 * @throws AccessError
 */
export async function kubeconfigAccess(file: string, context?: string): Promise<KubeAccess> {
  const config = await readKubeconfig(file)
  const name = context ?? config['current-context']
  if (!name) throw new AccessError(`${file} has no current-context: choose one with --context NAME.`)
  const chosen = entryOf(file, 'context', config.contexts, name)
  const cluster = entryOf(file, 'cluster', config.clusters, chosen.cluster ?? '')
  // Who names no user asks as nobody.
  const user = chosen.user ? entryOf(file, 'user', config.users, chosen.user) : {}
  const at = (path: string) => resolve(dirname(file), path)
  return {
    server: serverOf(file, chosen.cluster, cluster),
    ca: material(file, 'certificate-authority', cluster, at),
    serverName: cluster['tls-server-name'] || undefined,
    insecure: cluster['insecure-skip-tls-verify'] === true,
    ...loginOf(file, chosen.user ?? '', user, at),
    namespace: chosen.namespace || undefined,
  }
}

async function readKubeconfig(file: string): Promise<Kubeconfig> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw new AccessError(`The kubeconfig ${file} cannot be read: ${(error as Error).message}.`)
  }
  // In a pod there is none, and nothing to pay for the library.
  const { load } = await import('js-yaml')
  let config: unknown
  try {
    config = text.trim() === '' ? undefined : load(text)
  } catch {
    // The parser's own words show a part of the file, and it has keys in it.
    throw new AccessError(`The kubeconfig ${file} is not YAML.`)
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new AccessError(`The kubeconfig ${file} is empty: it needs clusters, users and contexts.`)
  return config as Kubeconfig
}

function entryOf<Key extends string, Entry>(
  file: string,
  key: Key,
  entries: readonly Named<Key, Entry>[] | null | undefined,
  name: string,
): Entry {
  const list = Array.isArray(entries) ? entries : []
  const found = list.find((entry) => entry?.name === name)?.[key]
  if (found) return found
  const names = list.flatMap((entry) => entry?.name ?? [])
  const known = names.length === 0 ? 'it has none' : `it has ${names.slice(0, 10).join(', ')}`
  throw new AccessError(`The kubeconfig ${file} has no ${key} "${name}": ${known}.`)
}

function serverOf(file: string, name: string | undefined, cluster: ClusterEntry): string {
  const { server, 'proxy-url': proxy } = cluster
  if (proxy)
    throw new AccessError(`The cluster "${name}" of ${file} has a proxy-url, which is not supported here.`)
  if (!server || !/^https?:$/.test(URL.parse(server)?.protocol ?? ''))
    throw new AccessError(`The cluster "${name}" of ${file} has no server: write server: https://HOST:PORT.`)
  return server
}

function loginOf(
  file: string,
  name: string,
  user: UserEntry,
  at: (path: string) => string,
): Pick<KubeAccess, 'cert' | 'key' | 'token'> {
  for (const key of ['exec', 'auth-provider', 'username'] as const) {
    if (user[key]) {
      throw new AccessError(
        `The user "${name}" of ${file} logs in by ${key}, which is not supported here: use a client certificate or a token, such as that of kubectl create token.`,
      )
    }
  }
  const cert = material(file, 'client-certificate', user, at)
  const key = material(file, 'client-key', user, at)
  if ((cert === undefined) !== (key === undefined))
    throw new AccessError(`The user "${name}" of ${file} needs both, client-certificate and client-key.`)
  return { cert, key, token: tokenOf(file, user, at) }
}

function tokenOf(
  file: string,
  { token, tokenFile }: UserEntry,
  at: (path: string) => string,
): KubeAccess['token'] {
  if (tokenFile) {
    const follow = followFile(
      at(tokenFile),
      (path) => `The kubeconfig ${file} names ${path}, which cannot be read.`,
    )
    return () => follow().trim()
  }
  return token ? () => token : undefined
}

/** What stands inline wins over what is in a file, as for kubectl. */
function material<Key extends string>(
  file: string,
  key: Key,
  entry: { readonly [K in Key | `${Key}-data`]?: string },
  at: (path: string) => string,
): string | Buffer | undefined {
  const inline = entry[`${key}-data`]
  if (inline) return Buffer.from(inline, 'base64')
  const path = entry[key]
  return path
    ? readAll(at(path), (missing) => `The kubeconfig ${file} names ${missing}, which cannot be read.`)
    : undefined
}

// ---- Files -----------------------------------------------------------------------------------------------------------

function readAll(file: string, problem: (file: string) => string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new AccessError(problem(file))
  }
}

/** The text of a file as it is now. What was read before is good enough while it is being replaced. */
function followFile(file: string, problem: (file: string) => string): () => string {
  let content = readAll(file, problem)
  let stamp = stampOf(file)
  return () => {
    const now = stampOf(file)
    if (now === undefined || now === stamp) return content
    try {
      content = readFileSync(file, 'utf8')
      stamp = now
    } catch {
      // It went away between the two looks: the next one will tell.
    }
    return content
  }
}

/** The kubelet renews by pointing a link elsewhere: then it is another file, maybe of the same time and size. */
function stampOf(file: string): string | undefined {
  try {
    const { ino, mtimeMs, size } = statSync(file)
    return `${ino} ${mtimeMs} ${size}`
  } catch {
    return undefined
  }
}
