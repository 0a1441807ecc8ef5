/**
 * docs/rights.md: who of the product has which right, and why, as the chart's templates say it. The comment above a rule is its
 * reason; a rule without one is an error. Which values a right comes and goes with is found out by trying: each switch of the chart
 * is turned once, and what is different then belongs to it.
 */
import { type Document, isMap, isScalar, isSeq, parseAllDocuments, type YAMLMap } from 'yaml'

/** What helm prints for these values. Rejects where the chart refuses them. */
export type Render = (values: object) => Promise<string>

export interface ChartSource {
  readonly render: Render
  /** The chart's values.schema.json, parsed. */
  readonly schema: Schema
  /** Its values.yaml, parsed. */
  readonly values: Values
}

type Values = Readonly<Record<string, unknown>>

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly type?: unknown
  readonly enum?: readonly unknown[]
}

interface Rule {
  readonly kind: string
  /** Of the role that it stands in. */
  readonly role: string
  readonly resources: string
  readonly names: string
  readonly verbs: string
  readonly why: string
}

/** A rendering, as far as rights are concerned. */
interface Rights {
  /** By what it says. */
  readonly rules: ReadonlyMap<string, Rule>
  /** Roles by the service account that has them; `''` for those that nobody is bound to. */
  readonly holders: ReadonlyMap<string, readonly string[]>
  readonly pods: readonly PodRights[]
}

interface PodRights {
  readonly name: string
  readonly account: string | undefined
  readonly hasToken: boolean
  readonly secrets: readonly string[]
}

export async function rightsPage({ render, schema, values }: ChartSource): Promise<string> {
  const base = rightsIn(await render({}))
  const switches = switchesOf(schema, values)
  const conditions = new Map<string, string[]>()
  const rules = new Map(base.rules)
  for (const { label, values } of switches) {
    const turned = rightsIn(await render(values))
    for (const [key, rule] of turned.rules) {
      if (base.rules.has(key)) continue
      rules.set(key, rule)
      note(conditions, key, `with \`${label}\``)
    }
    for (const key of base.rules.keys())
      if (!turned.rules.has(key)) note(conditions, key, `not with \`${label}\``)
  }
  await refuseUnseen(render, switches, rules)
  return page(
    base,
    [...rules].map(([key, rule]) => ({ ...rule, when: conditions.get(key) ?? [] })),
  )
}

/** A right that takes two values together would be missing on the page. */
async function refuseUnseen(
  render: Render,
  switches: readonly Switch[],
  seen: ReadonlyMap<string, Rule>,
): Promise<void> {
  const everything = switches.filter(({ isOn }) => isOn)
  const { rules } = rightsIn(await render(everything.reduce((all, { values }) => merged(all, values), {})))
  for (const [key, rule] of rules)
    if (!seen.has(key))
      throw new Error(
        `${rule.kind} ${rule.role} has a rule for ${rule.resources} that no single value brings: scripts/generate/rights.ts does not know when it is there.`,
      )
}

function note(conditions: Map<string, string[]>, key: string, condition: string): void {
  conditions.set(key, [...(conditions.get(key) ?? []), condition])
}

// ---- Switches --------------------------------------------------------------------------------------------------------

interface Switch {
  /** `workloadCheck.enabled=false` */
  readonly label: string
  readonly values: object
  /** It adds something, rather than taking it away: to be turned together with all others. */
  readonly isOn: boolean
}

/** What a value is of no use without. */
const NEEDED: Readonly<Record<string, object>> = {
  'certificates.mode=existing': {
    certificates: {
      existing: { secretName: 'own-tls', caBundle: 'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==' },
    },
  },
}

/** Every value of the chart that is a switch, in each position that is not its default. */
function switchesOf(schema: Schema, defaults: Values, path: readonly string[] = []): Switch[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, child]) => {
    const at = [...path, key]
    const value = defaults[key]
    if (child.properties) return switchesOf(child, (value ?? {}) as Values, at)
    return positionsOf(child)
      .filter((position) => position !== value)
      .map((position) => {
        const label = `${at.join('.')}=${position}`
        const values = at.reduceRight<unknown>((value, name) => ({ [name]: value }), position) as object
        // Of several choices one can be made at a time; the product's own way of doing it has the most rights.
        const isOn = position === true || position === 'selfManaged'
        return { label, values: merged(values, NEEDED[label] ?? {}), isOn }
      })
  })
}

function positionsOf({ type, enum: choices }: Schema): readonly unknown[] {
  return type === 'boolean' ? [true, false] : (choices ?? [])
}

function merged(left: object, right: object): object {
  const result: Record<string, unknown> = { ...left }
  for (const [key, value] of Object.entries(right)) {
    const own = result[key]
    result[key] = isObject(own) && isObject(value) ? merged(own, value) : value
  }
  return result
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// ---- Manifests -------------------------------------------------------------------------------------------------------

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly roleRef?: { readonly kind: string; readonly name: string }
  readonly subjects?: readonly { readonly name: string }[]
  readonly spec?: PodSpec & { readonly template?: { readonly spec: PodSpec } }
}

interface PodSpec {
  readonly serviceAccountName?: string
  readonly automountServiceAccountToken?: boolean
  readonly volumes?: readonly (Source & { readonly projected?: { readonly sources: readonly Source[] } })[]
}

interface Source {
  readonly secret?: {
    readonly secretName?: string
    readonly name?: string
    readonly items?: readonly { readonly key: string }[]
  }
  readonly serviceAccountToken?: object
}

function rightsIn(manifests: string): Rights {
  const rules = new Map<string, Rule>()
  const holders = new Map<string, string[]>([['', []]])
  const pods: PodRights[] = []
  const bound = new Set<string>()
  const documents = parseAllDocuments(manifests) as Document[]
  for (const document of documents) {
    const object = document.toJS() as Manifest | null
    if (object === null) continue
    if (isRole(object.kind)) for (const rule of rulesOf(document)) rules.set(JSON.stringify(rule), rule)
    const { roleRef, subjects = [], spec } = object
    if (roleRef) {
      const role = `${roleRef.kind} ${roleRef.name}`
      bound.add(role)
      for (const { name } of subjects) holders.set(name, [...(holders.get(name) ?? []), role])
    }
    const podSpec = object.kind === 'Pod' ? spec : spec?.template?.spec
    if (podSpec) pods.push(podRights(object.metadata.name, podSpec))
  }
  const unbound = [...new Set([...rules.values()].map(({ kind, role }) => `${kind} ${role}`))].filter(
    (role) => !bound.has(role),
  )
  holders.set('', unbound)
  return { rules, holders, pods }
}

const isRole = (kind: unknown) => kind === 'ClusterRole' || kind === 'Role'

function rulesOf(document: Document): Rule[] {
  const { kind, metadata } = document.toJS() as { kind: string; metadata: { name: string } }
  const list = document.get('rules')
  if (!isSeq(list)) return []
  return list.items.map((item, index) => {
    if (!isMap(item)) throw new Error(`${kind} ${metadata.name} has a rule that is no map.`)
    const rule = item.toJS(document) as Record<string, string[]>
    // The comment above the first one is taken for the list's.
    const comment = item.commentBefore ?? (index === 0 ? list.commentBefore : undefined)
    const why = comment ?? keyComment(item)
    const resources = (rule.resources ?? []).map((name) => named(rule.apiGroups ?? [], name)).join(', ')
    if (!why?.trim())
      throw new Error(
        `${kind} ${metadata.name} has a rule for ${resources} without a reason: write it above the rule in the template, as a comment that begins with #.`,
      )
    return {
      kind,
      role: metadata.name,
      resources: resources || (rule.nonResourceURLs ?? []).map(code).join(', '),
      names: (rule.resourceNames ?? []).map(code).join(', '),
      verbs: (rule.verbs ?? []).join(', '),
      why: why.replace(/\s*\n\s*/g, ' ').trim(),
    }
  })
}

function keyComment(item: YAMLMap): string | undefined {
  const key = item.items[0]?.key
  return isScalar(key) ? (key.commentBefore ?? undefined) : undefined
}

/** `secrets`, `credentials.run.ai`, `credentials.run.ai/status` */
function named(groups: readonly string[], resource: string): string {
  const [plain, subresource] = resource.split('/')
  return groups
    .map((group) => code(`${plain}${group ? `.${group}` : ''}${subresource ? `/${subresource}` : ''}`))
    .join(', ')
}

function podRights(name: string, spec: PodSpec): PodRights {
  const { serviceAccountName: account, automountServiceAccountToken, volumes = [] } = spec
  const sources = volumes.flatMap((volume) => volume.projected?.sources ?? [volume])
  const hasToken =
    automountServiceAccountToken !== false || sources.some((source) => 'serviceAccountToken' in source)
  return { name, account, hasToken, secrets: sources.flatMap(secretsIn) }
}

function secretsIn({ secret }: Source): string[] {
  if (!secret) return []
  const keys = (secret.items ?? []).map(({ key }) => code(key)).join(', ')
  return [`${code(String(secret.secretName ?? secret.name))}${keys ? ` (${keys})` : ''}`]
}

// ---- The page --------------------------------------------------------------------------------------------------------

type ListedRule = Rule & { readonly when: readonly string[] }

function page(base: Rights, rules: readonly ListedRule[]): string {
  const accounts = [...base.holders].filter(([account]) => account !== '')
  const parts = accounts.map(([account, roles]) => {
    const pods = base.pods.filter((pod) => pod.account === account)
    return `## ${account}\n\n${pods.map(mounted).join('\n\n')}\n\n${roles.map((role) => section(role, rules)).join('\n\n')}`
  })
  const others = base.pods.filter(({ account }) => account === undefined)
  return `<!-- Made from the chart's templates by \`npm run rights\`; change the rules and the comments above them there. -->

# Who may do what

Every right that the chart gives to a part of the product or to people, and what it is for. Names are those of the release
\`credential-injector\`; no rule has a wildcard. The last column says which values of the chart a right depends on.

${parts.join('\n\n')}

## helm test

${others.map(withoutAccount).join('\n\n')}

## Roles for people

These are bound to nobody by the chart. \`…-view\` and \`…-edit\` are part of the cluster's own roles \`view\`, \`edit\` and \`admin\` by
aggregation; the platform roles are for whom you bind to them. None of them may write a status.

${(base.holders.get('') ?? []).map((role) => `### ${role}\n\n${table(role, rules)}`).join('\n\n')}
`
}

function mounted({ name, hasToken, secrets }: PodRights): string {
  const token = hasToken ? 'have its token' : 'have no token'
  const files =
    secrets.length > 0 ? `, and as files of Secrets ${secrets.join(', ')}` : ', and no Secret as files'
  return `Pods of \`${name}\` ${token}${files}.`
}

function withoutAccount({ name, hasToken, secrets }: PodRights): string {
  const token = hasToken
    ? 'has the token of its namespace’s default service account'
    : 'has no token, so no right at all'
  return `The pod \`${name}\` ${token}. ${secrets.length > 0 ? `Of Secrets it sees ${secrets.join(', ')}.` : ''}`.trim()
}

const SCOPES: Readonly<Record<string, string>> = {
  ClusterRole: 'In the whole cluster',
  Role: 'In the injector’s own namespace only',
}

function section(role: string, rules: readonly ListedRule[]): string {
  const [kind = ''] = role.split(' ')
  return `${SCOPES[kind]} (${kind} \`${role.slice(kind.length + 1)}\`):\n\n${table(role, rules)}`
}

function table(role: string, rules: readonly ListedRule[]): string {
  const own = rules.filter((rule) => `${rule.kind} ${rule.role}` === role)
  const rows = own.map(
    ({ resources, names, verbs, why, when }) =>
      `| ${resources} | ${names || 'any'} | ${verbs} | ${cell(why)} | ${when.join('; ') || 'always'} |`,
  )
  return ['| resources | by name | may | why | when |', '|---|---|---|---|---|', ...rows].join('\n')
}

function code(text: string): string {
  return `\`${text}\``
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
