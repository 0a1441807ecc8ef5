/** The chart's guards in a cluster of a test's own: they hold for all of it. */
import { type KubeClient, KubeError } from '../../../src/kube/client.ts'
import { eventually } from '../../support/webhook.ts'
import { installCrds } from '../install-crds.ts'
import type { Cluster } from '../kit/cluster.ts'
import { whenObject } from '../kit/watch.ts'
import { type Rendered, render, type Values } from './helm.ts'
import { apply, collection, ensureNamespace, type Manifest } from './objects.ts'

const POLICIES = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies'
/** With `Fail`, so that a check that fails shows as a refusal. */
const ALL = {
  certificates: { mode: 'selfManaged' },
  guards: { failurePolicy: 'Fail', notInjected: { enabled: true } },
}

/** The guards among the chart's objects: policies and their bindings. */
export async function renderGuards(values: Values = {}): Promise<Rendered['objects']> {
  const { objects } = await render({ ...ALL, ...values })
  return objects.filter(
    ({ kind, metadata }) => kind.startsWith('ValidatingAdmissionPolicy') && metadata.name.includes('-guard-'),
  )
}

/** All guards, with the definitions that they are about. In effect when it resolves. */
export async function installGuards(cluster: Cluster): Promise<void> {
  await installCrds(cluster.client)
  const guards = await renderGuards()
  await cluster.kubectl(
    ['apply', '--server-side', '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: guards }),
  )
  for (const { kind, metadata } of guards)
    if (kind === 'ValidatingAdmissionPolicy') await typeChecked(cluster.client, metadata.name)
  await ensureNamespace(cluster.client, PROBES)
  await guardsKnow(cluster, PROBES)
  await eventually('deletions are guarded', async () => {
    const path = `${collection('Credential', PROBES)}/probe`
    const status = { usedBy: { pods: 1, workloads: 0 } }
    await cluster.client.patch(`${path}/status`, 'application/merge-patch+json', { status })
    return (await answer(cluster.client.delete(`${path}?dryRun=All`))).includes('is used by 1 pod')
  })
  await eventually('names are looked at', async () => {
    const named = credential('Credential', { name: 'token', namespace: PROBES })
    const { stderr } = await cluster.tryKubectl(
      ['create', '--dry-run=server', '-f', '-'],
      JSON.stringify(named),
    )
    return stderr.includes('does not say what the credential is for')
  })
}

const PROBES = 'guarded-probes'

/** The API server finds nothing wrong with the types of an expression, also of one that no test reaches. */
async function typeChecked(kube: KubeClient, name: string): Promise<void> {
  const policy = await whenObject<any>(
    kube,
    POLICIES,
    name,
    ({ metadata, status }) =>
      status?.typeChecking !== undefined && status.observedGeneration === metadata.generation,
  )
  const warnings = policy.status.typeChecking.expressionWarnings
  if (warnings) throw new Error(`${name}: ${JSON.stringify(warnings, null, 2)}`)
}

/**
 * Resolves when the guards know every credential that was stored until now: the API server hears of them in order, a moment
 * later. The one that it is asked about for this is made anew, and so is the last.
 */
export async function guardsKnow({ client }: Cluster, namespace: string): Promise<void> {
  probes += 1
  const name = `probe-${probes}`
  const own = credential('Credential', { name: 'probe', namespace }, { secretRef: { name } })
  const shared = credential('ClusterCredential', { name: `${name}-shared` }, { namespaceSelector: {} })
  await apply(client, own)
  await apply(client, shared)
  const refuses = (what: string, pod: object) =>
    eventually(`${what} in ${namespace}`, async () =>
      (await tryPod(client, namespace, pod)).includes(`guard-${what}'`),
    )
  await refuses('accounts', podOf({ imagePullSecrets: [{ name }] }))
  await refuses('accounts-cluster', podOf({ imagePullSecrets: [{ name: `credential-${name}-shared` }] }))
  await refuses('injected-own', podOf(WITH_ENV, { 'credentials.run.ai/inject': 'probe' }))
  await refuses('injected-cluster', podOf(WITH_ENV, { 'credentials.run.ai/inject': `${name}-shared` }))
  await refuses('injected', podOf({}, { 'credentials.run.ai/inject': 'nothing-of-that-name' }))
}

let probes = 0

const WITH_ENV = { containers: [{ name: 'main', image: 'none', env: [{ name: 'X', value: 'x' }] }] }

/** Nobody may use it unless `spec` says who. */
export function credential(
  kind: 'Credential' | 'ClusterCredential',
  metadata: Manifest['metadata'],
  spec: object = {},
): Manifest {
  return {
    apiVersion: 'run.ai/v1',
    kind,
    metadata,
    spec: {
      secretRef: { name: `${metadata.name}-secret` },
      type: 'environment',
      allowedServiceAccounts: [],
      ...spec,
    },
  }
}

export function podOf(spec: object, annotations?: Record<string, string>): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'pod-', annotations },
    spec: { containers: [{ name: 'main', image: 'none' }], ...spec },
  }
}

/** What the API server says to the pod, by a dry run; empty if it takes it. */
export function tryPod(kube: KubeClient, namespace: string, pod: object): Promise<string> {
  return answer(kube.create(`${collection('Pod', namespace)}?dryRun=All`, pod))
}

/** What the API server says against a request; empty if nothing. */
export async function answer(request: Promise<unknown>): Promise<string> {
  try {
    await request
    return ''
  } catch (error) {
    if (error instanceof KubeError && error.status >= 400 && error.status < 500) return error.message
    throw error
  }
}
