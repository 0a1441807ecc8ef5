import { type DestinationStream, destination, type LoggerOptions, pino, stdTimeFunctions } from 'pino'
import type { LogLevel } from '../config.ts'
import type { Grant } from '../inject/index.ts'
import type { Decision } from './admission.ts'
import type { Review } from './review.ts'

/** The program's log: one JSON object a line, on stderr. Of a pod it says its name, owner and credentials, and nothing else ever. */
export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  /** One line for each injection and each denial: who got what, or why not. */
  decided(review: Review, decision: Decision): void
  crashed(uid: string, error: unknown): void
  /** Writes out what is still in memory. */
  flush(): void
}

/** Lines wait in memory until there are so many bytes of them, or for so long: writing each by itself would cost more than a review. */
const BUFFER_BYTES = 8 * 1024
const FLUSH_EVERY_MS = 250
/** If nobody reads stderr, lines are lost rather than memory. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024

export function createLog(level: LogLevel): Log {
  const stream = destination({ dest: 2, sync: false, minLength: BUFFER_BYTES, maxLength: MOST_WAITING_BYTES })
  setInterval(() => stream.flush(), FLUSH_EVERY_MS).unref()
  return logTo(stream, level, () => stream.flushSync())
}

/** A log that writes to any stream; for tests. */
export function logTo(stream: DestinationStream, level: LogLevel, flush: () => void = () => {}): Log {
  const logger = pino({ ...FORMAT, level }, stream)
  return {
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    decided(review, { outcome, patchBug }) {
      if (patchBug !== undefined) {
        logger.error(
          { ...subject(review), problem: messageOf(patchBug) },
          'BUG: the patch did not apply, the pod starts without its credentials',
        )
      } else if (outcome?.kind === 'Injected') {
        logger.info({ ...subject(review), credentials: withForms(outcome.grants()) }, 'injected')
      } else if (outcome?.kind === 'Denied') {
        logger.info({ ...subject(review), reasons: outcome.problems.map(({ reason }) => reason) }, 'denied')
      }
    },
    crashed: (uid, error) =>
      logger.error(
        { uid, problem: messageOf(error), stack: stackOf(error) },
        'BUG: the engine failed on a review',
      ),
    flush,
  }
}

const FORMAT: LoggerOptions = {
  // Neither process id nor host name: whoever collects logs of pods knows which pod they are from.
  base: null,
  timestamp: stdTimeFunctions.isoTime,
  formatters: { level: (level) => ({ level }) },
}

/** Which pod it was. `name` is the beginning of one, ending in `-`, where the API server is still to make it up. */
function subject({ uid, namespace, name, dryRun, object }: Review) {
  const metadata = object.metadata
  const owners = metadata?.ownerReferences
  const owner = Array.isArray(owners)
    ? (owners.find((reference) => reference?.controller === true) ?? owners[0])
    : undefined
  return {
    uid: shown(uid),
    namespace: shown(namespace),
    name: shown(name || metadata?.name || metadata?.generateName),
    owner: owner ? `${shown(owner.kind)}/${shown(owner.name)}` : undefined,
    dryRun: dryRun || undefined,
  }
}

/** Whatever else may stand there in a request that no API server sent. */
function shown(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, 253) : undefined
}

/** `Credential/git-ssh: files`, each once. */
function withForms(grants: readonly Grant[]): string[] {
  const lines = new Set<string>()
  for (const { credential, form } of grants) lines.add(`${credential}: ${form}`)
  return [...lines]
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The places only: the first line repeats the message. */
function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack?.split('\n').slice(1).join('\n') : undefined
}
