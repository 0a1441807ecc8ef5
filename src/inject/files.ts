import { below, folderKey, inFolder, isAtOrUnder, isWindowsPath, normalizeFolder } from '../api/paths.ts'
import type { Pod, VolumeMount } from '../api/pod.ts'
import type { Claim } from './claims.ts'
import type { Findings } from './findings.ts'
import { chosenMode, isReadable, parseMode } from './modes.ts'
import { type Identity, identityOf, type Target } from './targets.ts'
import { isInjected, type Projection } from './volumes.ts'

/** One file of a credential, below its folder. */
interface ClaimedFile {
  key: string
  path: string
  mode?: string
}

/** A file credential that is to be mounted. */
export interface FileClaim {
  claim: Claim
  folder: string
  /** Undefined when every key becomes a file and the keys are not known. */
  files: ClaimedFile[] | undefined
}

/** One folder of one container. */
export interface Mount {
  folder: string
  claims: Claim[]
  projection: Projection
  /** Place in `volumeMounts` of the mount that an earlier round made here. */
  existing: number | undefined
}

export interface FilesPlan {
  mounts: Mount[]
  /** Claims of Default policies that something of the container's own keeps out of it. */
  leftOut: Claim[]
}

/** Decides between the claims themselves; returns those that remain, and the claims that others keep out. */
export function settleFiles(
  claims: readonly Claim[],
  findings: Findings,
): { files: FileClaim[]; leftOut: Claim[] } {
  const settled: { files: FileClaim[]; leftOut: Claim[] } = { files: [], leftOut: [] }
  for (const claim of claims) {
    if (claim.folder === undefined) continue
    const candidate: FileClaim = { claim, folder: claim.folder, files: claimedFiles(claim) }
    const clashes = settled.files
      .map((other) => ({ other: other.claim, path: clash(other, candidate) }))
      .filter(({ path }) => path !== undefined)
    if (clashes.length > 0 && claim.strength === 'Default') {
      for (const { other, path } of clashes)
        findings.warn('LeftOut', `${claim.label} is left out: ${other.label} has ${path}`)
      settled.leftOut.push(claim)
      continue
    }
    for (const { other, path } of clashes) denyClash(other, claim, path as string, findings)
    settled.files.push(candidate)
  }
  return settled
}

function denyClash(first: Claim, second: Claim, path: string, findings: Findings): void {
  if (first.strength === 'Enforce') {
    findings.deny(
      'PolicyConflict',
      second.field,
      `${first.label} enforces ${path}, and ${second.label} puts something else there`,
    )
  } else {
    findings.deny(
      'FileConflict',
      second.field,
      `${first.label} and ${second.label} put different content at ${path}; mount one of them elsewhere with NAME=/path`,
    )
  }
}

/** Decides between the claims and what one container has mounted of its own. */
export function planFiles(
  target: Target,
  pod: Pod,
  files: readonly FileClaim[],
  findings: Findings,
): FilesPlan | undefined {
  if (files.length === 0) return undefined
  const identity = identityOf(target.container, pod)
  const own = ownMounts(target, pod, files)
  const leftOut = files.filter((file) => meetMounts(file, own, target, findings)).map(({ claim }) => claim)
  const staying = files.filter(({ claim }) => !leftOut.includes(claim))
  const mounts = [...Map.groupBy(staying, ({ folder }) => folderKey(folder))].map(([key, group]) => {
    const { projection, lost } = projectionOf(group, identity)
    const folder = group[0]?.folder as string
    for (const { credential } of lost)
      findings.warn(
        'ModeNotKept',
        `list files in ${credential.name}: others in ${folder} decide about its mode`,
      )
    return { folder, claims: group.map(({ claim }) => claim), projection, existing: own.injected.get(key) }
  })
  for (const file of staying) warnAboutAccess(file, identity, target, findings)
  return { mounts, leftOut }
}

interface OwnMounts {
  mounts: { path: string; index: number; mount: VolumeMount }[]
  /** Place in `volumeMounts` by folder, of mounts that an earlier round made where there is to be one again. */
  injected: Map<string, number>
}

function ownMounts({ container }: Target, pod: Pod, files: readonly FileClaim[]): OwnMounts {
  const own: OwnMounts = { mounts: [], injected: new Map() }
  if (!container.volumeMounts?.length) return own
  const volumes = new Map(pod.spec?.volumes?.map((volume) => [volume.name, volume]))
  const folders = new Set(files.map(({ folder }) => folderKey(folder)))
  container.volumeMounts.forEach((mount, index) => {
    const path = folderKey(normalizeFolder(mount.mountPath))
    if (folders.has(path) && isInjected(mount, volumes)) own.injected.set(path, index)
    else own.mounts.push({ path, index, mount })
  })
  return own
}

/** Whether a mount of the container's own keeps the credential out. */
function meetMounts(file: FileClaim, own: OwnMounts, target: Target, findings: Findings): boolean {
  const { claim } = file
  let isKeptOut = false
  for (const { path, index, mount } of own.mounts) {
    const hidden = hiddenBy(path, file)
    if (hidden === undefined) continue
    if (claim.strength === 'Default') {
      findings.warn(
        'LeftOut',
        `${target.container.name}: ${claim.label} is left out: volume ${mount.name} is at ${mount.mountPath}`,
      )
      isKeptOut = true
      continue
    }
    findings.deny(
      claim.strength === 'Enforce' ? 'PolicyConflict' : 'MountPathConflict',
      `${target.field}.volumeMounts[${index}]`,
      `container ${target.container.name} mounts volume ${mount.name} at ${mount.mountPath}, where ${claim.label} ${claim.strength === 'Enforce' ? 'enforces' : 'puts'} ${hidden}`,
    )
  }
  return isKeptOut
}

/** What a mount at `path` would take from the credential: its whole folder, or one of its files. */
function hiddenBy(path: string, { folder, files }: FileClaim): string | undefined {
  const home = folderKey(folder)
  if (path === home) return folder
  const inside = below(path, home)
  if (inside === undefined) return undefined
  if (AT_THE_LINKS.test(inside)) return folder
  // What is mounted below a file keeps the container from starting: a file is no folder.
  const file = files?.find(
    (candidate) =>
      isAtOrUnder(fileKey(candidate, folder), inside) || isAtOrUnder(inside, fileKey(candidate, folder)),
  )
  return file && inFolder(folder, file.path)
}

/** Files of a volume are links through `..data`, which the kubelet exchanges: a mount there takes them all, by any name. */
const AT_THE_LINKS = /^\.\.[^/]/

/** A path at which two file credentials cannot both have their way. */
function clash(a: FileClaim, b: FileClaim): string | undefined {
  if (folderKey(a.folder) !== folderKey(b.folder))
    return hiddenBy(folderKey(b.folder), a) ?? hiddenBy(folderKey(a.folder), b)
  const sameSecret = a.claim.credential.secretName === b.claim.credential.secretName
  const others = indexOf(b)
  for (const one of a.files ?? []) {
    const path = fileKey(one, a.folder)
    const equal = others.files.get(path)
    const isSame = equal !== undefined && sameSecret && equal.key === one.key
    const meets =
      (equal && !isSame) || others.folders.has(path) || foldersOf(path).some((way) => others.files.has(way))
    if (meets) return inFolder(a.folder, one.path)
  }
  return undefined
}

interface FileIndex {
  /** By path. */
  readonly files: ReadonlyMap<string, ClaimedFile>
  /** Every folder on the way to a file. */
  readonly folders: ReadonlySet<string>
}

/** Many credentials with many files may share a folder: each pair is compared by look-ups. */
const indexes = new WeakMap<FileClaim, FileIndex>()

function indexOf(claim: FileClaim): FileIndex {
  const known = indexes.get(claim)
  if (known) return known
  const entries = (claim.files ?? []).map((file) => [fileKey(file, claim.folder), file] as const)
  const made = { files: new Map(entries), folders: new Set(entries.flatMap(([path]) => foldersOf(path))) }
  indexes.set(claim, made)
  return made
}

/** `a/b/c` → `a`, `a/b` */
function foldersOf(path: string): string[] {
  if (!path.includes('/')) return NO_FOLDERS
  const segments = path.split('/')
  return segments.slice(1).map((_, index) => segments.slice(0, index + 1).join('/'))
}

const NO_FOLDERS: string[] = []

/** Equal for files that are one: Windows does not tell upper from lower case. */
function fileKey({ path }: ClaimedFile, folder: string): string {
  return isWindowsPath(folder) ? path.toLowerCase() : path
}

function claimedFiles({ credential }: Claim): ClaimedFile[] | undefined {
  const { spec, keys } = credential
  if (spec.files) return spec.files.map(({ key, path, mode }) => ({ key, path: path ?? key, mode }))
  return keys?.map((key) => ({ key, path: key }))
}

/*
 * One volume holds all credentials of a folder. Its `defaultMode` is that of the first credential that brings every key
 * of its secret, so that keys added to the secret later appear too; another such credential that needs another mode is
 * listed file by file instead, which a projected volume can only do for keys that are known now. Whole secrets come first:
 * of two sources with one path the later counts, and a listed file may have a mode of its own.
 */
function projectionOf(
  group: readonly FileClaim[],
  identity: Identity,
): { projection: Projection; lost: Claim[] } {
  const modeOf = (file: FileClaim) => modeOfCredential(file, identity)
  const whole = group.filter(({ claim }) => !claim.credential.spec.files)
  const first = whole.find(({ files }) => files === undefined) ?? whole[0]
  const defaultMode = first ? modeOf(first) : fileMode(group[0] as FileClaim, group[0]?.files?.[0], identity)
  const stayWhole = whole.filter((file) => file.files === undefined || modeOf(file) === defaultMode)
  const isListed = (file: FileClaim) => !stayWhole.includes(file)
  const wholeSecrets = new Set(stayWhole.map(({ claim }) => claim.credential.secretName))
  const paths = new Map(
    stayWhole.flatMap(({ files }) =>
      (files ?? []).map(({ path }) => [path, { mode: defaultMode, listed: false }]),
    ),
  )
  const lost = stayWhole.filter((file) => hasMode(file) && modeOf(file) !== defaultMode)
  const listed = group.filter(isListed).flatMap((file) => {
    const items = (file.files ?? []).filter((item) =>
      takePath(file, item, identity, paths, () => lost.push(file)),
    )
    // An empty list would mean every key.
    return items.length === 0
      ? []
      : { name: file.claim.credential.secretName, items: items.map(keyToPath(file, defaultMode, identity)) }
  })
  const sources = [...[...wholeSecrets].map((name) => ({ name })), ...listed]
  return { projection: { sources, defaultMode }, lost: lost.map(({ claim }) => claim) }
}

/** Whether a file is to be listed. Kubernetes refuses a volume that lists one path twice; who comes later loses its mode. */
function takePath(
  file: FileClaim,
  item: ClaimedFile,
  identity: Identity,
  paths: Map<string, { mode: number | undefined; listed: boolean }>,
  lose: () => void,
): boolean {
  const mode = fileMode(file, item, identity)
  const taken = paths.get(item.path)
  const isExplicit = item.mode !== undefined || hasMode(file)
  if (taken && (taken.mode === mode || !isExplicit)) return false
  if (taken?.listed) {
    lose()
    return false
  }
  paths.set(item.path, { mode, listed: true })
  return true
}

const keyToPath =
  (file: FileClaim, defaultMode: number | undefined, identity: Identity) => (item: ClaimedFile) => ({
    key: item.key,
    path: item.path,
    ...modeUnless(defaultMode, fileMode(file, item, identity)),
  })

function hasMode({ claim }: FileClaim): boolean {
  return claim.credential.spec.mode !== undefined
}

function modeUnless(defaultMode: number | undefined, mode: number | undefined): { mode?: number } {
  return mode === undefined || mode === defaultMode ? {} : { mode }
}

function fileMode(file: FileClaim, item: ClaimedFile | undefined, identity: Identity): number | undefined {
  return item?.mode === undefined || identity.windows
    ? modeOfCredential(file, identity)
    : parseMode(item.mode)
}

function modeOfCredential({ claim }: FileClaim, identity: Identity): number | undefined {
  const { mode } = claim.credential.spec
  return mode === undefined || identity.windows ? chosenMode(identity) : parseMode(mode)
}

function warnAboutAccess(file: FileClaim, identity: Identity, target: Target, findings: Findings): void {
  const { folder, claim } = file
  if (identity.windows) return
  const { name } = target.container
  const credential = claim.credential.name
  if (identity.nonRoot && isAtOrUnder(folder, '/root')) {
    findings.warn('FileNotReadable', `write ${credential}=/path: ${name} is not root and may not enter /root`)
  }
  if (identity.nonRoot && modesOf(file, identity).some((mode) => !isReadable(mode, identity))) {
    findings.warn(
      'FileNotReadable',
      `set fsGroup or leave mode out: ${name} is not root and cannot read ${credential}`,
    )
  }
  if (!identity.nonRoot && identity.fsGroup && holdsSshKey(file)) {
    findings.warn(
      'FileTooOpen',
      `set runAsUser or drop fsGroup: ssh as root refuses the key, ${folder} in ${name}`,
    )
  }
}

function modesOf(file: FileClaim, identity: Identity): number[] {
  const items = file.claim.credential.spec.files ? (file.files ?? []) : [undefined]
  return items.map((item) => fileMode(file, item, identity)).filter((mode) => mode !== undefined)
}

const SSH_KEY = /(^|\/)(id_(rsa|dsa|ecdsa|ed25519)(_sk)?|ssh-privatekey)$/

function holdsSshKey({ folder, files }: FileClaim): boolean {
  return folder.endsWith('/.ssh') || (files?.some(({ path }) => SSH_KEY.test(path)) ?? false)
}
