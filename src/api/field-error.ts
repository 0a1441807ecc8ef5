/**
 * What is wrong with a field, in the words of the API server (v1.37): a manifest that is wrong gets the same sentence
 * here as later from `kubectl apply`. Sources: apimachinery `field.Error`, kube-openapi `validation/errors`, and how
 * apiextensions-apiserver joins the two.
 */

export type Path = readonly (string | number)[]

export interface FieldProblem {
  /** Where the field is, or would be if it is missing. */
  readonly path: Path
  /** Begins with the path, such as `spec.type: Required value`. */
  readonly message: string
}

export function required(path: Path, detail = ''): FieldProblem {
  return problem(path, 'Required value', undefined, detail)
}

export function forbidden(path: Path, detail: string): FieldProblem {
  return problem(path, 'Forbidden', undefined, detail)
}

/** `value` is shown; leave it undefined where it is long or secret. */
export function invalid(path: Path, value: unknown, detail: string): FieldProblem {
  return problem(path, 'Invalid value', value, detail)
}

export function duplicate(path: Path, value: unknown): FieldProblem {
  return problem(path, 'Duplicate value', value)
}

export function unsupported(path: Path, value: unknown, supported: readonly string[]): FieldProblem {
  return problem(path, 'Unsupported value', value, `supported values: ${supported.map(quoted).join(', ')}`)
}

/** The value is of another type, or not of the format. `actual` is the name of its type, or a value of the wrong format. */
export function wrongType(path: Path, expected: string, actual: string): FieldProblem {
  return invalid(path, actual, `${fieldOf(path)} in body must be of type ${expected}: ${quoted(actual)}`)
}

/** The API server says bytes and counts characters. */
export function tooLong(path: Path, limit: number): FieldProblem {
  return problem(path, 'Too long', undefined, `may not be more than ${limit} bytes`)
}

export function tooShort(path: Path, value: string, limit: number): FieldProblem {
  return invalid(path, value, `${fieldOf(path)} in body should be at least ${limit} chars long`)
}

export function notMatching(path: Path, value: string, pattern: string): FieldProblem {
  return invalid(path, value, `${fieldOf(path)} in body should match '${pattern}'`)
}

export function tooMany(path: Path, count: number, limit: number): FieldProblem {
  return problem(path, 'Too many', count, `must have at most ${limit} items`)
}

export function tooFew(path: Path, count: number, limit: number): FieldProblem {
  return invalid(path, count, `${fieldOf(path)} in body should have at least ${limit} items`)
}

export function unknownField(path: Path, suggestion: string): FieldProblem {
  return { path, message: `unknown field ${quoted(fieldOf(path))}${suggestion}` }
}

/** The JSON type of a value, as error messages name it. */
export function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

/** `spec.files[0].key` */
function fieldOf(path: Path): string {
  let field = ''
  for (const step of path) {
    if (typeof step === 'number') field += `[${step}]`
    else field += field === '' ? step : `.${step}`
  }
  return field
}

function problem(path: Path, what: string, value: unknown, detail = ''): FieldProblem {
  const shown =
    value === undefined ? '' : `: ${typeof value === 'string' ? quoted(value) : JSON.stringify(value)}`
  return { path: [...path], message: `${fieldOf(path)}: ${what}${shown}${detail && `: ${detail}`}` }
}

/** A string as Go's `%q` writes it, which differs from JSON in what cannot be printed. */
function quoted(text: string): string {
  return JSON.stringify(text)
    .replace(/\\u00([01][0-9a-f])/g, (_, code: string) => GO_ESCAPES[code] ?? `\\x${code}`)
    .replace(/(?! )[\p{C}\p{Z}]/gu, unprintable)
}

const GO_ESCAPES: Readonly<Record<string, string>> = { '07': '\\a', '0b': '\\v' }

function unprintable(character: string): string {
  const code = character.codePointAt(0) as number
  const [letter, digits] = code < 0x80 ? ['x', 2] : code < 0x10000 ? ['u', 4] : ['U', 8]
  return `\\${letter}${code.toString(16).padStart(digits as number, '0')}`
}
