/** The login to registries as `docker login` keeps it and the kubelet reads it. */

export interface Login {
  /** The registry as it stands there: `https://index.docker.io/v1/`, `registry.company.com`. */
  readonly registry: string
  readonly user: string
  readonly password: string
}

/** Every entry that has a user and a password; none if the value is no login at all. */
export function loginsOf(value: Buffer): Login[] {
  return entriesOf(value).flatMap(([registry, entry]) => {
    const login = loginOf(entry)
    return login ? [{ registry, ...login }] : []
  })
}

/** At least one entry, and every one of them is complete. `key` tells the old form, without `auths`, from the present one. */
export function isLogin(value: Buffer, key: string): boolean {
  const entries = entriesOf(value)
  const hasAuths = 'auths' in parsed(value)
  return (
    entries.length > 0 && hasAuths === (key !== '.dockercfg') && entries.every(([, entry]) => loginOf(entry))
  )
}

/** Whether the kubelet would use one of the entries for images of this registry. */
export function namesRegistry(value: Buffer, registry: string): boolean {
  const wanted = hostOf(registry)
  return entriesOf(value).some(([name]) => globMatches(hostOf(name), wanted))
}

type Fields = Readonly<Record<string, unknown>>

function entriesOf(value: Buffer): [string, unknown][] {
  const content = parsed(value)
  return Object.entries('auths' in content ? fieldsOf(content.auths) : content)
}

function parsed(value: Buffer): Fields {
  try {
    return fieldsOf(JSON.parse(value.toString('utf8')))
  } catch {
    return {}
  }
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}
}

/** As the kubelet does it: `auth` is base64 of `user:password` and goes before the two by themselves. */
function loginOf(entry: unknown): Pick<Login, 'user' | 'password'> | undefined {
  const { auth, username, password } = fieldsOf(entry)
  if (typeof auth === 'string' && auth !== '') {
    const [, user, secret] = /^([^:]+):([\s\S]+)$/.exec(decoded(auth)) ?? []
    return user && secret ? { user, password: secret } : undefined
  }
  const isComplete = typeof username === 'string' && typeof password === 'string' && username && password
  return isComplete ? { user: username, password } : undefined
}

function decoded(auth: string): string {
  return /^[A-Za-z0-9+/_-]+=*$/.test(auth.trim()) ? Buffer.from(auth, 'base64').toString('utf8') : ''
}

/** The names under which Docker Hub is known, from its own client and from the kubelet. */
const DOCKER_HUB = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
])

function hostOf(registry: string): string {
  const host = registry
    .replace(/^https?:\/\//, '')
    // All of the rest, line breaks too: a pattern that can fail behind a slash begins anew at every one of them.
    .replace(/\/[\s\S]*$/, '')
    .toLowerCase()
  return DOCKER_HUB.has(host) ? 'docker.io' : host
}

/** `*.company.com` stands for one part each, as in the kubelet. */
function globMatches(pattern: string, host: string): boolean {
  const [parts, wanted] = [pattern.split('.'), host.split('.')]
  return (
    parts.length === wanted.length && parts.every((part, index) => part === '*' || part === wanted[index])
  )
}
