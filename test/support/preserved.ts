/** Whether a pod still holds everything that its author wrote, in order. Shares no code with src/. */
import { isDeepStrictEqual } from 'node:util'
import type { ContainerObject, EnvEntry, PodObject } from './kubelet.ts'

const RECORD = 'credentials.run.ai/injected'

/**
 * Sentences for what was lost, changed, reordered or renamed; empty when all is there. `mayReplace` says which entries
 * of `env` may have got another value in their place.
 */
export function whatWasLost(
  before: PodObject,
  after: PodObject,
  mayReplace: (container: string, variable: string) => boolean = () => false,
): string[] {
  const lost: string[] = []
  same(lost, 'the pod', without(before, 'metadata', 'spec'), without(after, 'metadata', 'spec'))
  same(lost, 'metadata', without(before.metadata, 'annotations'), without(after.metadata, 'annotations'))
  compareAnnotations(lost, before.metadata?.annotations ?? {}, after.metadata?.annotations ?? {})
  same(lost, 'spec', without(before.spec, ...GROWING), without(after.spec, ...GROWING))
  grown(lost, 'volumes', before.spec.volumes, after.spec.volumes)
  grown(lost, 'imagePullSecrets', before.spec.imagePullSecrets, after.spec.imagePullSecrets)
  for (const list of ['initContainers', 'containers'] as const) {
    const [old, now] = [before.spec[list], after.spec[list]]
    same(lost, `the number of ${list}`, old?.length, now?.length)
    for (const [index, container] of (old ?? []).entries()) {
      const other = now?.[index]
      if (other) compareContainers(lost, container, other, (variable) => mayReplace(container.name, variable))
    }
  }
  return lost
}

const GROWING = ['volumes', 'imagePullSecrets', 'initContainers', 'containers']

function compareAnnotations(
  lost: string[],
  before: Record<string, string>,
  after: Record<string, string>,
): void {
  same(lost, 'annotations', without(before, RECORD), without(after, RECORD))
  if (RECORD in before && !(RECORD in after)) lost.push(`annotation ${RECORD} is gone`)
}

function compareContainers(
  lost: string[],
  before: ContainerObject,
  after: ContainerObject,
  mayReplace: (variable: string) => boolean,
): void {
  const lists = ['env', 'envFrom', 'volumeMounts']
  const at = `container ${before.name}`
  same(lost, at, without(before, ...lists), without(after, ...lists))
  grown(lost, `${at}: envFrom`, before.envFrom, after.envFrom)
  grown(lost, `${at}: volumeMounts`, before.volumeMounts, after.volumeMounts)
  grown<EnvEntry>(
    lost,
    `${at}: env`,
    before.env,
    after.env,
    (a, b) => a.name === b.name && mayReplace(a.name),
  )
  for (const { name } of before.env ?? []) {
    const [old, now] = [before, after].map(
      (container) => container.env?.filter((entry) => entry.name === name).length,
    )
    if (old !== now) lost.push(`${at}: ${name} stands ${now} times in env instead of ${old} times`)
  }
}

/** Every item of `before` must be in `after`, in that order; anything may stand between them. */
function grown<T>(
  lost: string[],
  what: string,
  before: T[] | null | undefined,
  after: T[] | null | undefined,
  alsoSame: (a: T, b: T) => boolean = () => false,
): void {
  if (!after?.length) same(lost, what, before, after)
  let next = 0
  for (const item of after ?? []) {
    const wanted = before?.[next]
    if (wanted === undefined) break
    if (isDeepStrictEqual(wanted, item) || alsoSame(wanted, item)) next++
  }
  if (next < (before?.length ?? 0))
    lost.push(`${what}: ${JSON.stringify(before?.[next])} is not where it was`)
}

function same(lost: string[], what: string, before: unknown, after: unknown): void {
  if (!isDeepStrictEqual(before, after))
    lost.push(`${what}: ${JSON.stringify(before)} became ${JSON.stringify(after)}`)
}

function without(object: object | null | undefined, ...keys: string[]): object {
  return Object.fromEntries(Object.entries(object ?? {}).filter(([key]) => !keys.includes(key)))
}
