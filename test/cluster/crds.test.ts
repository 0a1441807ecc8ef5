/**
 * The CRDs in a real API server: what it takes, what it refuses, and that it does so in the words that a folder catalogue
 * has for the same manifest; columns, explanations and status as kubectl shows them.
 */
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { isKind, type Kind, validateManifest } from '../../src/api/validate.ts'
import { KubeError } from '../../src/kube/client.ts'
import { manifests } from '../support/manifest-arbitrary.ts'
import { credential, file, RIGHT, type Row, WRONG } from '../support/manifest-table.ts'
import { installCrds } from './install-crds.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'

/** The namespace of the table's manifests. */
const NAMESPACE = 'team'

// Of its own: what others leave behind has the names of the fixtures too.
let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster()
  await installCrds(cluster.client)
  await cluster.kubectl(['apply', '-f', '-'], namespaceYaml(NAMESPACE))
})
afterAll(() => cluster.stop())

// ---- Wrong manifests -------------------------------------------------------------------------------------------------

/**
 * Where an API server cannot say what a folder does: the words of its JSON decoder, of the path that the manifest is sent
 * to, and of what it does not check once something else is wrong.
 */
const OTHERWISE: Readonly<Record<string, RegExp | 'accepted'>> = {
  'not an object': /cannot unmarshal string into Go value/,
  'no apiVersion':
    /^the API version in the data \(\) does not match the expected API version \(run\.ai\/v1\)$/,
  'no kind': /Object 'Kind' is missing/,
  'a kind that is no text': /cannot unmarshal number into Go struct field \.kind of type string/,
  'another version': /^Credential in version "v2" cannot be handled as a Credential/,
  'a misspelt kind':
    /^Credental\.run\.ai "a" is invalid: kind: Invalid value: "Credental": must be Credential$/,
  'a kind that every object inherits':
    /^toString\.run\.ai "a" is invalid: kind: Invalid value: "toString": must be Credential$/,
  'metadata that is a list': /cannot unmarshal array into Go value of type v1\.ObjectMeta$/,
  'a name that is a number': /cannot unmarshal number into Go struct field ObjectMeta\.name of type string$/,
  'a label that is no text': /cannot unmarshal bool into Go struct field ObjectMeta\.labels of type string$/,
  'labels that are a list':
    /cannot unmarshal array into Go struct field ObjectMeta\.labels of type map\[string\]string$/,
  'a name that is still to be made': 'accepted',
  'a namespace with a dot':
    /^the namespace of the provided object does not match the namespace sent on the request$/,
  'a namespace with capitals':
    /^the namespace of the provided object does not match the namespace sent on the request$/,
  'a namespace that is too long':
    /^the namespace of the provided object does not match the namespace sent on the request$/,
  // It runs no rule at all over an object that has a value of the wrong type.
  'rules wait for the values that they read, not for others':
    /^Credential\.run\.ai "a" is invalid: \[spec\.description: Invalid value: "integer": spec\.description in body must be of type string: "integer", <nil>: /,
}

const COMPARED = WRONG.filter(([title]) => !(title in OTHERWISE))

test('enough manifests are compared word for word, and every exception is one', () => {
  expect(COMPARED.length).toBeGreaterThan(80)
  const titles = WRONG.map(([title]) => title)
  expect(Object.keys(OTHERWISE).filter((title) => !titles.includes(title))).toEqual([])
})

describe('refused in the words of a folder', () => {
  test.each(COMPARED)('%s', async (_title, manifest, ...sentences) => {
    const unknownFields = sentences.filter(isUnknownField)
    const others = sentences.filter((sentence) => !isUnknownField(sentence))
    if (unknownFields.length > 0) {
      // Strict decoding comes first and knows no suggestions.
      const expected = unknownFields.map((sentence) => sentence.replace(/; did you mean .*$/, ''))
      expect(restOf(await refusal(manifest), expected)).toBe('')
    }
    if (others.length > 0) {
      const validation = unknownFields.length > 0 ? 'Ignore' : 'Strict'
      expect(restOf(await refusal(manifest, validation), others)).toBe('')
    }
  })
})

describe('refused in other words, by nature', () => {
  test.each(WRONG.filter(([title]) => title in OTHERWISE))('%s', async (title, manifest) => {
    const expected = OTHERWISE[title] as RegExp | 'accepted'
    if (expected === 'accepted') await post(manifest)
    else expect(await refusal(manifest)).toMatch(expected)
  })

  test.each(['another version', 'a misspelt kind'])(
    'kubectl has the folder’s words for %s',
    async (title) => {
      const [, manifest, sentence = ''] = WRONG.find((row) => row[0] === title) as Row
      const { code, stderr } = await cluster.tryKubectl(['create', '-f', '-'], JSON.stringify(manifest))
      expect(code).toBe(1)
      expect(stderr).toContain(sentence.replace(/; .*$/, ''))
    },
  )
})

test('kubectl shows a line for each fault', async () => {
  const { code, stderr } = await cluster.tryKubectl(
    ['apply', '-f', '-'],
    JSON.stringify(file({ mountPath: 'root/.ssh', registry: 'docker.io' })),
  )
  expect(code).toBe(1)
  expect(stderr).toContain(`The Credential "a" is invalid:`)
  expect(stderr.match(/^\* .*$/gm)?.sort()).toEqual([
    '* spec.mountPath: Invalid value: "root/.ssh": mountPath must be absolute: write it from the root, such as /root/.ssh',
    '* spec.registry: Forbidden: registry goes with type dockerRegistry only',
  ])
})

test('without strict validation an unknown field is dropped, not stored', async () => {
  const made = await post(credential({ foo: 1, secretRef: { name: 'secret', namespace: 'other' } }), 'Warn')
  expect(made.spec).toEqual({ secretRef: { name: 'secret' }, type: 'environment' })
})

const isUnknownField = (sentence: string) => sentence.startsWith('unknown field ')

/** What an API server says besides these sentences: the empty text if nothing. */
function restOf(message: string, sentences: readonly string[], mayLeaveOut = false): string {
  let rest = message.replace(INVALID, '').replace(UNDECODABLE, '').replace(NOT_CHECKED, '')
  // The longest first: one may be the beginning of another.
  for (const sentence of [...sentences].sort((a, b) => b.length - a.length)) {
    if (!rest.includes(sentence) && !mayLeaveOut) return `without "${sentence}": ${message}`
    rest = rest.replace(sentence, () => '')
  }
  return rest.replace(/^\[?(, )*\]?$/, '')
}

const INVALID = /^\S+ ".*?" is invalid: /s
const UNDECODABLE = /^\S+ in version "v1" cannot be handled as a \S+: strict decoding error: /
const NOT_CHECKED =
  '<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation'

test('of many random manifests a folder and an API server take the same, and say the same', async () => {
  const differences: string[] = []
  let taken = 0
  for (const manifest of fc.sample(manifests, { numRuns: 600, seed: 20261124 })) {
    const sentences = validateManifest(manifest).map(({ message }) => message)
    const strict = await refusal(manifest)
    if (strict === ACCEPTED) taken++
    if ((sentences.length === 0) !== (strict === ACCEPTED))
      differences.push(`${JSON.stringify(manifest)}: ${strict}`)
    // With strict validation it says nothing else where fields are unknown.
    const others = sentences.filter((sentence) => !isUnknownField(sentence))
    const said = await refusal(manifest, 'Ignore')
    const rest =
      others.length === 0 && said === ACCEPTED ? '' : restOf(said, others, said.includes(NOT_CHECKED))
    if (rest !== '') differences.push(`${JSON.stringify(manifest)}: ${rest}`)
  }
  expect(differences).toEqual([])
  expect(taken).toBeGreaterThan(100)
})

// ---- Right manifests -------------------------------------------------------------------------------------------------

describe('accepted', () => {
  test.each(RIGHT)('%s', async (_title, manifest) => {
    await post(manifest)
  })

  test('the manifest of the documentation, as it stands there', async () => {
    const said = await cluster.kubectl(['apply', '--validate=strict', '-f', '-'], DOCUMENTED)
    expect(said).toBe('credential.run.ai/wandb-credentials created\n')
  })

  test('the example catalogue', async () => {
    // The injector's own holds the secrets of ClusterCredentials; an installation makes it.
    await cluster.kubectl(['apply', '-f', '-'], namespaceYaml('credential-injector'))
    await cluster.kubectl(['apply', '--validate=strict', '-f', 'examples/catalog/namespaces.yaml'])
    const said = await cluster.kubectl([
      'apply',
      '--dry-run=server',
      '--validate=strict',
      '--recursive',
      '-f',
      'examples/catalog',
    ])
    expect(said.match(/^credential\.run\.ai\/\S+ created \(server dry run\)$/gm)?.length).toBeGreaterThan(12)
    expect(said).toMatch(/^clustercredential\.run\.ai\/\S+ /m)
    expect(said).toMatch(/^credentialpolicy\.run\.ai\/\S+ /m)
  })
})

const DOCUMENTED = `apiVersion: run.ai/v1
kind: Credential
metadata:
  name: wandb-credentials
  namespace: ${NAMESPACE}
spec:
  secretRef:
    name: wandb-secret
  type: environment
`

const FIXTURES = readdirSync('fixtures/inject').flatMap((name) =>
  manifestsIn(`fixtures/inject/${name}`).map(({ manifest, file }) => ({ file, manifest })),
)

test('a folder and an API server take the same of all that stands in the fixtures, and add only defaults', async () => {
  const namespaces = [...new Set(FIXTURES.map(({ manifest }) => manifest.metadata?.namespace ?? 'default'))]
  await cluster.kubectl(['apply', '-f', '-'], namespaces.map(namespaceYaml).join('---\n'))
  const differences: string[] = []
  let taken = 0
  for (const { file, manifest } of FIXTURES) {
    const right = validateManifest(manifest).length === 0
    const made = await post(manifest).catch((error: KubeError) => error)
    if (right === made instanceof KubeError) differences.push(`${file}: ${JSON.stringify(made)}`)
    if (made instanceof KubeError) continue
    expect(made.spec, file).toEqual(withDefaults(manifest))
    taken++
  }
  expect(differences).toEqual([])
  expect(taken).toBeGreaterThan(200)
})

interface Manifest {
  readonly kind: Kind
  readonly metadata?: { readonly namespace?: string }
  readonly spec: Record<string, any>
}

function manifestsIn(folder: string): { file: string; manifest: Manifest }[] {
  const files = readdirSync(folder).filter((name) => name.startsWith('catalog'))
  return files.flatMap((name) => {
    const file = `${folder}/${name}`
    const documents = parseAllDocuments(readFileSync(file, 'utf8'))
    if (documents.some(({ errors }) => errors.length > 0)) return []
    return documents
      .map((document) => document.toJS())
      .filter((value) => value !== null && isKind(value.kind))
      .map((manifest) => ({ file, manifest }))
  })
}

function withDefaults({ kind, spec }: Manifest): object {
  if (kind === 'CredentialPolicy') return { failurePolicy: 'Fail', ...spec }
  return { ...spec, ...(spec.rotation && { rotation: { restart: 'Never', ...spec.rotation } }) }
}

// ---- kubectl ---------------------------------------------------------------------------------------------------------

describe('kubectl shows', () => {
  const status = {
    observedGeneration: 1,
    conditions: [
      {
        type: 'Ready',
        status: 'True',
        reason: 'SecretFound',
        message: 'Secret columns has all keys.',
        observedGeneration: 1,
        lastTransitionTime: '2026-11-24T12:00:00Z',
      },
      {
        type: 'Healthy',
        status: 'False',
        reason: 'TrailingNewline',
        message: 'A value ends in a line break.',
        lastTransitionTime: '2026-11-24T12:00:00Z',
      },
    ],
    keys: ['WANDB_API_KEY'],
    revision: '5f1c',
    usedBy: { pods: 3, workloads: 1, names: ['Deployment/notebook'] },
    lastRotated: '2026-11-24T12:00:00Z',
  }
  const spec = {
    secretRef: { name: 'columns-secret' },
    type: 'environment',
    service: 'wandb',
    expiresAt: '2030-01-02T03:04:05Z',
    description: 'For the tests.',
  }

  test('the columns of a Credential; a status changes no generation and no spec', async () => {
    const path = `/apis/run.ai/v1/namespaces/${NAMESPACE}/credentials`
    const made = await cluster.client.create<Stored>(path, object('Credential', 'columns', spec, { status }))
    expect(made).not.toHaveProperty('status')
    const { metadata, ...patched } = await cluster.client.patch<Stored>(
      `${path}/columns/status?fieldValidation=Strict`,
      'application/merge-patch+json',
      { status, spec: { type: 'file' } },
    )
    expect(metadata.generation).toBe(made.metadata.generation)
    expect(patched).toMatchObject({ spec, status })
    expect(await columns('credential', 'columns')).toEqual([
      'NAME      TYPE          SECRET           READY   USED BY   AGE',
      expect.stringMatching(/^columns {3}environment {3}columns-secret {3}True {4}3 {9}\d+s$/),
    ])
    expect(await columns('cred', 'columns', '-o', 'wide')).toEqual([
      expect.stringMatching(/^NAME +TYPE +SECRET +READY +USED BY +AGE +SERVICE +EXPIRES +DESCRIPTION$/),
      expect.stringMatching(/ +\d+s +wandb +2030-01-02T03:04:05Z +For the tests\.$/),
    ])
  })

  test('the columns of a ClusterCredential', async () => {
    const path = '/apis/run.ai/v1/clustercredentials'
    await cluster.client.create(path, object('ClusterCredential', 'columns', spec))
    const failedNamespaces = [{ namespace: 'a', reason: 'NotOurs', message: 'There is another Secret.' }]
    await cluster.client.patch(
      `${path}/columns/status?fieldValidation=Strict`,
      'application/merge-patch+json',
      { status: { ...status, namespaces: 7, failedNamespaces } },
    )
    expect(await columns('ccred', 'columns', '-o', 'wide')).toEqual([
      expect.stringMatching(
        /^NAME +TYPE +SECRET +READY +USED BY +NAMESPACES +AGE +SERVICE +EXPIRES +DESCRIPTION$/,
      ),
      expect.stringMatching(
        /^columns +environment +columns-secret +True +3 +7 +\d+s +wandb +2030-\S+ +For the tests\.$/,
      ),
    ])
    await cluster.client.delete(`${path}/columns`)
  })

  test('the columns of a CredentialPolicy', async () => {
    const path = '/apis/run.ai/v1/credentialpolicies'
    const policy = {
      namespaceSelector: { matchLabels: { nobody: 'has-it' } },
      credentials: ['wandb-credentials', 'cluster/dockerhub'],
      enforcement: 'Enforce',
    }
    await cluster.client.create(path, object('CredentialPolicy', 'columns', policy))
    await cluster.client.patch(
      `${path}/columns/status?fieldValidation=Strict`,
      'application/merge-patch+json',
      {
        status: {
          observedGeneration: 1,
          conditions: status.conditions,
          namespaces: 2,
          injectedPods: 5,
          conflicts: [{ policy: 'other', message: 'Both give WANDB_API_KEY.' }],
        },
      },
    )
    expect(await columns('credpol', 'columns')).toEqual([
      expect.stringMatching(/^NAME +ENFORCEMENT +CREDENTIALS +NAMESPACES +PODS +READY +AGE$/),
      expect.stringMatching(
        /^columns +Enforce +\["wandb-credentials","cluster\/dockerhub"\] +2 +5 +True +\d+s$/,
      ),
    ])
    await cluster.client.delete(`${path}/columns`)
  })

  test('what every field is for', async () => {
    const variables = await cluster.kubectl(['explain', 'credential.spec.variables'])
    expect(variables.replace(/\s+/g, ' ')).toContain(
      'exactly these variables instead of every key of the secret',
    )
    expect(variables).toMatch(/key\t<string>\n\s+Key of the secret; the name when absent\./)
    expect(await cluster.kubectl(['explain', 'credpol.spec.enforcement'])).toMatch(/nobody can leave it out/)
    expect(await cluster.kubectl(['explain', 'ccred.status.failedNamespaces'])).toMatch(/could not be given/)
  })

  test('nothing of ours in `kubectl get all`', async () => {
    expect(await cluster.kubectl(['get', 'all', '-n', NAMESPACE])).not.toContain('credential')
  })
})

interface Stored {
  readonly metadata: { readonly generation: number }
  readonly spec: object
  readonly status?: object
}

async function columns(...args: string[]): Promise<string[]> {
  const said = await cluster.kubectl(['get', ...args, '-n', NAMESPACE])
  return said
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
}

function object(kind: Kind, name: string, spec: object, rest: object = {}): object {
  return { apiVersion: 'run.ai/v1', kind, metadata: { name }, spec, ...rest }
}

// ---- Requests --------------------------------------------------------------------------------------------------------

const PLURALS: Readonly<Record<Kind, string>> = {
  Credential: 'credentials',
  ClusterCredential: 'clustercredentials',
  CredentialPolicy: 'credentialpolicies',
}

type Validation = 'Strict' | 'Warn' | 'Ignore'

/** Creates it, without storing it: the table has many objects of one name. */
function post(manifest: unknown, validation: Validation = 'Strict'): Promise<Stored> {
  const { kind, metadata } = (manifest ?? {}) as { kind?: unknown; metadata?: { namespace?: string } | null }
  const plural = PLURALS[isKind(kind) ? kind : 'Credential']
  const namespace = LEGAL.test(metadata?.namespace ?? '') ? metadata?.namespace : NAMESPACE
  const place = plural === PLURALS.Credential ? `namespaces/${namespace}/${plural}` : plural
  return cluster.client.create(
    `/apis/run.ai/v1/${place}?dryRun=All&fieldValidation=${validation}`,
    manifest as object,
  )
}

const LEGAL = /^[a-z0-9-]{1,63}$/

const ACCEPTED = 'It was accepted.'

/** The sentence with which it is refused. */
async function refusal(manifest: unknown, validation: Validation = 'Strict'): Promise<string> {
  try {
    await post(manifest, validation)
    return ACCEPTED
  } catch (error) {
    if (error instanceof KubeError) return error.message
    throw error
  }
}

function namespaceYaml(name: string): string {
  return `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ${name}\n`
}
