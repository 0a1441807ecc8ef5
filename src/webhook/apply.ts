import jsonpatch from 'jsonpatch'
import type { PatchOperation } from '../api/pod.ts'

/** RFC 6902. Changes `document`, of which no copy is made, and throws if an operation has nowhere to go. */
export function applyInPlace(document: object, patch: readonly PatchOperation[]): void {
  for (const operation of patch) {
    const pointer = pointerTo(operation.path)
    if (operation.op === 'remove') pointer.remove(document, true)
    else pointer[operation.op](document, operation.value, true)
  }
}

/** The library's pointer (RFC 6901); `mutate` is missing in its types. */
interface Pointer {
  add(document: object, value: unknown, mutate: true): unknown
  replace(document: object, value: unknown, mutate: true): unknown
  remove(document: object, mutate: true): unknown
}

const { JSONPointer } = jsonpatch as unknown as { JSONPointer: new (path: string) => Pointer }

/** Reading a pointer takes longer than following it, and all patches go to the same few places of a pod. */
const pointers = new Map<string, Pointer>()
const MOST_POINTERS = 2000

function pointerTo(path: string): Pointer {
  const known = pointers.get(path)
  if (known) return known
  if (pointers.size >= MOST_POINTERS) pointers.clear()
  const pointer = new JSONPointer(path)
  pointers.set(path, pointer)
  return pointer
}
