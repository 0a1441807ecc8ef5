import { createHash, createHmac } from 'node:crypto'

export interface RevisionInput {
  readonly namespace: string
  readonly name: string
  readonly type: string
  readonly content: ReadonlyMap<string, Buffer>
}

/** 48 bits: two revisions of one Secret are equal by chance once in 10^14 times. */
const CHARACTERS = 12
/** In front of them, which key it was made with. */
const KEY_CHARACTERS = 4

/**
 * Says that the content of a Secret has changed, and nothing else about it. Keyed, since a short value could be found from a plain
 * hash by trying. The Secret's name is part of it, or else anybody could try values in a Secret of their own and compare.
 * Every part stands behind its length, so that no two contents are written alike.
 */
export function revisionOf({ namespace, name, type, content }: RevisionInput, key: Buffer): string {
  const hmac = createHmac('sha256', key)
  const add = (part: string | Buffer) => {
    const bytes = Buffer.from(part as string)
    hmac.update(`${bytes.length}:`).update(bytes)
  }
  for (const part of [namespace, name, type]) add(part)
  for (const [itsKey, value] of [...content].sort(([a], [b]) => (a < b ? -1 : 1))) {
    add(itsKey)
    add(value)
  }
  const keyId = createHash('sha256').update(key).digest('hex').slice(0, KEY_CHARACTERS)
  return keyId + hmac.digest('hex').slice(0, CHARACTERS)
}

/** Whether the content has changed between the two. Made with different keys, they say nothing about each other. */
export function isRotation(before: string, after: string): boolean {
  return before !== after && before.slice(0, KEY_CHARACTERS) === after.slice(0, KEY_CHARACTERS)
}
