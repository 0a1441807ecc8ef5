import { type DestinationStream, destination, type LoggerOptions, pino, stdTimeFunctions } from 'pino'
import type { LogLevel } from '../config/flags.ts'

/** A program's log: one JSON object a line, on stderr. */
export interface BaseLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  /** Writes out what is still in memory. */
  flush(): void
}

/** Lines wait in memory until there are so many bytes of them, or for so long: writing each by itself would cost more than a review. */
const BUFFER_BYTES = 8 * 1024
const FLUSH_EVERY_MS = 250
/** If nobody reads stderr, lines are lost rather than memory. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024

export interface LogStream {
  readonly stream: DestinationStream
  flush(): void
}

/** The program's own stderr. */
export function standardError(): LogStream {
  const stream = destination({ dest: 2, sync: false, minLength: BUFFER_BYTES, maxLength: MOST_WAITING_BYTES })
  setInterval(() => stream.flush(), FLUSH_EVERY_MS).unref()
  return { stream, flush: () => stream.flushSync() }
}

export interface Logger extends BaseLog {
  isLevelEnabled(level: LogLevel): boolean
}

export function loggerOn({ stream, flush }: LogStream, level: LogLevel): Logger {
  const logger = pino({ ...FORMAT, level }, stream)
  return {
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    isLevelEnabled: (asked) => logger.isLevelEnabled(asked),
    flush,
  }
}

const FORMAT: LoggerOptions = {
  // Neither process id nor host name: whoever collects logs of pods knows which pod they are from.
  base: null,
  timestamp: stdTimeFunctions.isoTime,
  formatters: { level: (level) => ({ level }) },
}
