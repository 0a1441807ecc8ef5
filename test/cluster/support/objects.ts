/** Puts manifests into a real cluster, and takes them out again. */
import { type KubeClient, KubeError } from '../../../src/kube/client.ts'

export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; [other: string]: unknown }
  [other: string]: unknown
}

const PLURALS: Readonly<Record<string, string>> = {
  Namespace: '/api/v1/namespaces',
  Secret: '/api/v1/namespaces/{}/secrets',
  ConfigMap: '/api/v1/namespaces/{}/configmaps',
  ServiceAccount: '/api/v1/namespaces/{}/serviceaccounts',
  Pod: '/api/v1/namespaces/{}/pods',
  Credential: '/apis/run.ai/v1/namespaces/{}/credentials',
  ClusterCredential: '/apis/run.ai/v1/clustercredentials',
  CredentialPolicy: '/apis/run.ai/v1/credentialpolicies',
  CustomResourceDefinition: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  MutatingWebhookConfiguration: '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
  ValidatingWebhookConfiguration: '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations',
  Event: '/api/v1/namespaces/{}/events',
  Deployment: '/apis/apps/v1/namespaces/{}/deployments',
  StatefulSet: '/apis/apps/v1/namespaces/{}/statefulsets',
  DaemonSet: '/apis/apps/v1/namespaces/{}/daemonsets',
  Job: '/apis/batch/v1/namespaces/{}/jobs',
}

/** The API's path of all objects of this kind in a namespace. Throws for a kind that no test has needed so far. */
export function collection(kind: string, namespace = ''): string {
  const path = PLURALS[kind]
  if (path === undefined) throw new Error(`test/cluster/support/objects.ts does not know where ${kind} is`)
  return path.replace('{}', namespace)
}

export function pathOf({ kind, metadata: { namespace, name } }: Manifest): string {
  return `${collection(kind, namespace)}/${encodeURIComponent(name)}`
}

/** Server-side apply, as the owner of everything in the manifest. Rejects with what the API server says. */
export function apply<T = Manifest>(kube: KubeClient, manifest: Manifest): Promise<T> {
  const query = 'fieldManager=test&force=true&fieldValidation=Strict'
  return kube.patch<T>(`${pathOf(manifest)}?${query}`, 'application/apply-patch+yaml', manifest)
}

/** Deletes at once what is there; that it is not there is fine. */
export async function remove(kube: KubeClient, manifest: Manifest): Promise<void> {
  try {
    await kube.delete(`${pathOf(manifest)}?gracePeriodSeconds=0`)
  } catch (error) {
    if (!(error instanceof KubeError) || error.status !== 404) throw error
  }
}

/** The namespace, and its `default` service account, without which no pod can be created there. */
export async function ensureNamespace(
  kube: KubeClient,
  name: string,
  labels: Record<string, string> = {},
): Promise<void> {
  await apply(kube, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
  await ensureServiceAccount(kube, name, 'default')
}

export async function ensureServiceAccount(kube: KubeClient, namespace: string, name: string): Promise<void> {
  await apply(kube, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } })
}
