import type { Identity } from './targets.ts'

/*
 * Secret files belong to root. What a container's process can do with one depends on whom it runs as and on fsGroup,
 * for which the kubelet makes the file readable for the group:
 *
 *   runs as           fsGroup   asked   in the container        ssh takes a key
 *   root, or unknown  no        0400    0400 root:root          yes
 *   root, or unknown  yes       0400    0440 root:fsGroup       no, if root runs it
 *   not root          yes       0440    0440 root:fsGroup       yes (ssh looks at modes of its own user's files only)
 *   not root          no        0444    0444 root:root          yes; nothing stricter could be read
 */
const FOR_ROOT = 0o400
const FOR_GROUP = 0o440
const FOR_ALL = 0o444

/** The mode of a file whose credential sets none; undefined on Windows, which has no modes. */
export function chosenMode({ nonRoot, fsGroup, windows }: Identity): number | undefined {
  if (windows) return undefined
  if (!nonRoot) return FOR_ROOT
  return fsGroup ? FOR_GROUP : FOR_ALL
}

/** Permission bits of an octal string such as `"0400"`. */
export function parseMode(text: string): number {
  return Number.parseInt(text, 8)
}

/** Whether a process that is known not to be root can read a file of this mode. */
export function isReadable(mode: number, { fsGroup }: Identity): boolean {
  return fsGroup || (mode & 0o004) !== 0
}
