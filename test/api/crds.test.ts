/** The CustomResourceDefinitions as they are generated; what a real API server makes of them is in test/cluster. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { CRD_FILES } from '../../scripts/generate/crds.ts'
import schemas from '../../src/api/schemas.generated.json' with { type: 'json' }

const KINDS = Object.keys(CRD_FILES) as (keyof typeof CRD_FILES)[]
const crdOf = (kind: keyof typeof CRD_FILES) => parse(readFileSync(CRD_FILES[kind], 'utf8'))

describe.each(KINDS)('%s', (kind) => {
  const { metadata, spec } = crdOf(kind)
  const [version] = spec.versions
  const schema = version.schema.openAPIV3Schema

  test('every field says what it is for', () => {
    // Of the metadata the API server lets no CRD say anything.
    expect(undescribed(schema).filter((path) => !path.startsWith('.metadata'))).toEqual([])
  })

  test('is validated by the same schema as in a folder', () => {
    const { status, ...properties } = schema.properties
    expect(status).toBeDefined()
    expect({ ...schema, properties }).toEqual(schemas[kind])
  })

  test('has a status that only its own subresource writes, and one version', () => {
    expect(spec.versions).toHaveLength(1)
    expect(version).toMatchObject({ name: 'v1', served: true, storage: true, subresources: { status: {} } })
  })

  test('has its names, and is not in `kubectl get all`', () => {
    const { names, group, preserveUnknownFields } = spec
    expect(metadata.name).toBe(`${names.plural}.${group}`)
    expect(names).toMatchObject({ kind, listKind: `${kind}List`, singular: kind.toLowerCase() })
    expect(names).not.toHaveProperty('categories')
    expect(preserveUnknownFields).toBe(false)
  })

  test('what rules look through has a limit', () => {
    expect(unlimited(schema.properties.spec)).toEqual([])
  })
})

test.each([
  [
    'Credential',
    'Namespaced',
    ['cred'],
    'Type, Secret, Ready, Used By, Age',
    'Service, Expires, Description',
  ],
  [
    'ClusterCredential',
    'Cluster',
    ['ccred'],
    'Type, Secret, Ready, Used By, Namespaces, Age',
    'Service, Expires, Description',
  ],
  ['CredentialPolicy', 'Cluster', ['credpol'], 'Enforcement, Credentials, Namespaces, Pods, Ready, Age', ''],
] as const)('%s has its scope, short name and columns', (kind, scope, shortNames, usual, wide) => {
  const { spec } = crdOf(kind)
  const columns: { name: string; priority?: number }[] = spec.versions[0].additionalPrinterColumns
  const shown = (isWide: boolean) =>
    columns
      .filter(({ priority }) => (priority === 1) === isWide)
      .map(({ name }) => name)
      .join(', ')
  expect([spec.scope, spec.names.shortNames]).toEqual([scope, shortNames])
  expect([shown(false), shown(true)]).toEqual([usual, wide])
})

interface Schema {
  readonly description?: string
  readonly type: string
  readonly properties?: Record<string, Schema>
  readonly items?: Schema
  readonly additionalProperties?: Schema
  readonly [keyword: string]: unknown
}

function undescribed(schema: Schema, path = ''): string[] {
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, child]) => [
    ...(isSentence(child.description) ? [] : [`${path}.${name}`]),
    ...undescribed(child, `${path}.${name}`),
  ])
  return [...own, ...(schema.items ? undescribed(schema.items, `${path}[]`) : [])]
}

function isSentence(text: string | undefined): boolean {
  return text !== undefined && /^\S.*\.$/s.test(text)
}

/** The API server estimates what rules can cost by the limits of what they see. */
function unlimited(schema: Schema, path = ''): string[] {
  const { type, properties = {}, items, additionalProperties } = schema
  const isLimited =
    type === 'array'
      ? 'maxItems' in schema
      : type === 'string'
        ? 'maxLength' in schema || 'enum' in schema || 'format' in schema
        : additionalProperties === undefined || 'maxProperties' in schema
  return [
    ...(isLimited ? [] : [path]),
    ...Object.entries(properties).flatMap(([name, child]) => unlimited(child, `${path}.${name}`)),
    ...(items ? unlimited(items, `${path}[]`) : []),
    ...(additionalProperties ? unlimited(additionalProperties, `${path}{}`) : []),
  ]
}
