import { type FieldProblem, required, typeName, wrongType } from './field-error.ts'
import { checkMetadata } from './metadata.ts'
import { didYouMean } from './nearest.ts'
import schemas from './schemas.generated.json' with { type: 'json' }
import { type Check, compile, isAbsent, isObject, type Schema } from './structural.ts'

const API_VERSION = 'run.ai/v1'

export type Kind = keyof typeof schemas

const KIND_NAMES = Object.keys(schemas) as Kind[]

/**
 * What is wrong with a manifest of the group run.ai: nothing, or one problem for each fault, in the words in which the
 * API server would refuse it. Pure; takes any parsed YAML or JSON. `status` is accepted and ignored.
 */
export function validateManifest(manifest: unknown): FieldProblem[] {
  if (!isObject(manifest))
    return [{ path: [], message: 'a manifest must have apiVersion, kind, metadata and spec' }]
  const { apiVersion, kind, metadata, status: _, ...rest } = manifest
  const wrongKind = checkKind(apiVersion, kind)
  if (wrongKind) return [wrongKind]
  const problems = checkMetadata(metadata, kind as Kind)
  // Rules over the whole object read its name: without one they have nothing to say.
  const name = isObject(metadata) && typeof metadata.name === 'string' ? metadata.name : ''
  checkFor(kind as Kind)({ ...rest, metadata: { name } }, [], problems)
  return problems
}

export function isKind(kind: unknown): kind is Kind {
  return typeof kind === 'string' && Object.hasOwn(schemas, kind)
}

function checkKind(apiVersion: unknown, kind: unknown): FieldProblem | undefined {
  if (isAbsent(apiVersion)) return required(['apiVersion'], `write apiVersion: ${API_VERSION}`)
  if (isAbsent(kind)) return required(['kind'], `write one of ${KIND_NAMES.join(', ')}`)
  if (typeof apiVersion !== 'string') return wrongType(['apiVersion'], 'string', typeName(apiVersion))
  if (typeof kind !== 'string') return wrongType(['kind'], 'string', typeName(kind))
  const unknown = `no matches for kind "${kind}" in version "${apiVersion}"`
  if (!isKind(kind)) return { path: ['kind'], message: unknown + didYouMean(kind, KIND_NAMES) }
  if (apiVersion !== API_VERSION)
    return { path: ['apiVersion'], message: `${unknown}; write apiVersion: ${API_VERSION}` }
  return undefined
}

/** Checks are made when they are first needed: a process that reads no such manifest pays for none. */
function checkFor(kind: Kind): Check {
  const made = checks.get(kind) ?? compile(schemas[kind] as unknown as Schema)
  checks.set(kind, made)
  return made
}

const checks = new Map<Kind, Check>()
