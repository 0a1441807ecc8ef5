import { createHash } from 'node:crypto'
import { type KubeClient, KubeError } from './client.ts'

/** core/v1 Events: what people see at the end of `kubectl describe`. The same one again counts up instead of standing there twice. */
export interface EventSender {
  /** Never fails and never waits: events are sent one after the other, and those that cannot be are lost. */
  send(about: EventSubject, event: EventContent): void
  /** Resolves when all that were given to `send` until now have been sent or lost. */
  flush(): Promise<void>
}

export interface EventSubject {
  readonly apiVersion: string
  readonly kind: string
  /** Undefined for what belongs to the cluster: its events are in the namespace `default`. */
  readonly namespace?: string
  readonly name: string
  readonly uid?: string
  readonly resourceVersion?: string
}

export interface EventContent {
  readonly type: 'Normal' | 'Warning'
  /** One word for programs. */
  readonly reason: string
  readonly message: string
}

interface EventSettings {
  readonly client: Pick<KubeClient, 'create' | 'patch'>
  /** Who says it: `credential-injector-controller`. */
  readonly component: string
  /** Which process of it. */
  readonly instance: string
  readonly onSent?: (event: EventContent) => void
  readonly onLost?: (error: Error, event: EventContent, about: EventSubject) => void
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** More than these are more than anybody reads: they are lost rather than memory. */
const MOST_WAITING = 1_000
/** Limit of the API for a message. */
const MOST_MESSAGE_CHARACTERS = 1_024
/** An object's name has 253, and an event's no more. */
const MOST_NAME_CHARACTERS = 253
const TIMEOUT_MS = 5_000

interface StoredEvent {
  readonly count?: number
}

export function createEvents(settings: EventSettings): EventSender {
  const { client, now = Date.now } = settings
  let waiting = 0
  let last: Promise<void> = Promise.resolve()

  return {
    send(about, event) {
      if (waiting >= MOST_WAITING) {
        settings.onLost?.(new Error(`${MOST_WAITING} events are waiting already`), event, about)
        return
      }
      waiting++
      last = last.then(() => sendOne(about, event))
    },
    flush: () => last,
  }

  async function sendOne(about: EventSubject, event: EventContent): Promise<void> {
    try {
      await createOrCount(about, event)
      settings.onSent?.(event)
    } catch (error) {
      settings.onLost?.(error as Error, event, about)
    } finally {
      waiting--
    }
  }

  async function createOrCount(about: EventSubject, event: EventContent): Promise<void> {
    const namespace = about.namespace ?? 'default'
    const collection = `/api/v1/namespaces/${namespace}/events`
    const body = eventFor(about, event, namespace)
    try {
      await client.create(collection, body, { timeout: TIMEOUT_MS })
    } catch (error) {
      if (!(error instanceof KubeError) || error.reason !== 'AlreadyExists') throw error
      await countUp(`${collection}/${body.metadata.name}`, body.lastTimestamp)
    }
  }

  /** Its present count is in the answer to the first change; to read events is no right that is needed for this. */
  async function countUp(path: string, lastTimestamp: string): Promise<void> {
    const patch = (change: object) =>
      client.patch<StoredEvent>(path, 'application/merge-patch+json', change, { timeout: TIMEOUT_MS })
    const { count = 1 } = await patch({ lastTimestamp })
    await patch({ count: count + 1 })
  }

  function eventFor(about: EventSubject, event: EventContent, namespace: string) {
    const time = `${new Date(now()).toISOString().slice(0, 19)}Z`
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: nameOf(about, event), namespace },
      involvedObject: about,
      type: event.type,
      reason: event.reason,
      message: event.message.slice(0, MOST_MESSAGE_CHARACTERS),
      source: { component: settings.component },
      reportingComponent: settings.component,
      reportingInstance: settings.instance,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    }
  }
}

/** Equal for what is the same event, whoever says it and when. */
function nameOf({ name, uid = '' }: EventSubject, { type, reason, message }: EventContent): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([uid, type, reason, message]))
    .digest('hex')
  return `${name.slice(0, MOST_NAME_CHARACTERS - 17).replace(/[^a-z0-9]+$/, '')}.${hash.slice(0, 16)}`
}
