/** What kubectl shows to whoever applies a workload, with a real API server between it and the webhook. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { createMemoryStore } from '../../src/store/memory.ts'
import { WORKLOAD_PATH } from '../../src/webhook/workloads.ts'
import { eventually, type OpenWebhook, openWebhook } from '../support/webhook.ts'
import type { Cluster, Outcome } from './kit/cluster.ts'
import { sharedCluster } from './kit/shared.ts'

const NAMESPACE = 'workload-check'
const REGISTRATION = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations'

const store = createMemoryStore()
store.put({
  kind: 'Credential',
  namespace: NAMESPACE,
  name: 'huggingface-access',
  spec: { secretRef: { name: 'huggingface-secret' }, type: 'environment' },
})
store.put({
  kind: 'Secret',
  namespace: NAMESPACE,
  name: 'huggingface-secret',
  type: 'Opaque',
  keys: ['HF_TOKEN'],
})

let cluster: Cluster
let webhook: OpenWebhook

beforeAll(async () => {
  cluster = sharedCluster()
  webhook = await openWebhook({ store })
  await cluster.createNamespace(NAMESPACE)
  await cluster.client.create(REGISTRATION, registration(webhook))
  // The API server learns of a registration a moment later.
  await eventually('the API server asks the webhook', async () => {
    const { stderr } = await apply(workload('apps/v1', 'Deployment', 'probe', 'nothing'), '--dry-run=server')
    return stderr !== ''
  })
})
afterAll(async () => {
  await cluster.client.delete(`${REGISTRATION}/${NAMESPACE}`)
  await webhook.close()
})

const MISSPELT =
  'Warning: CredentialNotFound: credential huggingface-acess does not exist; did you mean "huggingface-access"?\n'

describe('with the webhook', () => {
  test.each([
    ['apps/v1', 'Deployment'],
    ['apps/v1', 'StatefulSet'],
    ['apps/v1', 'DaemonSet'],
    ['apps/v1', 'ReplicaSet'],
    ['batch/v1', 'Job'],
    ['batch/v1', 'CronJob'],
  ])('a misspelt credential in %s %s: a warning, and it is created', async (apiVersion, kind) => {
    const name = `misspelt-${kind.toLowerCase()}`
    expect(await apply(workload(apiVersion, kind, name, 'huggingface-acess'))).toEqual({
      code: 0,
      stderr: MISSPELT,
      stdout: expect.stringMatching(new RegExp(`^${kind.toLowerCase()}\\.(apps|batch)/${name} created\n$`)),
    })
  })

  test('a pipeline can take the warning for an error', async () => {
    const wrong = workload('apps/v1', 'Deployment', 'pipeline', 'huggingface-acess')
    const { code, stderr } = await apply(wrong, '--dry-run=server', '--warnings-as-errors')
    expect(code).toBe(1)
    expect(stderr).toContain(MISSPELT)
  })

  test('an annotation in the wrong place: where to write it', async () => {
    const { spec, ...right } = workload('apps/v1', 'Deployment', 'misplaced', 'huggingface-access')
    const { template, ...others } = spec as { template: { metadata: { annotations?: object } } }
    const { annotations, ...metadata } = template.metadata
    const wrong = {
      ...right,
      metadata: { ...right.metadata, annotations },
      spec: { ...others, template: { ...template, metadata } },
    }
    expect(await apply(wrong)).toMatchObject({
      code: 0,
      stderr:
        'Warning: UnknownAnnotation: credentials.run.ai/inject on a Deployment reaches no pod: write it at spec.template.metadata\n',
    })
  })

  test('no credential at all: the webhook is not asked', async () => {
    const before = await webhook.metrics.text()
    const none = workload('apps/v1', 'Deployment', 'none', '')
    delete (none.spec as any).template.metadata.annotations
    expect(await apply({ ...none, spec: { ...none.spec, replicas: 0 } })).toMatchObject({
      code: 0,
      stderr: '',
    })
    expect(checks(await webhook.metrics.text(), 'Clean')).toEqual(checks(before, 'Clean'))
  })

  test('a right one: nothing is said', async () => {
    const right = workload('apps/v1', 'Deployment', 'right', 'huggingface-access')
    expect(await apply(right)).toMatchObject({ code: 0, stderr: '' })
  })

  test('an update is told only when it changes the pods', async () => {
    const before = workload('apps/v1', 'Deployment', 'updated', 'huggingface-acess')
    expect((await apply(before)).stderr).toBe(MISSPELT)
    const scaled = { ...before, spec: { ...before.spec, replicas: 0 } }
    expect(await apply(scaled)).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/ configured\n$/),
    })
    expect(
      await cluster.tryKubectl(['-n', NAMESPACE, 'scale', 'deployment/updated', '--replicas=1']),
    ).toMatchObject({ code: 0, stderr: '' })
    const other = workload('apps/v1', 'Deployment', 'updated', 'huggingface-acess, huggingface-access')
    expect((await apply(other)).stderr).toBe(MISSPELT)
    const mended = workload('apps/v1', 'Deployment', 'updated', 'huggingface-access')
    expect(await apply(mended)).toMatchObject({ code: 0, stderr: '' })
  })

  test('what a Deployment makes is not looked at again', async () => {
    await eventually('the ReplicaSet of the Deployment was sent', async () =>
      /workload_checks_total\{outcome="Skipped"\} [1-9]/.test(await webhook.metrics.text()),
    )
  })
})

describe('without it', () => {
  beforeAll(() => webhook.close())

  test('a workload is created without a word', async () => {
    const silent = workload('apps/v1', 'Deployment', 'silent', 'huggingface-acess')
    expect(await apply(silent)).toEqual({
      code: 0,
      stderr: '',
      stdout: 'deployment.apps/silent created\n',
    })
  })
})

function checks(metrics: string, outcome: string): string | undefined {
  return new RegExp(`workload_checks_total\\{outcome="${outcome}"\\} (\\d+)`).exec(metrics)?.[1]
}

function apply(object: object, ...flags: string[]): Promise<Outcome> {
  return cluster.tryKubectl(['-n', NAMESPACE, 'apply', ...flags, '-f', '-'], stringify(object))
}

function workload(apiVersion: string, kind: string, name: string, credentials: string) {
  const labels = { app: name }
  const job = kind === 'Job' || kind === 'CronJob'
  const template = {
    metadata: { labels, annotations: { 'credentials.run.ai/inject': credentials } },
    spec: {
      containers: [{ name: 'main', image: 'registry.example/train:1' }],
      ...(job && { restartPolicy: 'Never' }),
    },
  }
  const specs: Record<string, Record<string, unknown>> = {
    Job: { template },
    CronJob: { schedule: '0 0 1 1 *', jobTemplate: { spec: { template } } },
    StatefulSet: { selector: { matchLabels: labels }, serviceName: name, template },
  }
  return {
    apiVersion,
    kind,
    metadata: { name },
    spec: specs[kind] ?? { selector: { matchLabels: labels }, template },
  }
}

/** As the chart registers it: on the workload, or on its pod template. */
const HAS_ANNOTATION = ['', '.?spec.?template', '.?spec.?jobTemplate.?spec.?template']
  .map(
    (path) =>
      `object${path}.?metadata.?annotations.orValue({}).exists(k, k.startsWith('credentials.run.ai/'))`,
  )
  .join(' || ')

function registration({ url, ca }: OpenWebhook): object {
  const rule = (group: string, resources: string[]) => ({
    apiGroups: [group],
    apiVersions: ['v1'],
    operations: ['CREATE', 'UPDATE'],
    resources,
    scope: 'Namespaced',
  })
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name: NAMESPACE },
    webhooks: [
      {
        name: 'workloads.credentials.run.ai',
        admissionReviewVersions: ['v1', 'v1beta1'],
        clientConfig: {
          url: new URL(WORKLOAD_PATH, url).href,
          caBundle: Buffer.from(ca).toString('base64'),
        },
        rules: [
          rule('apps', ['deployments', 'statefulsets', 'daemonsets', 'replicasets']),
          rule('batch', ['jobs', 'cronjobs']),
        ],
        matchConditions: [{ name: 'has-credential-annotation', expression: HAS_ANNOTATION }],
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': NAMESPACE } },
        failurePolicy: 'Ignore',
        sideEffects: 'None',
        timeoutSeconds: 5,
      },
    ],
  }
}
