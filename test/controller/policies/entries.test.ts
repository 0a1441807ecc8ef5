import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sentBy } from '../../../src/api/policy-path.ts'
import {
  beyond,
  entriesFor,
  entryName,
  excludedBy,
  type StoredPolicy,
  type WebhookEntry,
} from '../../../src/controller/policies/entries.ts'

const OWN = 'credential-injector'

const TEMPLATE: WebhookEntry = {
  name: 'pods.credentials.run.ai',
  admissionReviewVersions: ['v1', 'v1beta1'],
  clientConfig: {
    service: { name: 'webhook', namespace: OWN, path: '/mutate/pods', port: 443 },
    caBundle: 'QQ==',
  },
  rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
  matchConditions: [{ name: 'annotated', expression: 'true' }],
  namespaceSelector: {
    matchLabels: { only: 'these' },
    matchExpressions: [
      { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['kube-system', OWN, 'left-out'] },
      { key: 'kubernetes.io/metadata.name', operator: 'In', values: ['some'] },
    ],
  },
  objectSelector: { matchLabels: { only: 'these' } },
  failurePolicy: 'Ignore',
  matchPolicy: 'Equivalent',
  reinvocationPolicy: 'IfNeeded',
  sideEffects: 'None',
  timeoutSeconds: 5,
}

const EXCLUDED = ['credential-injector', 'kube-node-lease', 'kube-public', 'kube-system', 'left-out']

function policy(name: string, spec: object = {}): StoredPolicy {
  const whole = { namespaceSelector: {}, credentials: ['a'], enforcement: 'Enforce' as const, ...spec }
  return { name, spec: whole, revision: { uid: `u-${name.replaceAll('.', '')}`, generation: 2 } }
}

function entries(policies: StoredPolicy[], more: Partial<Parameters<typeof entriesFor>[0]> = {}) {
  return entriesFor({
    policies,
    template: TEMPLATE,
    present: [],
    bundlesAreOthers: true,
    ownNamespace: OWN,
    ...more,
  })
}

test('an entry has the selectors and the failure policy of its policy, and all else of the one for annotated pods', () => {
  const podSelector = { matchLabels: { workload: 'training' } }
  const namespaceSelector = { matchLabels: { team: 'ml' } }
  expect(entries([policy('p', { podSelector, namespaceSelector, failurePolicy: 'Ignore' })])).toEqual([
    {
      name: 'p.policies.credentials.run.ai',
      admissionReviewVersions: ['v1', 'v1beta1'],
      clientConfig: {
        service: { name: 'webhook', namespace: OWN, path: '/mutate/pods/policies/p/2-u-p', port: 443 },
        caBundle: 'QQ==',
      },
      rules: TEMPLATE.rules,
      namespaceSelector: {
        matchLabels: { team: 'ml' },
        matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: EXCLUDED }],
      },
      objectSelector: podSelector,
      failurePolicy: 'Ignore',
      matchPolicy: 'Equivalent',
      reinvocationPolicy: 'IfNeeded',
      sideEffects: 'None',
      timeoutSeconds: 5,
    },
  ])
})

test('of a policy without podSelector and failurePolicy all pods, with Fail', () => {
  const [entry] = entries([policy('p')])
  expect(entry).toMatchObject({ objectSelector: {}, failurePolicy: 'Fail' })
})

test('a webhook by address is asked below it', () => {
  const clientConfig = { url: 'https://127.0.0.1:8443/mutate/pods/' }
  const [entry] = entries([policy('p')], { template: { ...TEMPLATE, clientConfig } })
  expect(entry?.clientConfig).toEqual({ url: 'https://127.0.0.1:8443/mutate/pods/policies/p/2-u-p' })
})

test('they stand in the order of their names, whatever order the policies come in', () => {
  const names = ['b', 'a.b', 'a-b', 'a']
  const [first, second] = [names, [...names].reverse()].map((all) => entries(all.map((name) => policy(name))))
  expect(first).toEqual(second)
  expect(first?.map(({ name }) => name)).toEqual(first?.map(({ name }) => name).sort())
})

describe('the bundle', () => {
  const present = [{ ...TEMPLATE, name: entryName('p'), clientConfig: { caBundle: 'Qg==' } }]
  test.each([
    ['of a new entry is the one that the webhook has, whoever keeps them', [], true, 'QQ=='],
    ['of a new entry is the one that the webhook has, if nobody keeps them', [], false, 'QQ=='],
    ['stays as others have written it', present, true, 'Qg=='],
    ['is as in the entry for annotated pods if nobody else keeps it', present, false, 'QQ=='],
  ])('%s', (_, before, bundlesAreOthers, caBundle) => {
    const [entry] = entries([policy('p')], { present: before, bundlesAreOthers })
    expect(entry?.clientConfig.caBundle).toBe(caBundle)
  })

  test('is left out while there is none', () => {
    const clientConfig = { url: 'https://127.0.0.1/' }
    const [entry] = entries([policy('p')], { template: { ...TEMPLATE, clientConfig } })
    expect(entry?.clientConfig).not.toHaveProperty('caBundle')
  })
})

describe('the name', () => {
  const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/)
  const name = fc.array(label, { minLength: 1, maxLength: 8 }).map((labels) =>
    labels
      .join('.')
      .slice(0, 253)
      .replace(/[-.]+$/, ''),
  )

  test('is one that the API server takes, and no other policy’s', () => {
    fc.assert(
      fc.property(fc.uniqueArray(name, { minLength: 2, maxLength: 5 }), (names) => {
        const made = names.map(entryName)
        expect(new Set(made).size).toBe(names.length)
        for (const one of made) {
          expect(one.length).toBeLessThanOrEqual(253)
          expect(one).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}$/)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('of two long policies that begin alike is not the same', () => {
    const [a, b] = ['a', 'b'].map((end) =>
      entryName(`${'x'.repeat(60)}.${'y'.repeat(60)}.${'z'.repeat(63)}.${'v'.repeat(60)}${end}`),
    )
    expect(a).not.toBe(b)
    expect(a).toHaveLength(253)
  })
})

test('whom a policy excludes besides is not lost, and what is empty is not there', () => {
  const requirement = { key: 'x', operator: 'Exists' as const, values: [] }
  expect(beyond({ matchLabels: {}, matchExpressions: [requirement] }, new Set(['a', 'b']))).toEqual({
    matchExpressions: [
      { key: 'x', operator: 'Exists' },
      { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['a', 'b'] },
    ],
  })
  const many = Array.from({ length: 130 }, (_, index) => `n-${index}`)
  const { matchExpressions = [] } = beyond({}, new Set(many))
  expect(matchExpressions.map(({ values }) => values?.length)).toEqual([64, 64, 2])
})

test('the cluster’s own namespaces are excluded with or without a template', () => {
  expect([...excludedBy(undefined, 'mine')].sort()).toEqual([
    'kube-node-lease',
    'kube-public',
    'kube-system',
    'mine',
  ])
  expect([...excludedBy(TEMPLATE, OWN)].sort()).toEqual(EXCLUDED)
})

test('however many namespaces are excluded, the cluster’s own and the injector’s stand in one requirement', () => {
  const many = Array.from({ length: 100 }, (_, index) => `a-${index}`)
  const matchExpressions = [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn' as const, values: many }]
  const [entry] = entries([policy('p')], {
    template: { ...TEMPLATE, namespaceSelector: { matchExpressions } },
  })
  const requirements = (entry?.namespaceSelector?.matchExpressions ?? []).map(({ values = [] }) => values)
  expect(requirements.map(({ length }) => length)).toEqual([64, 40])
  expect(requirements[0]).toEqual(
    expect.arrayContaining(['kube-system', 'kube-node-lease', 'kube-public', OWN]),
  )
  expect(requirements.flat()).toEqual(expect.arrayContaining(many))
})

test('what is there already is planned again exactly', () => {
  const policies = ['a', 'b', 'c'].map((name) => policy(name, { podSelector: { matchLabels: { x: name } } }))
  const once = entries(policies)
  const stored = JSON.parse(JSON.stringify(once))
  expect(isDeepStrictEqual(entries(policies, { present: stored }), stored)).toBe(true)
})

test('the path of an entry says which policy it is of, and which state of that', () => {
  const [{ clientConfig } = { clientConfig: {} as WebhookEntry['clientConfig'] }] = entries([
    policy('long.name'),
  ])
  const [, , , , name, revision] = String(clientConfig.service?.path).split('/')
  expect(sentBy({ policy: name, revision })).toEqual({
    policy: 'long.name',
    revision: { uid: 'u-longname', generation: 2 },
  })
})
