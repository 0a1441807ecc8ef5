/** What is said about workloads when they are applied: over TLS, and for every case of fixtures/inject. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../src/api/catalog.ts'
import { openFolder } from '../../src/store/folder.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { readReview } from '../../src/webhook/review.ts'
import { checkWorkload } from '../../src/webhook/workloads.ts'
import { caseNames, EXCLUDED, loadCase, openCatalog, writeCatalog } from '../support/fixtures.ts'
import { type OpenWebhook, openWebhook } from '../support/webhook.ts'

const PATH = '/check/workloads?timeout=5s'
const FAULTY = 'a-namespace-that-makes-the-engine-fail'

const catalog = openFolder(fileURLToPath(new URL('../../examples/catalog', import.meta.url)), {
  watch: false,
}).store
const store: Store = {
  view(namespace) {
    if (namespace === FAULTY) throw new Error('invented fault')
    return catalog.view(namespace)
  },
}

let webhook: OpenWebhook
beforeAll(async () => {
  webhook = await openWebhook({ store })
})
afterAll(() => webhook.close())

const KINDS = ['deployment', 'statefulset', 'daemonset', 'job', 'cronjob']
const recorded = (kind: string) =>
  JSON.parse(readFileSync(new URL(`../../fixtures/reviews/${kind}-create.json`, import.meta.url), 'utf8'))

/** The recorded review of a Deployment, with another request. */
function deployment(change: (request: any) => void): any {
  const review = recorded('deployment')
  change(review.request)
  return review
}

const templateOf = ({ spec }: any) => spec.template ?? spec.jobTemplate.spec.template
const naming = (names: string) => (request: any) => {
  templateOf(request.object).metadata.annotations['credentials.run.ai/inject'] = names
}

/** The answer, which must allow it and change nothing. */
async function check(review: object, to = webhook): Promise<{ warnings: string[]; outcome: string }> {
  const answer = await to.client.post(JSON.stringify(review), { path: PATH })
  expect(answer.status).toBe(200)
  const { apiVersion, request } = review as any
  const { response, ...head } = answer.json()
  expect(head).toEqual({ kind: 'AdmissionReview', apiVersion })
  const { warnings = [], auditAnnotations, ...rest } = response
  expect(rest).toEqual({ uid: request.uid, allowed: true })
  return { warnings, outcome: auditAnnotations.outcome }
}

const MISSPELT =
  'CredentialNotFound: credential huggingface-acess does not exist; did you mean "huggingface-access"?'

/** The recorded Deployment sets a variable that its credential gives too. */
const OVERRIDE = {
  warnings: [
    'WorkloadOverrides: main: HF_HOME stays as the pod sets it (env), not as Credential huggingface-access does',
  ],
  outcome: 'Warned',
}

describe.each(KINDS)('a %s', (kind) => {
  test('with a right credential is told no more than its pods would be', async () => {
    const expected = kind === 'deployment' ? OVERRIDE : { warnings: [], outcome: 'Clean' }
    expect(await check(recorded(kind))).toEqual(expected)
  })

  test('with a misspelt credential is told so, in both versions of the review', async () => {
    const review = recorded(kind)
    naming('huggingface-acess')(review.request)
    expect(await check(review)).toEqual({ warnings: [MISSPELT], outcome: 'Warned' })
    const old = { ...review, apiVersion: 'admission.k8s.io/v1beta1' }
    expect(await check(old)).toEqual({ warnings: [MISSPELT], outcome: 'Warned' })
  })

  test('whose credentials do not exist yet is told so', async () => {
    const empty = await openWebhook({ store: createMemoryStore() })
    const { warnings } = await check(recorded(kind), empty)
    expect(warnings.length).toBeGreaterThan(0)
    for (const warning of warnings)
      expect(warning).toMatch(/^CredentialNotFound: credential \S+ does not exist$/)
    await empty.close()
  })

  test('that is updated gets no word unless its pods change', async () => {
    const review = recorded(kind)
    naming('huggingface-acess')(review.request)
    const update = (change: (object: any) => void) => {
      const { request } = structuredClone(review)
      change(request.object)
      const oldObject = structuredClone(review.request.object)
      return { ...review, request: { ...request, operation: 'UPDATE', oldObject } }
    }
    const quiet = update((object) => {
      object.spec.replicas = 7
      object.metadata.labels = { a: 'b' }
      object.metadata.annotations = { 'kubectl.kubernetes.io/last-applied-configuration': '{}' }
    })
    expect(await check(quiet)).toEqual({ warnings: [], outcome: 'Skipped' })
    const changes: ((object: any) => void)[] = [
      (object) => {
        templateOf(object).metadata.annotations.a = 'b'
      },
      (object) => {
        templateOf(object).spec.containers[0].image = 'other'
      },
    ]
    for (const change of changes) expect((await check(update(change))).warnings).toEqual([MISSPELT])
  })
})

test('every problem becomes a warning, before what else there is to know', async () => {
  const { warnings } = await check(
    deployment((request) => {
      naming('huggingface-acess, aws-s3-access')(request)
      const { metadata, spec } = templateOf(request.object)
      metadata.annotations['credentials.run.ai/containers'] = 'main, mian'
      metadata.annotations['credentials.run.ai/container'] = 'main'
      spec.containers[0].env = [{ name: 'AWS_ACCESS_KEY_ID', value: 'own' }]
    }),
  )
  expect(warnings).toEqual([
    expect.stringMatching(/^UnknownContainer: the pod has no container "mian"; did you mean "main"\?$/),
    MISSPELT,
    expect.stringMatching(/^WorkloadOverrides: .*AWS_ACCESS_KEY_ID/),
    expect.stringMatching(/^UnknownAnnotation: nothing reads credentials\.run\.ai\/container; did you mean/),
  ])
})

test('what the pods would only be warned about is said too', async () => {
  const memory = createMemoryStore()
  const spec = { secretRef: { name: 'late-secret' }, type: 'environment' } as const
  memory.put({ kind: 'Credential', namespace: 'runai-team-a', name: 'late', spec })
  const later = await openWebhook({ store: memory })
  expect((await check(deployment(naming('late')), later)).warnings).toEqual([
    'CredentialNotReady: Secret late-secret does not exist yet, for Credential late',
  ])
  await later.close()
})

test('warnings stay within what Kubernetes passes on', async () => {
  const names = Array.from({ length: 200 }, (_, index) => `${'n'.repeat(100)}-${index}`)
  const { warnings } = await check(deployment(naming(names.join(','))))
  expect(warnings.length).toBeGreaterThan(30)
  expect(Math.max(...warnings.map((warning) => warning.length))).toBeLessThanOrEqual(120)
  expect(warnings.join('').length).toBeLessThanOrEqual(4096)
  expect(warnings.at(-1)).toMatch(/^\d+ more warnings are left out$/)
})

describe('an annotation of the workload itself', () => {
  const misplace = (request: any) => {
    const { metadata } = templateOf(request.object)
    request.object.metadata.annotations['credentials.run.ai/inject'] = 'huggingface-access'
    delete metadata.annotations
  }
  const MISPLACED =
    'UnknownAnnotation: credentials.run.ai/inject on a Deployment reaches no pod: write it at spec.template.metadata'

  test('is warned about when it is new', async () => {
    expect((await check(deployment(misplace))).warnings).toEqual([MISPLACED])
    const update = deployment((request) => {
      request.operation = 'UPDATE'
      misplace(request)
      request.oldObject = structuredClone(request.object)
    })
    expect((await check(update)).warnings).toEqual([])
    delete update.request.oldObject.metadata.annotations
    expect((await check(update)).warnings).toEqual([MISPLACED])
  })

  test('is fine where it is meant for the workload', async () => {
    const paused = deployment((request) => {
      request.object.metadata.annotations['credentials.run.ai/restart-paused'] = 'true'
      delete templateOf(request.object).metadata.annotations
    })
    expect((await check(paused)).warnings).toEqual([])
  })

  test('is fine beside the same in the template', async () => {
    const both = deployment((request) => {
      request.object.metadata.annotations['credentials.run.ai/inject'] = 'huggingface-access'
    })
    expect(await check(both)).toEqual(OVERRIDE)
  })
})

describe('is passed over', () => {
  const owned = (kind: string, controller: boolean) =>
    deployment((request) => {
      naming('huggingface-acess')(request)
      request.kind.kind = kind
      request.object.kind = kind
      request.object.metadata.ownerReferences = [{ apiVersion: 'x/v1', kind: 'X', name: 'x', controller }]
    })

  test.each<[string, object]>([
    ['the ReplicaSet of a Deployment', owned('ReplicaSet', true)],
    ['the Job of a CronJob', owned('Job', true)],
    ['a subresource', deployment((request) => Object.assign(request, { subResource: 'scale' }))],
    [
      'a deletion',
      deployment((request) => {
        request.operation = 'DELETE'
        request.oldObject = request.object
      }),
    ],
  ])('%s', async (_title, review) => {
    expect(await check(review)).toEqual({ warnings: [], outcome: 'Skipped' })
  })

  test('but not one that stands for itself, nor one of an operator', async () => {
    expect((await check(owned('ReplicaSet', false))).outcome).toBe('Warned')
    expect((await check(owned('StatefulSet', true))).outcome).toBe('Warned')
  })

  test('what is in namespaces that are never touched', async () => {
    const review = deployment((request) => {
      naming('huggingface-acess')(request)
      request.namespace = 'kube-system'
    })
    expect(await check(review)).toEqual({ warnings: [], outcome: 'Clean' })
  })
})

describe('what cannot be understood is allowed without a word', () => {
  const changed = (change: (object: any) => void) => deployment(({ object }) => change(object))
  test.each<[string, object]>([
    ['a pod', deployment((request) => Object.assign(request, { object: pod() }))],
    [
      'a ConfigMap',
      deployment((request) => Object.assign(request, { object: { kind: 'ConfigMap', data: {} } })),
    ],
    ['no object', deployment((request) => Object.assign(request, { object: null }))],
    ['an object that is text', deployment((request) => Object.assign(request, { object: 'x' }))],
    ['no namespace', deployment((request) => Object.assign(request, { namespace: '' }))],
    ['no template', changed((object) => Object.assign(object.spec, { template: null }))],
    ['a template that is text', changed((object) => Object.assign(object.spec, { template: 'x' }))],
    [
      'containers that are text',
      changed(({ spec }) => Object.assign(spec.template.spec, { containers: 'x' })),
    ],
    [
      'annotations that are numbers',
      changed(({ spec }) => Object.assign(spec.template.metadata, { annotations: { a: 1 } })),
    ],
    ['a fault of the engine', deployment((request) => Object.assign(request, { namespace: FAULTY }))],
  ])('%s', async (_title, review) => {
    const before = await notUnderstood()
    expect(await check(review)).toEqual({ warnings: [], outcome: 'NotUnderstood' })
    expect(await notUnderstood()).toBe(before + 1)
  })

  test('owners and annotations of any shape', async () => {
    for (const odd of [null, 'x', 5, [null], { a: null }, []]) {
      const review = changed(({ metadata }) =>
        Object.assign(metadata, { ownerReferences: odd, annotations: odd }),
      )
      expect(await check(review)).toEqual(OVERRIDE)
    }
  })

  test('anything at all', async () => {
    const odd = fc.record({ template: fc.jsonValue(), annotations: fc.jsonValue(), old: fc.jsonValue() })
    await fc.assert(
      fc.asyncProperty(odd, fc.constantFrom('CREATE', 'UPDATE'), async (values, operation) => {
        const review = deployment((request) => {
          Object.assign(request, { operation, oldObject: values.old })
          Object.assign(request.object.metadata, { annotations: values.annotations })
          Object.assign(request.object.spec, { template: values.template })
        })
        expect((await check(review)).outcome).toMatch(/^(NotUnderstood|Clean|Warned|Skipped)$/)
      }),
    )
    expect(await webhook.metrics.text()).toMatch(/^credential_injector_crashes_total 1$/m)
  })

  test('a fault of the engine is in the log and counted', async () => {
    expect(webhook.log().filter(({ problem }) => problem === 'invented fault')).toHaveLength(1)
    expect(await webhook.metrics.text()).toMatch(/^credential_injector_crashes_total 1$/m)
  })

  function pod(): object {
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'a' },
      spec: { containers: [{ name: 'main' }] },
    }
  }

  async function notUnderstood(): Promise<number> {
    const text = await webhook.metrics.text()
    return Number(/workload_checks_total\{outcome="NotUnderstood"\} (\d+)/.exec(text)?.[1])
  }
})

test('checks are counted apart from pods', async () => {
  const counted = await openWebhook({ store })
  await check(recorded('job'), counted)
  await check(deployment(naming('huggingface-acess, aws-s3-acess')), counted)
  const text = await counted.metrics.text()
  expect(text).toMatch(/workload_checks_total\{outcome="Clean"\} 1/)
  expect(text).toMatch(/workload_checks_total\{outcome="Warned"\} 1/)
  expect(text).toMatch(/workload_warnings_total\{reason="CredentialNotFound"\} 2/)
  expect(text).toMatch(/denials_total\{reason="CredentialNotFound"\} 0/)
  expect(text).toMatch(/reviews_total\{outcome="Denied"\} 0/)
  await counted.close()
})

test.each([
  ['no JSON', '{"kind":', {}, 400, /is not JSON/],
  ['no review', '{}', {}, 400, /^Expected an AdmissionReview/],
  ['another method', '', { method: 'GET' }, 405, /^\/check\/workloads takes POST, not GET\.$/],
  ['YAML', '{}', { headers: { 'content-type': 'application/yaml' } }, 415, /application\/yaml/],
])('%s is refused as everywhere', async (_title, body, options, status, message) => {
  const answer = await webhook.client.post(body, { path: PATH, ...options })
  expect(answer.status).toBe(status)
  expect(answer.json().message).toMatch(message)
})

// ---- One engine ------------------------------------------------------------------------------------------------------

const root = mkdtempSync(join(tmpdir(), 'credential-injector-workloads-'))
afterAll(() => rmSync(root, { recursive: true }))

const cases = caseNames()
  .map((name) => loadCase(name))
  .filter(({ effect, request }) => request.doors.includes('engine') && effect.outcome !== 'NotAPodCreate')

describe.each(cases.map((fixture) => [fixture.name, fixture] as const))(
  'as a Deployment: %s',
  (_, fixture) => {
    const { effect, pod, request } = fixture

    test('is warned about what its pods will meet', () => {
      const review = readReview(
        deployment((sent) => {
          sent.namespace = request.namespace
          sent.object.spec.template = { metadata: pod.metadata, spec: pod.spec }
        }),
      )
      if (typeof review === 'string') throw new Error(review)
      const settings = { store: openCatalog(writeCatalog(fixture, root)), excludedNamespaces: EXCLUDED }
      const { outcome, findings } = checkWorkload(review, settings, Date.parse(request.now))
      const expected = [...(effect.problems ?? []), ...(effect.warnings ?? [])].flatMap(Object.keys)
      expect(findings.map(({ reason }) => reason).sort()).toEqual(expected.sort())
      expect(outcome).toBe(expected.length > 0 ? 'Warned' : 'Clean')
    })
  },
)
