/** Folders of manifests for the benchmarks. All have the three credentials that the reviews ask for. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NAMESPACE } from './reviews.ts'

/** Writes a catalogue with three credentials, of all three types. */
export function writeThree(folder: string): void {
  writeFileSync(join(folder, 'three.yaml'), THREE_CREDENTIALS)
}

/** Writes a catalogue with the three and with `credentials` others, ten in a namespace, each with its secret. */
export function writeMany(folder: string, credentials: number): void {
  writeThree(folder)
  for (let first = 0; first < credentials; first += PER_NAMESPACE) {
    const namespace = `tenant-${first / PER_NAMESPACE}`
    const indexes = Array.from({ length: PER_NAMESPACE }, (_, index) => first + index)
    writeFileSync(
      join(folder, `${namespace}.yaml`),
      [`apiVersion: v1\nkind: Namespace\nmetadata: { name: ${namespace}, labels: { tier: research } }`]
        .concat(indexes.map((index) => credentialOf(`credential-${index}`, namespace)))
        .join('\n---\n'),
    )
  }
}

const PER_NAMESPACE = 10

function credentialOf(name: string, namespace: string): string {
  return `apiVersion: run.ai/v1
kind: Credential
metadata: { name: ${name}, namespace: ${namespace} }
spec: { secretRef: { name: ${name}-secret }, type: environment }
---
apiVersion: v1
kind: Secret
metadata: { name: ${name}-secret, namespace: ${namespace} }
stringData: { API_KEY: invented, API_USER: invented }`
}

const THREE_CREDENTIALS = `
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
