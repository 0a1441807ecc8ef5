import {
  type FieldProblem,
  invalid,
  type Path,
  required,
  typeName,
  unknownField,
  wrongType,
} from './field-error.ts'
import { didYouMean } from './nearest.ts'
import { isAbsent, isObject } from './structural.ts'

/** The fields of meta/v1 ObjectMeta. */
const FIELDS = [
  ...[
    'name',
    'generateName',
    'namespace',
    'labels',
    'annotations',
    'finalizers',
    'ownerReferences',
    'managedFields',
  ],
  ...[
    'uid',
    'resourceVersion',
    'generation',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
  ],
  'selfLink',
]

interface NameRule {
  readonly limit: number
  readonly pattern: RegExp
  readonly sentence: string
}

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`

const DNS_LABEL: NameRule = {
  limit: 63,
  pattern: new RegExp(`^${LABEL}$`),
  sentence: `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${LABEL}')`,
}

const DNS_SUBDOMAIN: NameRule = {
  limit: 253,
  pattern: new RegExp(`^${SUBDOMAIN}$`),
  sentence: `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`,
}

/**
 * What is wrong with an object's metadata, in the words of the API server. Fields that mean nothing here are only known
 * by name. A namespace may be absent: whoever reads the manifest knows which one is meant then.
 */
export function checkMetadata(metadata: unknown, kind: string): FieldProblem[] {
  if (!isAbsent(metadata) && !isObject(metadata)) {
    return [wrongType(['metadata'], 'object', typeName(metadata))]
  }
  const { name, namespace, labels, annotations, ...others } = metadata ?? {}
  return [
    ...Object.keys(others).flatMap(checkField),
    ...(isAbsent(name) || name === ''
      ? [required(['metadata', 'name'], 'name or generateName is required')]
      : checkName(['metadata', 'name'], name, kind === 'Namespace' ? DNS_LABEL : DNS_SUBDOMAIN)),
    ...(namespace === undefined || namespace === ''
      ? []
      : checkName(['metadata', 'namespace'], namespace, DNS_LABEL)),
    ...checkStrings(['metadata', 'labels'], labels),
    ...checkStrings(['metadata', 'annotations'], annotations),
  ]
}

/** Whether an object could have this name. */
export function isObjectName(name: unknown): name is string {
  return typeof name === 'string' && name.length <= DNS_SUBDOMAIN.limit && DNS_SUBDOMAIN.pattern.test(name)
}

function checkField(field: string): FieldProblem[] {
  return FIELDS.includes(field) ? [] : [unknownField(['metadata', field], didYouMean(field, FIELDS))]
}

function checkName(path: Path, name: unknown, { limit, pattern, sentence }: NameRule): FieldProblem[] {
  if (typeof name !== 'string') return [wrongType(path, 'string', typeName(name))]
  // A name that is much too long is not worth the time that the pattern takes.
  if (name.length > limit) return [invalid(path, name, `must be no more than ${limit} bytes`)]
  return pattern.test(name) ? [] : [invalid(path, name, sentence)]
}

function checkStrings(path: Path, map: unknown): FieldProblem[] {
  if (isAbsent(map)) return []
  if (!isObject(map)) return [wrongType(path, 'object', typeName(map))]
  return Object.entries(map)
    .filter(([, value]) => !isAbsent(value) && typeof value !== 'string')
    .map(([key, value]) => wrongType([...path, key], 'string', typeName(value)))
}
