/** The chart's generated files, and what values.schema.json accepts; what the templates make of values is in test/cluster. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { chartReadme, chartWithVersion, valuesSchema } from '../../scripts/generate/chart.ts'
import { KINDS } from '../../src/api/schema.ts'
import { validateManifest } from '../../src/api/validate.ts'

const CHART = fileURLToPath(new URL('../../charts/credential-injector/', import.meta.url))
const read = (file: string) => readFileSync(join(CHART, file), 'utf8')
const values = read('values.yaml')
const version = JSON.parse(readFileSync(join(CHART, '../../package.json'), 'utf8')).version

describe('the generator', () => {
  const example = `# ---- One ----

# A section,
# in two lines.
a:
  # A number.
  # @schema {minimum: 1}
  b: 2
  # Labels.
  # @schema {additionalProperties: {type: string}}
  c:
    free: to choose
# ---- Two ----

# A | choice.
# @schema {enum: [x, '']}
d: x
# Both.
# @schema {type: [integer, 'null']}
e: null
`
  test('makes a closed schema from comments and defaults', () => {
    expect(JSON.parse(valuesSchema(example))).toMatchObject({
      type: 'object',
      additionalProperties: false,
      properties: {
        a: {
          type: 'object',
          description: 'A section, in two lines.',
          additionalProperties: false,
          properties: {
            b: { type: 'integer', description: 'A number.', minimum: 1 },
            c: { type: 'object', description: 'Labels.', additionalProperties: { type: 'string' } },
          },
        },
        d: { type: 'string', enum: ['x', ''] },
        e: { type: ['integer', 'null'] },
      },
    })
  })

  test('makes a table for each section', () => {
    const page = chartReadme(example)
    expect(page).toContain(
      '### One\n\n| value | default | meaning |\n|---|---|---|\n| **`a`** | | A section, in two lines. |',
    )
    expect(page).toContain(
      '| `a.b` | `2` | A number. |\n| `a.c` | `{"free":"to choose"}` | Labels. |\n\n### Two',
    )
    expect(page).toContain('| `d` | `"x"` | A \\| choice. One of `x`, empty. |')
  })

  test.each([
    [
      'a key without a comment',
      '# ---- One ----\n\n# There.\na: 1\nb: 2\n',
      'values.yaml: b has no comment: say above it what it does',
    ],
    [
      'null without a type',
      '# ---- One ----\n\n# There.\na: null\n',
      'values.yaml: a is null: say its type with @schema {type: …}',
    ],
  ])('%s is an error', (_, text, sentence) => {
    expect(() => valuesSchema(text)).toThrow(sentence)
  })

  test('writes one version everywhere', () => {
    const chart = parse(chartWithVersion(read('Chart.yaml'), '7.8.9'))
    expect(chart).toMatchObject({ version: '7.8.9', appVersion: '7.8.9' })
    expect(parse(chart.annotations['artifacthub.io/images'])[0].image).toBe(
      'ghcr.io/credential-injector/credential-injector:7.8.9',
    )
  })
})

describe('values.schema.json', () => {
  const schema = z.fromJSONSchema(JSON.parse(read('values.schema.json')))
  const withValue = (path: string, value: unknown) => {
    const result = parse(values)
    const keys = path.split('.')
    const last = keys.pop() as string
    keys.reduce((at, key) => at[key], result)[last] = value
    return schema.safeParse(result).success
  }

  test('accepts the defaults', () => {
    expect(schema.safeParse(parse(values)).error).toBeUndefined()
  })

  test.each([
    ['webhook.replicas', 0],
    ['webhook.replicas', '3'],
    ['webhook.replica', 3],
    ['webhook.terminationGracePeriodSeconds', 44],
    ['webhook.podDisruptionBudget.minAvailable', '50'],
    ['webhook.topologySpread.zone', 'Sometimes'],
    ['admission.failurePolicy', 'fail'],
    ['admission.failurePolicy', 'Fails'],
    ['admission.timeoutSeconds', 31],
    ['admission.reinvocationPolicy', 'Always'],
    ['admission.sideEffects', 'Some'],
    ['admission.matchConditions', [{ name: 'x' }]],
    ['admission.namespaceSelector', { matchLabel: {} }],
    ['certificates.mode', 'cert-manager'],
    ['certificates.certManager.duration', '90d'],
    ['image.digest', 'sha256:abc'],
    ['fullnameOverride', 'Upper'],
    ['fullnameOverride', 'a'.repeat(41)],
    ['imagePullSecrets', ['name']],
    ['unknown', true],
  ])('refuses %s: %j', (path, value) => {
    expect(withValue(path, value)).toBe(false)
  })

  test.each([
    ['webhook.replicas', 3],
    ['webhook.podDisruptionBudget.minAvailable', '50%'],
    ['webhook.podDisruptionBudget.minAvailable', null],
    ['webhook.resources.limits', { memory: '1Gi', cpu: 1 }],
    ['admission.namespaceSelector', { matchLabels: { team: 'ml' } }],
    ['image.digest', `sha256:${'a'.repeat(64)}`],
    ['imagePullSecrets', [{ name: 'login' }]],
    ['global', { of: 'the parent chart' }],
    ['extraObjects', ['text', { kind: 'ConfigMap' }]],
  ])('accepts %s: %j', (path, value) => {
    expect(withValue(path, value)).toBe(true)
  })
})

describe('Chart.yaml', () => {
  const chart = parse(read('Chart.yaml'))

  test('has the version of package.json', () => {
    expect(chart).toMatchObject({ version, appVersion: version, kubeVersion: '>=1.30.0-0' })
  })

  test('names every definition that it installs', () => {
    const listed = parse(chart.annotations['artifacthub.io/crds'])
    expect(listed.map(({ kind }: { kind: string }) => kind).sort()).toEqual(Object.keys(KINDS).sort())
    expect(listed.map(({ name }: { name: string }) => `${name}.yaml`).sort()).toEqual(
      readdirSync(join(CHART, 'files/crds')).sort(),
    )
  })

  test('has valid examples', () => {
    for (const example of parse(chart.annotations['artifacthub.io/crdsExamples']))
      expect(validateManifest(example)).toEqual([])
  })
})

describe('the definitions', () => {
  // The template replaces the one line that says `metadata:`, so as not to write the rest of the text again.
  test.each(readdirSync(join(CHART, 'files/crds')))(
    '%s has one line for the metadata, without labels',
    (file) => {
      const text = read(`files/crds/${file}`)
      expect(text.match(/^metadata:$/gm)).toHaveLength(1)
      expect(Object.keys(parse(text).metadata)).toEqual(['name'])
    },
  )
})
