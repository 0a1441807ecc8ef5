/**
 * What a pod's author and the policies' authors may rely on, checked on the pod after injection with the model of the
 * kubelet. Written from the documented rules; shares no code with src/.
 */
import type { Outcome } from '../../src/inject/index.ts'
import {
  type ContainerObject,
  type ContainerView,
  canRead,
  everyContainer,
  type NamespaceContent,
  observe,
  type PodObject,
  processUser,
} from './kubelet.ts'
import { isOffered, type Spec, type World } from './worlds.ts'

/** A credential that is asked for, by the pod or by a policy. */
interface Claim {
  name: string
  spec: Spec
  /** The secret in the pod's namespace. */
  secret: string
  /** Of a file credential: where the pod wants it instead of at its own folder. */
  path?: string
}

/** Sentences for promises that are not kept; for pods that were not denied. */
export function promisesBroken(world: World, after: PodObject, outcome: Outcome): string[] {
  const before = observe(world.pod, world.content)
  const now = observe(after, world.content)
  const request = requestOf(world)
  const broken: string[] = []
  for (const container of everyContainer(world.pod)) {
    const selected = request.selects(container.name)
    const check: Check = {
      world,
      container,
      content: world.content,
      before: before.containers[container.name] as ContainerView,
      now: now.containers[container.name] as ContainerView,
      enforced: request.enforced,
      named: selected ? request.named : [],
      defaults: selected ? request.defaults : [],
      credentialWins: request.credentialWins,
      leftOut: (name) =>
        outcome.warnings.some(
          ({ reason, message }) => reason === 'LeftOut' && message.includes(name.replace('cluster/', '')),
        ),
      fail: (sentence) => broken.push(`${container.name}: ${sentence}`),
    }
    checkEnforcedVariables(check)
    checkNamedVariables(check)
    checkOwnSources(check)
    checkDefaultVariables(check)
    checkFiles(check)
  }
  for (const { name, spec, secret } of [...request.enforced, ...request.named, ...request.defaults])
    if (
      spec.type === 'dockerRegistry' &&
      now.imagePullSecrets.filter((other) => other === secret).length === 0
    )
      broken.push(`the pull secret of ${name} is missing`)
  return broken
}

/** The same for what policies with `Enforce` give, of a pod that anything may have happened to. */
export function enforcedPromisesBroken(world: World, after: PodObject): string[] {
  const { enforced } = requestOf({ ...world, pod: after })
  const now = observe(after, world.content)
  const broken: string[] = []
  for (const container of everyContainer(after)) {
    const view = now.containers[container.name] as ContainerView
    const fail = (sentence: string) => broken.push(`${container.name}: ${sentence}`)
    // One that does not start has escaped nothing.
    if (view.waits.length > 0) continue
    checkEnforcedVariables({ enforced, content: world.content, now: view, fail })
    checkWantedFiles(
      enforced.flatMap((claim) => filesOf(claim, world.content)),
      view,
      fail,
    )
  }
  for (const { name, spec, secret } of enforced)
    if (spec.type === 'dockerRegistry' && !now.imagePullSecrets.includes(secret))
      broken.push(`the pull secret of ${name} is missing`)
  return broken
}

interface Check {
  world: World
  container: ContainerObject
  content: NamespaceContent
  before: ContainerView
  now: ContainerView
  enforced: Claim[]
  named: Claim[]
  defaults: Claim[]
  credentialWins: boolean
  leftOut(credential: string): boolean
  fail(sentence: string): void
}

// ---- What is asked for -----------------------------------------------------------------------------------------------

export function requestOf({ pod, credentials, clusterCredentials, policies }: World) {
  const annotation = (key: string) => pod.metadata?.annotations?.[`credentials.run.ai/${key}`]
  const names = (key: string) =>
    (annotation(key) ?? '')
      .split(/[,\r\n]/)
      .map((name) => name.trim())
      .filter((name) => name !== '')
  const [only, skipped] = [names('containers'), names('skip-containers')]
  const resolve = (text: string): Claim[] => {
    const [name = '', path] = text.split('=').map((part) => part.trim())
    const own = name.startsWith('cluster/') ? undefined : credentials[name]
    const shared = clusterCredentials[name.replace('cluster/', '')]
    if (own) return [{ name, spec: own, secret: own.secretRef.name, path }]
    return shared && isOffered(shared) ? [{ name, spec: shared, secret: 'credential-k1', path }] : []
  }
  const chosen = policies
    .filter(({ selects }) => selects || pod.metadata?.labels?.workload === 'training')
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const of = (enforcement: string) =>
    chosen
      .filter((policy) => policy.enforcement === enforcement)
      .flatMap((policy) => policy.credentials.flatMap(resolve))
  return {
    mode: annotation('on-conflict') ?? 'WorkloadWins',
    credentialWins: annotation('on-conflict') === 'CredentialWins',
    selects: (container: string) =>
      only.length > 0 ? only.includes(container) : !skipped.includes(container),
    named: names('inject').flatMap(resolve),
    enforced: of('Enforce'),
    defaults: annotation('opt-out') === 'true' ? [] : of('Default'),
  }
}

// ---- Variables -------------------------------------------------------------------------------------------------------

interface Given {
  /** Undefined when the secret has no such key: then the pod waits. */
  value: string | undefined
  /** By a list of variables, and so not by envFrom. */
  listed: boolean
}

/** The values that a credential gives to variables, as far as its secret exists. */
function given({ spec, secret, path }: Claim, content: NamespaceContent): Record<string, Given> {
  const values = content.secrets[secret] ?? {}
  if (spec.type === 'environment' && !spec.variables)
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value, listed: false }]))
  return Object.fromEntries(
    (spec.variables ?? []).map(({ name, key, value }) => [
      name,
      { value: value === undefined ? values[key ?? name] : moved(value, spec.mountPath, path), listed: true },
    ]),
  )
}

function moved(value: string, folder: string | undefined, path: string | undefined): string {
  if (folder === undefined || path === undefined) return value
  const old = tidy(folder)
  return value === old || value.startsWith(`${old}/`) ? tidy(path) + value.slice(old.length) : value
}

function tidy(path: string): string {
  return path.replace(/\/+/g, '/').replace(/(.)\/$/, '$1')
}

/** Whether a container that asks for these would wait, so that its values say nothing. */
function waitsFor(values: Given[] = []): boolean {
  return values.some(({ value }) => value === undefined)
}

function allGiven(claims: Claim[], content: NamespaceContent): Map<string, Given[]> {
  const all = new Map<string, Given[]>()
  for (const claim of claims)
    for (const [name, one] of Object.entries(given(claim, content)))
      all.set(name, [...(all.get(name) ?? []), one])
  return all
}

function checkEnforcedVariables({
  enforced,
  content,
  now,
  fail,
}: Pick<Check, 'enforced' | 'content' | 'now' | 'fail'>): void {
  for (const [name, values] of allGiven(enforced, content))
    if (!waitsFor(values) && !values.some(({ value }) => value === now.env[name]))
      fail(`${name} is ${now.env[name]}, against an enforced policy`)
}

function checkNamedVariables(check: Check): void {
  const { named, enforced, defaults, content, container, now, credentialWins, fail } = check
  const mandatory = allGiven(enforced, content)
  const usual = allGiven(defaults, content)
  for (const [name, ofNamed] of allGiven(named, content)) {
    // A Default policy that lists the very same makes it a listed variable.
    const values = [...ofNamed, ...(usual.get(name) ?? []).filter((one) => one.value === ofNamed[0]?.value)]
    const isOwn = container.env?.some((entry) => entry.name === name)
    if (mandatory.has(name) || waitsFor(values) || (isOwn && !credentialWins)) continue
    const wanted = isOwn ? 'credential' : whoWins(check, name, values)
    if (wanted === 'credential' && !values.some(({ value }) => value === now.env[name]))
      fail(`${name} is ${now.env[name]}, and no named credential gives that`)
    const own = ofEnvFrom(check)[name]
    if (wanted === 'own' && own !== now.env[name])
      fail(`${name} is ${now.env[name]} instead of ${own} of the container's own envFrom`)
  }
}

/** Who gives a variable that the container has in no entry of `env`. */
function whoWins(check: Check, name: string, values: Given[]): 'credential' | 'own' | 'either' {
  const { container, content, credentialWins, named } = check
  const sources = (container.envFrom ?? []).filter((source) => givesName(source, name, content))
  if (sources.length === 0) return 'credential'
  const keepsItsPlace = named.some(({ secret, spec }) =>
    container.envFrom?.some(
      (source) => spec.type === 'environment' && !source.prefix && source.secretRef?.name === secret,
    ),
  )
  const listed = values.some((one) => one.listed)
  if (credentialWins) return keepsItsPlace && !listed ? 'either' : 'credential'
  if (!listed) return 'own'
  const known = sources.filter((source) => isKnown(check, source.secretRef?.name))
  return known.length === 0
    ? 'credential'
    : known.length === sources.length && !keepsItsPlace
      ? 'own'
      : 'either'
}

type EnvFrom = NonNullable<ContainerObject['envFrom']>[number]

function givesName(source: EnvFrom, name: string, { secrets, configMaps }: NamespaceContent): boolean {
  const values = source.secretRef
    ? secrets[source.secretRef.name ?? '']
    : configMaps[source.configMapRef?.name ?? '']
  return Object.keys(values ?? {}).some((key) => `${source.prefix ?? ''}${key}` === name)
}

/** The keys of a secret are known when a credential that can be used here names it. */
function isKnown({ world }: Check, secret: string | undefined): boolean {
  const own = Object.values(world.credentials).some(({ secretRef }) => secretRef.name === secret)
  const { k1 } = world.clusterCredentials
  return own || (secret === 'credential-k1' && k1 !== undefined && isOffered(k1))
}

/** What the container's own envFrom alone would give. */
function ofEnvFrom({ container, content }: Check): Record<string, string> {
  const alone = { name: container.name, envFrom: container.envFrom }
  return observe({ spec: { containers: [alone] } }, content).containers[container.name]?.env ?? {}
}

/** What only the container's own envFrom gives stays as it is, whatever a Default policy gives. */
function checkOwnSources(check: Check): void {
  const { named, enforced, defaults, content, container, now, fail } = check
  const others = allGiven([...named, ...enforced], content)
  const usual = allGiven(defaults, content)
  for (const [name, value] of Object.entries(ofEnvFrom(check))) {
    if (others.has(name) || container.env?.some((entry) => entry.name === name)) continue
    // A listed variable wins over sources whose keys nobody can know.
    if (
      usual.get(name)?.some(({ listed }) => listed) &&
      whoWins(check, name, usual.get(name) ?? []) !== 'own'
    )
      continue
    if (now.env[name] !== value) fail(`${name} is ${now.env[name]} instead of the container's own ${value}`)
  }
}

/** What only Default policies give comes from the first of them. */
function checkDefaultVariables(check: Check): void {
  const { named, enforced, defaults, content, container, now, fail } = check
  const others = allGiven([...named, ...enforced], content)
  // A file credential may be left out of a container as a whole: then the next one may give the variable.
  const files = allGiven(
    defaults.filter(({ spec }) => spec.type === 'file'),
    content,
  )
  for (const [name, values] of allGiven(defaults, content)) {
    const isOwn = container.env?.some((entry) => entry.name === name) || name in ofEnvFrom(check)
    if (isOwn || others.has(name) || files.has(name) || waitsFor(values)) continue
    if (values[0]?.value !== now.env[name])
      fail(`${name} is ${now.env[name]} instead of ${values[0]?.value} of the first policy`)
  }
}

// ---- Files -----------------------------------------------------------------------------------------------------------

interface GivenFile {
  path: string
  content: string
  explicitMode: boolean
}

function filesOf({ spec, secret, path }: Claim, content: NamespaceContent): GivenFile[] {
  const values = content.secrets[secret]
  if (spec.type !== 'file' || values === undefined) return []
  const all: NonNullable<Spec['files']> = spec.files ?? Object.keys(values).map((key) => ({ key }))
  const folder = tidy(path ?? spec.mountPath ?? '')
  return all.flatMap((file) => {
    const text = values[file.key]
    const explicitMode = file.mode !== undefined || spec.mode !== undefined
    return text === undefined
      ? []
      : [{ path: `${folder}/${file.path ?? file.key}`, content: text, explicitMode }]
  })
}

function checkWantedFiles(wanted: GivenFile[], now: ContainerView, fail: Check['fail']): void {
  for (const { path, content } of wanted)
    if (now.files[path]?.content !== content) fail(`${path} is ${now.files[path]?.content ?? 'missing'}`)
}

function checkFiles(check: Check): void {
  const { enforced, named, defaults, content, now, fail } = check
  const wanted = [...enforced, ...named].flatMap((claim) => filesOf(claim, content))
  checkWantedFiles(wanted, now, fail)
  const present = defaults.filter((claim) => {
    const missing = filesOf(claim, content).filter((file) => now.files[file.path]?.content !== file.content)
    const leftOut = check.leftOut(claim.name)
    if (missing.length > 0 && !leftOut) fail(`${claim.name} is left out without a word`)
    return !leftOut
  })
  for (const file of [...wanted, ...present.flatMap((claim) => filesOf(claim, content))])
    checkMode(check, file)
}

function checkMode(
  { world: { pod }, container, content, now, fail, ...claims }: Check,
  file: GivenFile,
): void {
  const all = [...claims.enforced, ...claims.named, ...claims.defaults].flatMap((claim) =>
    filesOf(claim, content),
  )
  const seen = now.files[file.path]
  if (seen?.mode === undefined || all.some(({ path, explicitMode }) => path === file.path && explicitMode))
    return
  const user = processUser(pod, container)
  if (!canRead(user, seen)) fail(`${file.path} cannot be read`)
  const group = pod.spec.securityContext?.fsGroup ?? undefined
  const strictest =
    group === undefined ? (user === 'non-root' ? '0444 root:root' : '0400 root:root') : `0440 root:${group}`
  if (seen.mode !== strictest) fail(`${file.path} has ${seen.mode} instead of ${strictest}`)
}
