/** The reviews that the benchmarks post: recorded ones, made to ask for three credentials, and a catalogue that has those. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { INJECT } from '../src/annotations.ts'

export const NAMESPACE = 'runai-team-a'
const THREE = 'wandb-credentials, git-ssh, cluster/dockerhub'

const REVIEWS = fileURLToPath(new URL('../fixtures/reviews/', import.meta.url))

/** Texts by the size that the table shows. */
export function benchReviews(): Record<'4 KB' | '60 KB' | '1.3 MB', string> {
  return {
    '4 KB': asking(recorded('pod-of-indexed-job')),
    '60 KB': asking(withOneContainer(recorded('pod-large-1mb'), 180)),
    '1.3 MB': asking(recorded('pod-large-1mb')),
  }
}

function recorded(name: string): any {
  return JSON.parse(readFileSync(`${REVIEWS}${name}.json`, 'utf8'))
}

function asking(review: any): string {
  review.request.namespace = NAMESPACE
  review.request.object.metadata.annotations = { [INJECT]: THREE }
  return JSON.stringify(review)
}

/** The first container with so many variables, in the pod and in its managed fields. */
function withOneContainer(review: any, variables: number): any {
  const { spec, metadata } = review.request.object
  spec.containers.length = 1
  spec.containers[0].env.length = variables
  const fields = metadata.managedFields[0].fieldsV1['f:spec']
  const [name, container] = Object.entries<any>(fields['f:containers'])[0] as [string, any]
  container['f:env'] = Object.fromEntries(Object.entries(container['f:env']).slice(0, variables + 1))
  fields['f:containers'] = { [name]: container }
  return review
}

/** YAML of three credentials, of all three types, with their secrets. */
export const THREE_CREDENTIALS = `
apiVersion: v1
kind: Namespace
metadata: { name: ${NAMESPACE} }
---
apiVersion: run.ai/v1
kind: Credential
metadata: { name: wandb-credentials, namespace: ${NAMESPACE} }
spec: { secretRef: { name: wandb-secret }, type: environment }
---
apiVersion: v1
kind: Secret
metadata: { name: wandb-secret, namespace: ${NAMESPACE} }
stringData: { WANDB_API_KEY: invented, WANDB_PROJECT: invented }
---
apiVersion: run.ai/v1
kind: Credential
metadata: { name: git-ssh, namespace: ${NAMESPACE} }
spec: { secretRef: { name: git-ssh-secret }, type: file, mountPath: /root/.ssh }
---
apiVersion: v1
kind: Secret
metadata: { name: git-ssh-secret, namespace: ${NAMESPACE} }
stringData: { id_ed25519: invented, known_hosts: invented }
---
apiVersion: run.ai/v1
kind: ClusterCredential
metadata: { name: dockerhub }
spec: { secretRef: { name: dockerhub }, type: dockerRegistry, namespaceSelector: {} }
---
apiVersion: v1
kind: Secret
metadata: { name: dockerhub, namespace: credential-injector }
type: kubernetes.io/dockerconfigjson
stringData: { .dockerconfigjson: '{}' }
`
