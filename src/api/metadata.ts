import {
  type FieldProblem,
  invalid,
  type Path,
  required,
  typeName,
  unknownField,
  wrongType,
} from './field-error.ts'
import { checkAnnotations, checkLabels } from './labels.ts'
import { DNS_LABEL, DNS_SUBDOMAIN, type NameRule } from './names.ts'
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
      ? [required(['metadata', 'name'], isAbsent(others.generateName) ? NO_NAME : ONLY_GENERATE_NAME)]
      : checkName(['metadata', 'name'], name, kind === 'Namespace' ? DNS_LABEL : DNS_SUBDOMAIN)),
    ...(namespace === undefined || namespace === ''
      ? []
      : checkName(['metadata', 'namespace'], namespace, DNS_LABEL)),
    ...checkLabels(['metadata', 'labels'], labels),
    ...checkAnnotations(['metadata', 'annotations'], annotations),
  ]
}

const NO_NAME = 'name or generateName is required'
const ONLY_GENERATE_NAME = 'write a name: only an API server can make one from generateName'

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
  if (name.length > limit) return [invalid(path, name, `must be no more than ${limit} characters`)]
  if (pattern.test(name)) return []
  return [invalid(path, name, isDotted(name, pattern) ? 'must not contain dots' : sentence)]
}

/** The only thing that is wrong with the name is that it is one for objects of other kinds. */
function isDotted(name: string, pattern: RegExp): boolean {
  return pattern === DNS_LABEL.pattern && name.split('.').every((part) => pattern.test(part))
}
