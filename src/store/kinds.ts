import { type FieldProblem, typeName, wrongType } from '../api/field-error.ts'
import { checkMetadata } from '../api/metadata.ts'
import { nearest } from '../api/nearest.ts'
import type { LabelSelector } from '../api/schema.ts'
import { isAbsent, isObject, withoutNulls } from '../api/structural.ts'
import { isKind, validateManifest } from '../api/validate.ts'
import type { BrokenObject, UsableObject } from './objects.ts'

export type Fields = Record<string, unknown>

interface Reader {
  check(manifest: Fields): FieldProblem[]
  /** What the catalogue keeps of a manifest that has no faults. */
  take(manifest: Fields, name: string, namespace: string): UsableObject
}

/** How an object is read; undefined for those that are none of our business. */
export function readerFor({ apiVersion, kind }: Fields): Reader | undefined {
  if (apiVersion === 'v1') return kind === 'Secret' ? SECRET : kind === 'Namespace' ? NAMESPACE : undefined
  const group = String(apiVersion).split('/')[0] as string
  const isOurs = group === 'run.ai' || (isKind(kind) && (isAbsent(apiVersion) || nearest(group, ['run.ai'])))
  return isOurs ? CREDENTIALS : undefined
}

const CREDENTIALS: Reader = {
  check: validateManifest,
  take: ({ kind, spec }, name, namespace) =>
    ({ kind, ...(kind === 'Credential' && { namespace }), name, spec: withoutNulls(spec) }) as UsableObject,
}

const NAMESPACE: Reader = {
  check: ({ metadata }) => checkMetadata(metadata, 'Namespace'),
  take: ({ metadata }, name) => ({
    kind: 'Namespace',
    name,
    labels: withoutNulls((metadata as { labels?: Record<string, string> }).labels ?? {}),
  }),
}

const SECRET: Reader = {
  check: ({ apiVersion: _, kind: __, metadata, type, data, stringData, immutable: ___, ...others }) => [
    ...checkMetadata(metadata, 'Secret'),
    ...checkKeys('data', data),
    ...checkKeys('stringData', stringData),
    ...(isAbsent(type) || typeof type === 'string' ? [] : [wrongType(['type'], 'string', typeName(type))]),
    ...Object.keys(others).map((field) => ({ path: [field], message: NOT_IN_A_SECRET })),
  ],
  take: ({ type, data, stringData }, name, namespace) => ({
    kind: 'Secret',
    namespace,
    name,
    type: (type as string | null | undefined) || 'Opaque',
    keys: Object.keys({ ...(data as Fields | null), ...(stringData as Fields | null) }),
  }),
}

const SECRET_KEY = /^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,251}$/

/** What should not be there is not shown: it may be a part of a value that is indented wrongly. */
const NOT_IN_A_SECRET = 'a Secret has only type, data, stringData and immutable besides its metadata'

function checkKeys(field: string, map: unknown): FieldProblem[] {
  if (isAbsent(map)) return []
  if (!isObject(map)) return [wrongType([field], 'object', typeName(map))]
  return Object.entries(map).flatMap(([key, value], index) => {
    if (!SECRET_KEY.test(key)) {
      return {
        path: [field, key],
        message: `${field}: key number ${index + 1} must consist of letters, digits, "-", "_" and "."`,
      }
    }
    return isAbsent(value) || typeof value === 'string'
      ? []
      : wrongType([field, key], 'string', typeName(value))
  })
}

/** Whom a faulty ClusterCredential is for, if nothing is wrong with that. */
export function offerOf(
  { kind, spec }: Fields,
  faults: readonly FieldProblem[],
): Pick<BrokenObject, 'namespaceSelector'> {
  const isReadable = !faults.some(
    ({ path: [first, second] }) =>
      first === 'spec' && (second === undefined || second === 'namespaceSelector'),
  )
  if (kind !== 'ClusterCredential' || !isReadable || !isObject(spec)) return {}
  return { namespaceSelector: withoutNulls(spec.namespaceSelector ?? null) as LabelSelector | null }
}
