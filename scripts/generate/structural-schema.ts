/**
 * zod → structural schema (apiextensions/v1 JSONSchemaProps): what a CRD carries, and what the folder catalogue
 * validates with.
 */
import { z } from 'zod'
import { KINDS } from '../../src/api/schema.ts'
import { STATUSES } from '../../src/api/status.ts'

export type Kind = keyof typeof KINDS

type Json = Record<string, unknown>

/** The schema of a kind, without status: that is nobody's to write but the controller's. */
export function kindSchema(kind: Kind): Json {
  const { description, properties, ...rest } = jsonSchema(KINDS[kind])
  const { spec } = properties as Json
  return {
    description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { description: 'Group and version: run.ai/v1.', type: 'string' },
      kind: { description: `What it is: ${kind}.`, type: 'string' },
      // The API server knows the metadata by itself: a CRD may describe nothing of it, and say something about the name only.
      metadata: { type: 'object', properties: { name: { type: 'string' } } },
      spec: structural(spec as Json),
    },
    ...('x-kubernetes-validations' in rest && {
      'x-kubernetes-validations': rest['x-kubernetes-validations'],
    }),
  }
}

export function statusSchema(kind: Kind): Json {
  return structural(jsonSchema(STATUSES[kind]))
}

function jsonSchema(schema: z.ZodType): Json {
  return z.toJSONSchema(schema, { target: 'openapi-3.0' }) as Json
}

/** What the API server accepts in a CRD, of the keywords that zod writes. */
const KEYWORDS = new Set(
  (
    'default enum format pattern minimum maximum minLength maxLength minItems maxItems maxProperties required ' +
    'x-kubernetes-validations x-kubernetes-list-type x-kubernetes-list-map-keys'
  ).split(' '),
)

function structural({ description, type, ...schema }: Json): Json {
  // What people look for stands first.
  const result: Json = { ...(description !== undefined && { description }), type }
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === 'properties') result.properties = mapValues(value as Json, structural)
    else if (keyword === 'items') result.items = structural(value as Json)
    else if (keyword === 'additionalProperties') Object.assign(result, additional(value as Json | boolean))
    else if (KEYWORDS.has(keyword)) result[keyword] = value
    else throw new Error(`A CRD cannot say "${keyword}": express it otherwise in src/api`)
  }
  // For known formats zod adds a pattern, or a limit, that nobody can read in an error message; the API server knows the format.
  if (result.format !== undefined) {
    delete result.pattern
    delete result.maximum
  }
  return result
}

/** Kubernetes finds unknown fields by the listed properties: closed objects say nothing, maps describe their values. */
function additional(value: Json | boolean): Json {
  return typeof value === 'boolean' ? {} : { additionalProperties: structural(value) }
}

function mapValues(record: Json, change: (value: Json) => Json): Json {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value as Json)]))
}
