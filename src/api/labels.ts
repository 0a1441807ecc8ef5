/**
 * What is wrong with labels and annotations, in the words of the API server (apimachinery `ValidateLabels`,
 * `ValidateAnnotations`): a folder must not take what a cluster would refuse.
 */
import { type FieldProblem, invalid, type Path, typeName, wrongType } from './field-error.ts'
import { DNS_SUBDOMAIN } from './names.ts'
import { isAbsent, isObject } from './structural.ts'

const NAME = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'

const NAME_PATTERN = new RegExp(`^${NAME}$`)
const VALUE_PATTERN = new RegExp(`^(${NAME})?$`)

const ALPHANUMERIC =
  "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
const NAME_EXAMPLES = `(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${NAME}')`
const NAME_SENTENCE = `must consist of ${ALPHANUMERIC} ${NAME_EXAMPLES}`
const KEY_SENTENCE = `a valid label key ${NAME_SENTENCE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`
const VALUE_SENTENCE = `a valid label must be an empty string or consist of ${ALPHANUMERIC} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(${NAME})?')`

export function checkLabels(path: Path, labels: unknown): FieldProblem[] {
  return checkTexts(path, labels, (key, value) => [
    ...keyProblems(key).map((sentence) => invalid(path, key, sentence)),
    ...valueProblems(value).map((sentence) => invalid(path, value, sentence)),
  ])
}

/** Their keys may have capitals in the prefix; their values may be anything. */
export function checkAnnotations(path: Path, annotations: unknown): FieldProblem[] {
  return checkTexts(path, annotations, (key) =>
    keyProblems(key.toLowerCase()).map((sentence) => invalid(path, key, sentence)),
  )
}

function checkTexts(
  path: Path,
  map: unknown,
  check: (key: string, value: string) => FieldProblem[],
): FieldProblem[] {
  if (isAbsent(map)) return []
  if (!isObject(map)) return [wrongType(path, 'object', typeName(map))]
  return Object.entries(map).flatMap(([key, value]) => {
    if (isAbsent(value)) return check(key, '')
    return typeof value === 'string'
      ? check(key, value)
      : [wrongType([...path, key], 'string', typeName(value))]
  })
}

function keyProblems(key: string): string[] {
  const [first = '', second, ...more] = key.split('/')
  if (more.length > 0) return [KEY_SENTENCE]
  return second === undefined ? nameProblems(first) : [...prefixProblems(first), ...nameProblems(second)]
}

function prefixProblems(prefix: string): string[] {
  if (prefix === '') return ['prefix part must be non-empty']
  const { limit, pattern, sentence } = DNS_SUBDOMAIN
  if (prefix.length > limit) return [`prefix part must be no more than ${limit} bytes`]
  return pattern.test(prefix) ? [] : [`prefix part ${sentence}`]
}

function nameProblems(name: string): string[] {
  if (name.length > 63) return ['name part must be no more than 63 bytes']
  if (NAME_PATTERN.test(name)) return []
  return [...(name === '' ? ['name part must be non-empty'] : []), `name part ${NAME_SENTENCE}`]
}

function valueProblems(value: string): string[] {
  if (value.length > 63) return ['must be no more than 63 bytes']
  return VALUE_PATTERN.test(value) ? [] : [VALUE_SENTENCE]
}
