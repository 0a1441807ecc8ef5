import { describe, expect, test } from 'vitest'
import { notReadyReason, type SecretFacts, usedKeys } from '../../src/api/readiness.ts'
import type { CredentialSpec } from '../../src/api/schema.ts'

const NAMED = { secretRef: { name: 'wandb-secret' } }
const ENVIRONMENT: CredentialSpec = { ...NAMED, type: 'environment' }
const FILE: CredentialSpec = { ...NAMED, type: 'file', mountPath: '/a' }
const LOGIN: CredentialSpec = { ...NAMED, type: 'dockerRegistry' }

function secret(keys: string[], type = 'Opaque'): SecretFacts {
  return { keys, type }
}

test.each<[string, CredentialSpec, SecretFacts | undefined, string | undefined]>([
  ['no secret', ENVIRONMENT, undefined, 'Secret wandb-secret does not exist yet'],
  ['all keys of a secret', ENVIRONMENT, secret(['A']), undefined],
  ['all keys of a secret that has none', ENVIRONMENT, secret([]), undefined],
  ['the listed key is there', { ...ENVIRONMENT, variables: [{ name: 'A' }] }, secret(['A', 'B']), undefined],
  [
    'a missing key',
    { ...ENVIRONMENT, variables: [{ name: 'A' }] },
    secret(['B']),
    'Secret wandb-secret lacks key A',
  ],
  [
    'the key counts, not the name',
    { ...ENVIRONMENT, variables: [{ name: 'A', key: 'B' }] },
    secret(['A']),
    'Secret wandb-secret lacks key B',
  ],
  [
    'a plain value needs no key',
    { ...ENVIRONMENT, variables: [{ name: 'A', value: '' }] },
    secret([]),
    undefined,
  ],
  [
    'every missing key is named, each once',
    {
      ...FILE,
      variables: [{ name: 'A' }, { name: 'C', key: 'A' }],
      files: [{ key: 'x' }, { key: 'y', path: 'z' }],
    },
    secret(['y']),
    'Secret wandb-secret lacks keys A, x',
  ],
  ['all keys as files', FILE, secret(['x']), undefined],
  ['a login', LOGIN, secret(['.dockerconfigjson'], 'kubernetes.io/dockerconfigjson'), undefined],
  ['a login of the old type', LOGIN, secret(['.dockercfg'], 'kubernetes.io/dockercfg'), undefined],
  [
    'a login of the wrong type',
    LOGIN,
    secret(['.dockerconfigjson']),
    'Secret wandb-secret has type Opaque, not kubernetes.io/dockerconfigjson',
  ],
  [
    'a login without its key',
    LOGIN,
    secret(['.dockercfg'], 'kubernetes.io/dockerconfigjson'),
    'Secret wandb-secret lacks key .dockerconfigjson',
  ],
  [
    'a type that every object inherits',
    LOGIN,
    secret([], 'toString'),
    'Secret wandb-secret has type toString, not kubernetes.io/dockerconfigjson',
  ],
])('%s', (_title, spec, facts, expected) => {
  expect(notReadyReason(spec, spec.secretRef.name, facts)).toBe(expected)
})

describe('a secret with very many keys', () => {
  /** How often a place of the list of keys was looked at. */
  function work(count: number, look: (facts: SecretFacts) => unknown): number {
    let reads = 0
    const keys = new Proxy(
      Array.from({ length: count }, (_, index) => `K${index}`),
      {
        get(target, property, receiver) {
          if (typeof property === 'string' && /^\d+$/.test(property)) reads++
          return Reflect.get(target, property, receiver)
        },
      },
    )
    look({ keys, type: 'Opaque' })
    return reads
  }
  const variables = Array.from({ length: 64 }, (_, index) => ({ name: `X${index}` }))

  test.each<[string, (facts: SecretFacts) => unknown]>([
    ['all as variables', (facts) => usedKeys(ENVIRONMENT, facts)],
    ['all as files', (facts) => usedKeys(FILE, facts)],
    ['some that are missing', (facts) => notReadyReason({ ...ENVIRONMENT, variables }, 's', facts)],
  ])('is gone through a few times, however many: %s', (_title, look) => {
    for (const count of [500, 5000]) expect(work(count, look)).toBeLessThanOrEqual(4 * count)
  })
})
