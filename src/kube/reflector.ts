/*
 * A copy of a collection of the API server that keeps up with it: list, then watch, and whatever happens in between.
 *
 *     list, page by page ──► watch from there ──► ends after minutes, as agreed ──► watch on from the last event
 *          ▲                       │ breaks, or answers 429, 5xx              ──► the same, after a jittered wait
 *          │                       │ 410: what happened since is not kept any more
 *          └───────────────────────┴ nothing came for too long, or nonsense   ──► list again; the difference is applied
 *
 * It never ends by itself. How long ago there was proof of contact is a number that somebody can watch.
 */
import { backoff } from './backoff.ts'
import { type KubeClient, KubeError, type KubeObject, KubeProtocolError } from './client.ts'
import { type Clock, SYSTEM_CLOCK } from './clock.ts'
import { isLater } from './resource-version.ts'

export interface ReflectorSettings<Source extends KubeObject, Kept> {
  readonly client: Pick<KubeClient, 'get' | 'stream'>
  /** Of the collection, such as `/apis/run.ai/v1/credentials`. */
  readonly path: string
  /** More of the query, such as `labelSelector=app%3Dinjector`. */
  readonly query?: string
  /** Asks for the objects' metadata only (meta/v1 PartialObjectMetadata). */
  readonly metadataOnly?: boolean
  /** What is to be remembered of an object; all else, such as its managed fields, is forgotten. */
  readonly keep: (object: Source) => Kept
  /** An object is new, or is not what it was (`before`). Its errors are caught and counted. */
  readonly onPut?: (kept: Kept, key: string, before: Kept | undefined) => void
  /** An object is gone. Its errors are caught and counted. */
  readonly onRemove?: (kept: Kept, key: string) => void
  /** Something went wrong, and will be tried again by itself. */
  readonly onTrouble?: (trouble: Trouble) => void
  /** All is well again after trouble. */
  readonly onRecovery?: () => void
  readonly clock?: Clock
  readonly limits?: Partial<Limits>
}

export interface Trouble {
  /** `list` and `watch` concern the API server; `handler` is an error of `keep`, `onPut` or `onRemove`. */
  readonly during: 'list' | 'watch' | 'handler'
  readonly error: Error
  /** How often in a row, faults of the same kind only; 0 for handlers. */
  readonly failures: number
  /** Milliseconds until the next try; 0 for handlers. */
  readonly retryIn: number
}

interface Limits {
  /** Objects in one answer. */
  readonly page: number
  /** The API server ends a watch after a time from here to a quarter more: in seconds. */
  readonly watchSeconds: number
  /** A watch that brings nothing for so long, not even a bookmark, is taken for dead: in milliseconds. */
  readonly silence: number
  /** The longest wait between two tries, in milliseconds. */
  readonly backoff: number
}

const LIMITS: Limits = {
  // Every object of an answer is in memory at once, whole, and one credential may have hundreds of kilobytes.
  page: 100,
  watchSeconds: 240,
  // API servers send a bookmark every minute.
  silence: 150_000,
  backoff: 5_000,
}

export interface Reflector<Source extends KubeObject, Kept> {
  /** Resolves when everything has been listed once. Never rejects. */
  readonly synced: Promise<void>
  /** `NAMESPACE/NAME`, or `NAME` of what belongs to the cluster. */
  get(key: string): Kept | undefined
  values(): IterableIterator<Kept>
  /**
   * An object that was read past the watch comes into the copy if it is newer. Returns what is known after that: undefined when
   * the watch has seen the object's end already.
   */
  offer(object: Source): Kept | undefined
  /** Seconds since the API server last proved to be in contact. */
  staleSeconds(): number
  stats(): ReflectorStats
  /** Ends it; resolves when nothing more will happen. */
  stop(): Promise<void>
}

export interface ReflectorStats {
  readonly objects: number
  readonly isSynced: boolean
  /** Lists after the first one. */
  readonly relists: number
  /** Lists and watches that failed. */
  readonly failures: number
  readonly handlerErrors: number
}

interface Entry<Kept> {
  readonly version: string | undefined
  readonly kept: Kept
  /** It came by `offer`; the watch is still to bring it. */
  readonly isOffered: boolean
}

interface Page {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string } | null
  readonly items?: readonly KubeObject[] | null
}

interface Event {
  readonly type?: string
  readonly object?: KubeObject
}

export function startReflector<Source extends KubeObject, Kept>(
  settings: ReflectorSettings<Source, Kept>,
): Reflector<Source, Kept> {
  const { client, path, query, metadataOnly = false, clock = SYSTEM_CLOCK } = settings
  const limits = { ...LIMITS, ...settings.limits }
  const entries = new Map<string, Entry<Kept>>()
  const end = new AbortController()
  const first = Promise.withResolvers<void>()

  /** Everything up to here is in the copy; undefined asks for a list. */
  let position: string | undefined
  let lastContact = clock.now()
  let isSynced = false
  let relists = 0
  let failures = 0
  let row = NO_FAILURES
  let handlerErrors = 0

  const running = run()
  return {
    synced: first.promise,
    get: (key) => entries.get(key)?.kept,
    *values() {
      for (const { kept } of entries.values()) yield kept
    },
    offer,
    staleSeconds: () => (clock.now() - lastContact) / 1000,
    stats: () => ({ objects: entries.size, isSynced, relists, failures, handlerErrors }),
    stop() {
      end.abort()
      return running
    },
  }

  async function run(): Promise<void> {
    while (!end.signal.aborted) {
      const wait = await attempt()
      if (wait > 0) await clock.sleep(wait, end.signal)
    }
  }

  /** One list, if there is to be one, and one watch. Returns how long to wait before the next. */
  async function attempt(): Promise<number> {
    let during: 'list' | 'watch' = 'list'
    try {
      if (position === undefined) await list()
      during = 'watch'
      await watch()
      return 0
    } catch (error) {
      if (end.signal.aborted) return 0
      return failed(during, error as Error)
    }
  }

  function failed(during: 'list' | 'watch', error: Error): number {
    failures++
    if (asksForList(error)) position = undefined
    const fault = faultOf(error)
    row = { ...row, [fault]: row[fault] + 1 }
    const retryAfter = error instanceof KubeError ? error.retryAfter : undefined
    const retryIn = backoff(row[fault], clock.random, { most: limits.backoff, retryAfter })
    settings.onTrouble?.({ during, error, failures: row[fault], retryIn })
    return retryIn
  }

  /** The API server did as it was asked to. */
  function worked(): void {
    if (row === NO_FAILURES) return
    row = NO_FAILURES
    settings.onRecovery?.()
  }

  // ---- List ----

  async function list(): Promise<void> {
    const seen = new Set<string>()
    let version: string | undefined
    let token: string | undefined
    do {
      const page: Page = await client.get(pathOfPage(token), {
        accept: acceptFor('List'),
        signal: end.signal,
      })
      lastContact = clock.now()
      for (const item of itemsOf(page)) {
        const key = keyOf(item)
        seen.add(key)
        put(key, item as Source)
      }
      version = page.metadata?.resourceVersion
      token = nextToken(page, token)
    } while (token !== undefined)
    if (!version) throw new KubeProtocolError(`the list of ${path} has no resourceVersion`)
    removeOthers(seen, version)
    position = version
    if (isSynced) relists++
    isSynced = true
    first.resolve()
  }

  function pathOfPage(token: string | undefined): string {
    const next = token === undefined ? '' : `&continue=${encodeURIComponent(token)}`
    return `${path}?limit=${limits.page}${next}${query ? `&${query}` : ''}`
  }

  /** What the watch would have told us about, had it gone on. */
  function removeOthers(seen: ReadonlySet<string>, version: string): void {
    for (const [key, entry] of entries) {
      // Read directly after the list was made: the watch will bring it.
      const isNewer = entry.isOffered && isLater(entry.version, version) === true
      if (!seen.has(key) && !isNewer) remove(key, version)
    }
  }

  // ---- Watch ----

  async function watch(): Promise<void> {
    const silence = new AbortController()
    const timer = setTimeout(() => silence.abort(), limits.silence)
    let proof: NodeJS.Timeout | undefined
    const opened = clock.now()
    let events = 0
    let isOpen = false
    const alive = () => {
      lastContact = clock.now()
      timer.refresh()
    }
    try {
      const stream = client.stream(pathOfWatch(), {
        accept: acceptFor(''),
        signal: AbortSignal.any([end.signal, silence.signal]),
        onOpen() {
          isOpen = true
          alive()
          proof = setTimeout(worked, SHORTEST_WATCH_MS)
        },
      })
      for await (const event of stream) {
        alive()
        apply((event ?? {}) as Event)
        events++
        worked()
      }
      alive()
    } catch (error) {
      if (silence.signal.aborted) throw new SilenceError(limits.silence)
      throw isOpen && error instanceof KubeError ? new WatchError(error) : error
    } finally {
      clearTimeout(timer)
      clearTimeout(proof)
    }
    // A server that accepts watches only to end them would otherwise be asked as fast as it answers.
    if (events === 0 && clock.now() - opened < SHORTEST_WATCH_MS) throw new Error('the watch ended at once')
    worked()
  }

  function pathOfWatch(): string {
    const seconds = Math.round(limits.watchSeconds * (1 + clock.random() / 4))
    const parameters = `watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}`
    return `${path}?${parameters}&resourceVersion=${encodeURIComponent(position as string)}${query ? `&${query}` : ''}`
  }

  function apply({ type, object }: Event): void {
    const version = object?.metadata?.resourceVersion
    if (object === undefined || version === undefined)
      throw new KubeProtocolError(`an event of ${path} has no object with a resourceVersion`)
    // The server's memory is older than ours: it was set back to a backup.
    if (isLater(position, version) === true)
      throw new KubeProtocolError(`the watch of ${path} went back from version ${position} to ${version}`)
    if (type === 'ADDED' || type === 'MODIFIED') put(keyOf(object), object as Source)
    else if (type === 'DELETED') remove(keyOf(object), version)
    position = version
  }

  // ---- The copy ----

  function put(key: string, object: Source): void {
    const { resourceVersion: version } = object.metadata
    const known = entries.get(key)
    if (known !== undefined) {
      if (known.isOffered && isLater(known.version, version) === true) return
      if (known.version === version && version !== undefined) {
        if (known.isOffered) entries.set(key, { ...known, isOffered: false })
        return
      }
    }
    set(key, object, false)
  }

  function offer(object: Source): Kept | undefined {
    const key = keyOf(object)
    const { resourceVersion: version } = object.metadata
    const known = entries.get(key)
    const isNews = isLater(version, known === undefined ? position : known.version) !== false
    if (isNews) set(key, object, true)
    return entries.get(key)?.kept
  }

  function set(key: string, object: Source, isOffered: boolean): void {
    guarded(() => {
      const before = entries.get(key)?.kept
      const kept = settings.keep(object)
      entries.set(key, { version: object.metadata.resourceVersion, kept, isOffered })
      settings.onPut?.(kept, key, before)
    })
  }

  function remove(key: string, version: string): void {
    const known = entries.get(key)
    if (known === undefined || (known.isOffered && isLater(known.version, version) === true)) return
    entries.delete(key)
    guarded(() => settings.onRemove?.(known.kept, key))
  }

  function guarded(handle: () => void): void {
    try {
      handle()
    } catch (error) {
      handlerErrors++
      settings.onTrouble?.({ during: 'handler', error: error as Error, failures: 0, retryIn: 0 })
    }
  }

  function acceptFor(list: 'List' | ''): string | undefined {
    if (!metadataOnly) return undefined
    return `application/json;as=PartialObjectMetadata${list};g=meta.k8s.io;v=v1`
  }
}

/** A watch that lived for so long was worth its while, even if nothing happened. */
const SHORTEST_WATCH_MS = 5_000

class SilenceError extends Error {
  constructor(milliseconds: number) {
    super(`nothing came from the watch for ${milliseconds / 1000} s, not even a bookmark`)
  }
}

/** An error that the API server sent within a watch: after it the watch cannot be continued. */
class WatchError extends KubeError {
  constructor({ status, reason, message, retryAfter }: KubeError) {
    super(status, reason, message, retryAfter)
  }
}

/**
 * Rows of failures are counted apart: a server that was away for long, and now answers that it is only just starting, or that too
 * much has happened, is there again, and need not be waited for as one that is away.
 */
type Fault = 'away' | 'answered' | 'expired'

const NO_FAILURES: Readonly<Record<Fault, number>> = { away: 0, answered: 0, expired: 0 }

function faultOf(error: Error): Fault {
  if (!(error instanceof KubeError)) return 'away'
  return error.status === 410 ? 'expired' : 'answered'
}

/** Whether to go on from the last event would not help. */
function asksForList(error: Error): boolean {
  if (error instanceof SilenceError || error instanceof WatchError || error instanceof KubeProtocolError)
    return true
  // 410: what has happened since is not kept any more. 400 and 504: the version means nothing to this server, or not yet.
  return error instanceof KubeError && [400, 410, 504].includes(error.status)
}

/** The key of an object in a reflector: `NAMESPACE/NAME`, or `NAME` of what belongs to the cluster. */
export function keyOf({ metadata }: KubeObject): string {
  if (!metadata?.name) throw new KubeProtocolError('an object has no name')
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name
}

function itemsOf({ items }: Page): readonly KubeObject[] {
  // Go writes an empty list as null.
  if (items === null) return []
  if (!Array.isArray(items)) throw new KubeProtocolError('a list has no items')
  return items
}

function nextToken({ metadata }: Page, last: string | undefined): string | undefined {
  const token = metadata?.continue || undefined
  if (token !== undefined && token === last) throw new KubeProtocolError('a list continues at where it was')
  return token
}
