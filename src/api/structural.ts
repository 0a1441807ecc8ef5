/**
 * Checks values by a structural schema (apiextensions/v1 JSONSchemaProps with CEL rules), as the API server does for
 * custom resources. Only the keywords that the generated schemas use are known.
 */
import { Environment } from '@marcbachmann/cel-js'
import {
  duplicate,
  type FieldProblem,
  forbidden,
  invalid,
  notMatching,
  required,
  tooFew,
  tooLong,
  tooMany,
  tooShort,
  typeName,
  unknownField,
  unsupported,
  wrongType,
} from './field-error.ts'
import { didYouMean } from './nearest.ts'

export interface Schema {
  readonly type: 'object' | 'array' | 'string'
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly minItems?: number
  readonly maxItems?: number
  readonly maxProperties?: number
  readonly enum?: readonly string[]
  readonly pattern?: string
  readonly format?: 'date-time'
  readonly minLength?: number
  readonly maxLength?: number
  readonly 'x-kubernetes-list-map-keys'?: readonly string[]
  readonly 'x-kubernetes-validations'?: readonly Rule[]
}

interface Rule {
  readonly rule: string
  readonly message: string
  readonly fieldPath?: string
  readonly reason?: string
}

/** Appends what is wrong with `value` to `problems`. `path` says where the value is; it is left as it was. */
export type Check = (value: unknown, path: (string | number)[], problems: FieldProblem[]) => void

/** Makes the check for a schema: once for each schema, since patterns and rules are parsed here. */
export function compile(schema: Schema): Check {
  const node = nodeOf(schema)
  return (value, path, problems) => {
    check(node, value, { path, problems })
  }
}

/** The API server takes properties that are null for absent, where the schema does not say that they may be null. */
export function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null
}

/** The value without its absent properties; the same object when there are none. */
export function withoutNulls<T>(value: T): T {
  if (Array.isArray(value)) {
    const items = value.map(withoutNulls)
    return items.some((item, index) => item !== value[index]) ? (items as T) : value
  }
  if (!isObject(value)) return value
  let changed = false
  const kept: Record<string, unknown> = {}
  for (const [key, child] of Object.entries(value)) {
    const clean = withoutNulls(child)
    changed ||= clean !== child || isAbsent(child)
    if (!isAbsent(child)) kept[key] = clean
  }
  return changed ? (kept as T) : value
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// ---- The schema, prepared ----

interface Node {
  readonly schema: Schema
  readonly properties: ReadonlyMap<string, Node>
  /** What the values of a map, or the items of a list, must be. */
  readonly each?: Node
  readonly pattern?: RegExp
  readonly rules: readonly PreparedRule[]
}

interface PreparedRule extends Rule {
  readonly holds: (context: { self: unknown }) => unknown
}

function nodeOf(schema: Schema): Node {
  const each = schema.items ?? schema.additionalProperties
  return {
    schema,
    properties: new Map(Object.entries(schema.properties ?? {}).map(([key, child]) => [key, nodeOf(child)])),
    ...(each && { each: nodeOf(each) }),
    ...(schema.pattern !== undefined && { pattern: new RegExp(schema.pattern) }),
    rules: (schema['x-kubernetes-validations'] ?? []).map((rule) => ({
      ...rule,
      holds: CEL.parse(rule.rule),
    })),
  }
}

const CEL = new Environment().registerVariable('self', 'dyn')

// ---- The check ----

interface Place {
  /** Where the value at hand is. Changed on the way down and changed back, since most values have no problem. */
  readonly path: (string | number)[]
  readonly problems: FieldProblem[]
}

/**
 * Returns true if CEL rules over the value cannot be run. The API server runs none at all in an object that has a value
 * of the wrong type, or is missing, too long or not supported; here only those rules wait that would see this value, so
 * that as much as possible is said at once.
 */
function check(node: Node, value: unknown, place: Place): boolean {
  const blocked = checkKind(node.schema, value, place) || checkContent(node, value, place)
  if (!blocked) checkRules(node, value, place)
  return blocked
}

function checkKind({ type, format, enum: supported }: Schema, value: unknown, place: Place): boolean {
  const actual = typeName(value)
  if (actual !== type) report(place, wrongType(place.path, format ?? type, format ? goName(actual) : actual))
  const isSupported = supported === undefined || supported.includes(value as string)
  if (!isSupported) report(place, unsupported(place.path, value, supported))
  return actual !== type || !isSupported
}

/** What the API server calls a value where it expected a text of some format: it names its own types, and only these. */
function goName(type: string): string {
  if (type === 'integer') return 'int64'
  return type === 'number' ? 'float64' : ''
}

function checkContent(node: Node, value: unknown, place: Place): boolean {
  if (typeof value === 'string') return checkString(node, value, place)
  if (Array.isArray(value)) return checkList(node, value, place)
  return checkObject(node, value as Record<string, unknown>, place)
}

function checkString({ schema, pattern }: Node, value: string, place: Place): boolean {
  const { maxLength = Number.POSITIVE_INFINITY, minLength = 0, format } = schema
  if (value.length > maxLength && [...value].length > maxLength) {
    report(place, tooLong(place.path, maxLength))
    return true
  }
  if (value.length < minLength) report(place, tooShort(place.path, value, minLength))
  else if (pattern && !pattern.test(value))
    report(place, notMatching(place.path, value, schema.pattern as string))
  if (format === undefined || isDateTime(value)) return false
  report(place, wrongType(place.path, format, value))
  return true
}

function checkList(node: Node, list: readonly unknown[], place: Place): boolean {
  const { maxItems = Number.POSITIVE_INFINITY, minItems = 0 } = node.schema
  let blocked = false
  if (list.length < minItems) report(place, tooFew(place.path, list.length, minItems))
  if (list.length > maxItems) {
    report(place, tooMany(place.path, list.length, maxItems))
    blocked = true
  }
  for (const [index, item] of list.entries()) blocked = checkAt(index, node.each, item, place) || blocked
  checkKeys(node, list, place)
  return blocked
}

/** Each second item with the same keys is reported, once for each combination of keys. */
function checkKeys({ schema }: Node, list: readonly unknown[], place: Place): void {
  const keys = schema['x-kubernetes-list-map-keys']
  if (keys === undefined) return
  const times = new Map<string, number>()
  for (const [index, item] of list.entries()) {
    if (!isObject(item)) {
      report(place, invalid([...place.path, index], item, NOT_IN_A_MAP))
      continue
    }
    const identity = Object.fromEntries(keys.filter((key) => key in item).map((key) => [key, item[key]]))
    const text = JSON.stringify(identity)
    const seen = times.get(text) ?? 0
    times.set(text, seen + 1)
    if (seen === 1) report(place, duplicate([...place.path, index], identity))
  }
}

const NOT_IN_A_MAP = 'must be an object for an array of list-type map'

function checkObject(node: Node, object: Readonly<Record<string, unknown>>, place: Place): boolean {
  const { maxProperties = Number.POSITIVE_INFINITY, required: needed = [] } = node.schema
  const count = Object.keys(object).length
  let blocked = count > maxProperties
  if (blocked) report(place, tooMany(place.path, count, maxProperties))
  for (const key of needed) {
    if (!isAbsent(object[key])) continue
    report(place, required([...place.path, key]))
    blocked = true
  }
  for (const [key, value] of Object.entries(object)) {
    const child = node.properties.get(key) ?? node.each
    if (child) blocked = (!isAbsent(value) && checkAt(key, child, value, place)) || blocked
    else if (value !== undefined)
      report(place, unknownField([...place.path, key], didYouMean(key, [...node.properties.keys()])))
  }
  return blocked
}

function checkAt(step: string | number, node: Node | undefined, value: unknown, place: Place): boolean {
  if (node === undefined) return false
  place.path.push(step)
  const blocked = check(node, value, place)
  place.path.pop()
  return blocked
}

function checkRules({ schema, rules }: Node, value: unknown, place: Place): void {
  const self = rules.length === 0 ? value : withoutNulls(value)
  for (const rule of rules) {
    if (rule.holds({ self }) === true) continue
    const path = [...place.path, ...(rule.fieldPath?.split('.').slice(1) ?? [])]
    report(place, brokenRule(rule, path, schema.type === 'string' ? self : undefined))
  }
}

function brokenRule({ reason, message }: Rule, path: (string | number)[], value: unknown): FieldProblem {
  if (reason === 'FieldValueRequired') return required(path, message)
  if (reason === 'FieldValueForbidden') return forbidden(path, message)
  return invalid(path, value, message)
}

function report({ problems }: Place, problem: FieldProblem): void {
  problems.push(problem)
}

const DATE_TIME =
  /^(\d{4})-(\d\d)-(\d\d)t([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(z|[+-]([01]\d|2[0-3]):[0-5]\d)$/i

function isDateTime(text: string): boolean {
  const [, year, month, day] = DATE_TIME.exec(text) ?? []
  if (day === undefined) return false
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)))
  return date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day)
}
