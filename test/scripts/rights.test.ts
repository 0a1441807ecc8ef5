/** The generator of docs/rights.md, on a chart of a few lines. That the page is that of the real chart is tested where helm is. */
import { expect, test } from 'vitest'
import { rightsPage } from '../../scripts/generate/rights.ts'

const rule = (resource: string, why: string, verbs = '[get]') =>
  `${why && `  # ${why}\n`}  - apiGroups: ['']\n    resources: [${resource}]\n    verbs: ${verbs}\n`

const role = (name: string, ...rules: string[]) =>
  `apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: ${name} }\nrules:\n${rules.join('')}---\n`

const BINDING = `kind: ClusterRoleBinding
metadata: { name: part }
roleRef: { kind: ClusterRole, name: part }
subjects: [{ kind: ServiceAccount, name: part, namespace: own }]
---
`

const SCHEMA = {
  properties: {
    nested: { properties: { isOn: { type: 'boolean' } } },
    mode: { enum: ['plain', 'selfManaged'] },
    name: { type: 'string' },
  },
}
const VALUES = { nested: { isOn: true }, mode: 'plain', name: 'x' }

/** Renders what a chart would: `chart` says which rules the values bring. */
const pageOf = (chart: (values: any) => string) =>
  rightsPage({ schema: SCHEMA, values: VALUES, render: async (values) => chart(values) })

const rows = (page: string) => page.split('\n').filter((line) => line.startsWith('| `'))

test('a rule stands there with its reason, for whoever has it', async () => {
  const page = await pageOf(
    () => role('part', rule('pods', 'To count them.'), rule('nodes', 'One\n  # and two.')) + BINDING,
  )

  expect(rows(page)).toEqual([
    '| `pods` | any | get | To count them. | always |',
    '| `nodes` | any | get | One and two. | always |',
  ])
  expect(page.indexOf('## part')).toBeLessThan(page.indexOf('To count them.'))
  expect(page.indexOf('To count them.')).toBeLessThan(page.indexOf('## Roles for people'))
})

test('a role that nobody is bound to is one for people', async () => {
  const page = await pageOf(() => role('view', rule('pods', 'To see them.')))
  expect(page.indexOf('### ClusterRole view')).toBeGreaterThan(page.indexOf('## Roles for people'))
})

test('the values that a rule comes and goes with are found out', async () => {
  const page = await pageOf(
    ({ nested, mode }) =>
      role(
        'part',
        rule('pods', 'A.'),
        nested?.isOn === false ? '' : rule('nodes', 'B.'),
        mode === 'selfManaged' ? rule('secrets', 'C.') : '',
      ) + BINDING,
  )

  expect(rows(page)).toEqual([
    '| `pods` | any | get | A. | always |',
    '| `nodes` | any | get | B. | not with `nested.isOn=false` |',
    '| `secrets` | any | get | C. | with `mode=selfManaged` |',
  ])
})

test('a rule without a reason is an error that says what to do, the first one too', async () => {
  for (const rules of [
    [rule('pods', 'A.'), rule('nodes', '')],
    [rule('nodes', ''), rule('pods', 'A.')],
  ])
    await expect(pageOf(() => role('part', ...rules) + BINDING)).rejects.toThrow(
      'ClusterRole part has a rule for `nodes` without a reason: write it above the rule in the template, as a comment that begins with #.',
    )
})

test('a rule that takes two values together is not forgotten', async () => {
  const schema = { properties: { a: { type: 'boolean' }, b: { type: 'boolean' } } }
  const render = async ({ a, b }: any) =>
    role('part', rule('pods', 'A.'), a && b ? rule('nodes', 'B.') : '') + BINDING
  await expect(rightsPage({ schema, values: { a: false, b: false }, render })).rejects.toThrow(
    'ClusterRole part has a rule for `nodes` that no single value brings',
  )
})
