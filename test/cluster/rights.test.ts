/** Who may do what: the page says what the chart gives, and a real API server grants people that and no more. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { rightsPage } from '../../scripts/generate/rights.ts'
import { createKubeClient, type KubeClient, KubeError } from '../../src/kube/client.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import type { Cluster } from './kit/cluster.ts'
import { program } from './kit/programs.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { CHART, render, renderText, type Values } from './support/helm.ts'
import { apply, collection, ensureServiceAccount, type Manifest, remove } from './support/objects.ts'

// Where it is not built yet, that takes longer than a test may.
beforeAll(() => program('helm'))

test('docs/rights.md is what the chart says: npm run rights', async () => {
  const page = await rightsPage({
    schema: JSON.parse(readFileSync(`${CHART}/values.schema.json`, 'utf8')),
    values: parse(readFileSync(`${CHART}/values.yaml`, 'utf8')),
    render: (values) => renderText(values as Values),
  })
  const path = fileURLToPath(new URL('../../docs/rights.md', import.meta.url))
  expect(readFileSync(path, 'utf8')).toBe(page)
})

// ---- People ----------------------------------------------------------------------------------------------------------

const TEAM = 'rights-team'
const OTHERS = 'rights-others'

/** People are service accounts here, whose tokens are as good as anybody's. */
const PEOPLE = {
  viewer: { role: 'view', namespace: TEAM },
  editor: { role: 'edit', namespace: TEAM },
  admin: { role: 'admin', namespace: TEAM },
  platformViewer: { role: 'credential-injector-platform-view' },
  platformAdmin: { role: 'credential-injector-platform-admin' },
  stranger: undefined,
} as const

type Person = keyof typeof PEOPLE

const READ = ['get', 'list', 'watch'] as const
const WRITE = ['create', 'update', 'patch', 'delete', 'deletecollection'] as const
type Verb = (typeof READ)[number] | (typeof WRITE)[number]

/** Everything that may be asked for, and by whom it is granted. */
interface Row {
  readonly resource: 'credentials' | 'clustercredentials' | 'credentialpolicies' | 'secrets'
  readonly namespace?: string
  readonly subresource?: 'status'
  readonly verbs: readonly Verb[]
  readonly granted: readonly Person[]
}

const ROWS: readonly Row[] = [
  {
    resource: 'credentials',
    namespace: TEAM,
    verbs: READ,
    granted: ['viewer', 'editor', 'admin'],
  },
  { resource: 'credentials', namespace: TEAM, verbs: WRITE, granted: ['editor', 'admin'] },
  // What the controller says of it is nobody else's to say.
  {
    resource: 'credentials',
    namespace: TEAM,
    subresource: 'status',
    verbs: ['update', 'patch'],
    granted: [],
  },
  { resource: 'credentials', namespace: OTHERS, verbs: [...READ, ...WRITE], granted: [] },
  { resource: 'clustercredentials', verbs: READ, granted: ['platformViewer', 'platformAdmin'] },
  { resource: 'clustercredentials', verbs: WRITE, granted: ['platformAdmin'] },
  { resource: 'clustercredentials', subresource: 'status', verbs: ['update', 'patch'], granted: [] },
  { resource: 'credentialpolicies', verbs: READ, granted: ['platformViewer', 'platformAdmin'] },
  { resource: 'credentialpolicies', verbs: WRITE, granted: ['platformAdmin'] },
  { resource: 'credentialpolicies', subresource: 'status', verbs: ['update', 'patch'], granted: [] },
  // Kubernetes' own roles; ours add nothing to them.
  { resource: 'secrets', namespace: TEAM, verbs: READ, granted: ['editor', 'admin'] },
  { resource: 'secrets', namespace: OTHERS, verbs: READ, granted: [] },
]

const KINDS = {
  credentials: 'Credential',
  clustercredentials: 'ClusterCredential',
  credentialpolicies: 'CredentialPolicy',
  secrets: 'Secret',
} as const

const SELF_REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
const NAME = 'of-the-rights'
const CREDENTIAL_SPEC = { secretRef: { name: 'a' }, type: 'environment' }

function objectOf(resource: Row['resource'], namespace: string | undefined, name = NAME): Manifest {
  const metadata = { name, ...(namespace && { namespace }) }
  const kind = KINDS[resource]
  if (resource === 'secrets') return { apiVersion: 'v1', kind, metadata, stringData: { a: 'bb' } }
  const spec = resource === 'credentialpolicies' ? POLICY_SPEC : CREDENTIAL_SPEC
  return { apiVersion: 'run.ai/v1', kind, metadata, spec }
}

const POLICY_SPEC = {
  namespaceSelector: { matchLabels: { nobody: 'has-this' } },
  credentials: ['a'],
  enforcement: 'Default',
  failurePolicy: 'Ignore',
}

describe('on a real API server', () => {
  let cluster: Cluster
  let roles: Manifest[]
  const clients = new Map<Person, KubeClient>()
  const places = [
    ['credentials', TEAM],
    ['credentials', OTHERS],
    ['secrets', TEAM],
    ['secrets', OTHERS],
    ['clustercredentials', undefined],
    ['credentialpolicies', undefined],
  ] as const

  beforeAll(async () => {
    cluster = sharedCluster()
    await installCrds(cluster.client)
    for (const namespace of [TEAM, OTHERS]) await cluster.createNamespace(namespace)
    roles = (await render({})).of('ClusterRole').filter(({ metadata }) => isForPeople(metadata.name))
    expect(roles).toHaveLength(4)
    await cluster.kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: roles }),
    )
    for (const [resource, namespace] of places) await apply(cluster.client, objectOf(resource, namespace))
    for (const person of Object.keys(PEOPLE) as Person[]) await letIn(person)
    await granted()
  })

  afterAll(async () => {
    for (const client of clients.values()) client.close()
    for (const [resource, namespace] of places) await remove(cluster.client, objectOf(resource, namespace))
    await cluster.kubectl(['delete', 'clusterrole', ...roles.map(({ metadata }) => metadata.name)])
    await cluster.kubectl(['delete', 'clusterrolebinding', '-l', 'rights=yes'])
    await cluster.kubectl(['delete', 'namespace', TEAM, OTHERS, '--wait=false'])
  })

  const isForPeople = (name: string) => /-(view|edit|platform-view|platform-admin)$/.test(name)

  async function letIn(person: Person): Promise<void> {
    const account = person.toLowerCase()
    await ensureServiceAccount(cluster.client, TEAM, account)
    const where: { role: string; namespace?: string } | undefined = PEOPLE[person]
    if (where) {
      const kind = where.namespace ? 'RoleBinding' : 'ClusterRoleBinding'
      const binding = {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind,
        metadata: { name: `rights-${account}`, namespace: where.namespace, labels: { rights: 'yes' } },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: where.role },
        subjects: [{ kind: 'ServiceAccount', name: account, namespace: TEAM }],
      }
      await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(binding))
    }
    const token = await cluster.tokenFor(account, TEAM)
    clients.set(person, createKubeClient({ server: cluster.url, ca: cluster.caData, token: () => token }))
  }

  /** Aggregation is a controller's work, and the authorizer hears of roles and bindings by watches. */
  async function granted(): Promise<void> {
    for (const role of ['view', 'edit', 'admin'])
      await whenObject<any>(
        cluster.client,
        '/apis/rbac.authorization.k8s.io/v1/clusterroles',
        role,
        ({ rules }) => JSON.stringify(rules).includes('run.ai'),
      )
    for (const { granted, verbs, ...what } of ROWS)
      for (const person of granted)
        await eventually(`${person} may ${verbs[0]} ${what.resource}`, () =>
          mayBySelfReview(person, verbs[0] as Verb, what),
        )
  }

  type What = Omit<Row, 'verbs' | 'granted'>

  async function mayBySelfReview(person: Person, verb: Verb, what: What): Promise<boolean> {
    const { resource, namespace, subresource } = what
    const group = resource === 'secrets' ? '' : 'run.ai'
    const { status } = await client(person).create<any>(SELF_REVIEWS, {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb, group, resource, namespace, subresource } },
    })
    return status.allowed
  }

  const client = (person: Person) => clients.get(person) as KubeClient

  /** Tries it; what would change something is a dry run, for which the same right is asked. */
  async function mayInFact(person: Person, verb: Verb, what: What): Promise<boolean> {
    try {
      await tryTo(client(person), verb, what)
      return true
    } catch (error) {
      if (error instanceof KubeError && error.status === 403) return false
      throw error
    }
  }

  async function tryTo(
    who: KubeClient,
    verb: Verb,
    { resource, namespace, subresource }: What,
  ): Promise<void> {
    const all = collection(KINDS[resource], namespace)
    const one = `${all}/${NAME}${subresource ? `/${subresource}` : ''}`
    switch (verb) {
      case 'get':
        return void (await who.get(one))
      case 'list':
        return void (await who.get(all))
      case 'watch':
        return void (await who.stream(`${all}?watch=true`).next())
      case 'create':
        return void (await who.create(`${all}?dryRun=All`, objectOf(resource, namespace, 'new')))
      case 'update':
        return void (await who.replace(`${one}?dryRun=All`, await cluster.client.get<object>(one)))
      case 'patch':
        return void (await who.patch(`${one}?dryRun=All`, 'application/merge-patch+json', { metadata: {} }))
      case 'delete':
        return who.delete(`${one}?dryRun=All`)
      case 'deletecollection':
        return who.delete(`${all}?dryRun=All`)
    }
  }

  const questions = ROWS.flatMap(({ verbs, granted, ...what }) =>
    verbs.map((verb) => ({ verb, what, granted })),
  )
  const sentence = ({ verb, what: { resource, subresource, namespace } }: (typeof questions)[number]) =>
    `${verb} ${resource}${subresource ? `/${subresource}` : ''}${namespace ? ` in ${namespace}` : ''}`

  test.each(questions.map((question) => [sentence(question), question] as const))(
    'who may %s',
    async (_, { verb, what, granted }) => {
      const people = Object.keys(PEOPLE) as Person[]
      const answers = await Promise.all(
        people.map(async (person) => [
          person,
          await mayBySelfReview(person, verb, what),
          await mayInFact(person, verb, what),
        ]),
      )
      expect(answers).toEqual(
        people.map((person) => [person, granted.includes(person), granted.includes(person)]),
      )
    },
  )

  test('a status that somebody writes with the object does not become its status', async () => {
    const forged = {
      conditions: [{ type: 'Ready', status: 'True', reason: 'SecretFound', message: 'forged' }],
    }
    const stored = await client('editor').create<any>(collection('Credential', TEAM), {
      ...objectOf('credentials', TEAM, 'with-a-status'),
      status: forged,
    })
    expect(stored.status).toBeUndefined()
    await client('editor').delete(`${collection('Credential', TEAM)}/with-a-status`)
  })

  test.each([
    ['admissionregistration.k8s.io', 'mutatingwebhookconfigurations'],
    ['admissionregistration.k8s.io', 'validatingwebhookconfigurations'],
    ['admissionregistration.k8s.io', 'validatingadmissionpolicies'],
    ['admissionregistration.k8s.io', 'validatingadmissionpolicybindings'],
    ['apiextensions.k8s.io', 'customresourcedefinitions'],
    ['', 'namespaces'],
  ])('nobody of them may change what decides about injection: %s %s', async (group, resource) => {
    for (const person of Object.keys(PEOPLE) as Person[])
      for (const verb of WRITE) {
        const { status } = await client(person).create<any>(SELF_REVIEWS, {
          spec: { resourceAttributes: { verb, group, resource } },
        })
        expect(status.allowed, `${person} ${verb}`).toBe(false)
      }
  })

  test('nobody of them may give the platform’s roles to himself', async () => {
    const binding = (namespace?: string) => ({
      metadata: { name: 'mine' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'credential-injector-platform-admin',
      },
      subjects: [{ kind: 'ServiceAccount', name: 'admin', namespace: TEAM }],
      ...(namespace && { namespace }),
    })
    const rbac = '/apis/rbac.authorization.k8s.io/v1'
    for (const person of ['editor', 'admin', 'platformAdmin'] as const)
      for (const path of [`${rbac}/clusterrolebindings`, `${rbac}/namespaces/${TEAM}/rolebindings`])
        await expect(client(person).create(`${path}?dryRun=All`, binding()), person).rejects.toMatchObject({
          status: 403,
        })
  })
})
