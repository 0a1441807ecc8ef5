import { MOST_FINDINGS } from './findings.ts'
import type { Problem } from './outcome.ts'

/** Kubernetes asks for at most 120 characters a warning, and cuts all of them where they exceed 4096 together. */
const WARNING_LENGTH = 120
const ALL_WARNINGS_LENGTH = 4096

/** Warnings, and problems where they are told without denying anything. */
type Finding = Pick<Problem, 'message'> & { readonly reason: string }

/** Events, terminals and the API server's own message are not made for more. */
const MESSAGE_BYTES = 8192

/**
 * Warnings as the API server hands them to people: each at most 120 characters, 4096 in all; the last one counts what
 * did not fit.
 */
export function presentWarnings(warnings: readonly Finding[]): string[] {
  const texts = warnings.map(({ reason, message }) => clip(`${reason}: ${message}`))
  const total = texts.reduce((sum, text) => sum + length(text), 0)
  if (total <= ALL_WARNINGS_LENGTH) return texts
  const shown: string[] = []
  let room = ALL_WARNINGS_LENGTH - WARNING_LENGTH
  for (const text of texts) {
    room -= length(text)
    if (room < 0) break
    shown.push(text)
  }
  return [...shown, `${texts.length - shown.length} more warnings are left out`]
}

/** One message that lists everything that is wrong: less than 8 KiB in UTF-8, with a count of what did not fit. */
export function denialMessage(problems: readonly Problem[]): string {
  const lines = problems.map(({ reason, message }) => `${reason}: ${message}`)
  if (lines.length === 1) return within(lines[0] as string, MESSAGE_BYTES)
  const all = problems.length < MOST_FINDINGS ? `${lines.length}` : `${lines.length} or more`
  const parts = [`${all} problems with the credentials of this pod:`]
  let room = MESSAGE_BYTES - bytes(parts[0] as string) - LEFT_OUT_BYTES
  for (const [index, line] of lines.entries()) {
    const item = `(${index + 1}) ${line}`
    room -= bytes(item) + 1
    if (room < 0) return [...parts, `… and ${lines.length - index} more`].join('\n')
    parts.push(item)
  }
  return parts.join('\n')
}

/** Room for the line that counts what was left out. */
const LEFT_OUT_BYTES = 64

function clip(text: string): string {
  if (text.length <= WARNING_LENGTH) return text
  const characters = [...text]
  return characters.length <= WARNING_LENGTH ? text : `${characters.slice(0, WARNING_LENGTH - 1).join('')}…`
}

function within(text: string, limit: number): string {
  if (bytes(text) < limit) return text
  const characters = [...text]
  while (bytes(characters.join('')) >= limit - 3) characters.length -= Math.ceil(characters.length / 16)
  return `${characters.join('')}…`
}

function length(text: string): number {
  return [...text].length
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length
}
