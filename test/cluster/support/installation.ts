/** The product in a cluster with a node: its image, its chart's values, and a credential and pods to try it with. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { assembleImage } from '../../../scripts/image.ts'
import type { KubeObject } from '../../../src/kube/client.ts'
import type { Cluster } from '../kit/cluster.ts'
import { importImage } from '../kit/images.ts'
import { whenObject } from '../kit/watch.ts'

/** Name of the release, and of its namespace. */
export const OWN = 'credential-injector'
const IMAGE = { repository: 'test.local/credential-injector', tag: 'test', pullPolicy: 'Never' }
export const BASE = { image: IMAGE, webhook: { shutdownDelaySeconds: 5 } }

export const CREDENTIAL = `
apiVersion: run.ai/v1
kind: Credential
metadata: { name: wandb-credentials, namespace: team-a }
spec: { secretRef: { name: wandb-secret }, type: environment }
`

export const POLICY = `
apiVersion: run.ai/v1
kind: CredentialPolicy
metadata: { name: by-label }
spec:
  namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: team-a } }
  podSelector: { matchLabels: { workload: training } }
  credentials: [wandb-credentials]
  enforcement: Enforce
`

/** `gated`: never gets as far as a node, so that hundreds of it cost nothing. */
export function podThatAsks(
  metadata: { name?: string; generateName?: string },
  command = 'true',
  gated = false,
) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...metadata,
      labels: { steady: gated ? 'yes' : 'no' },
      annotations: { 'credentials.run.ai/inject': 'wandb-credentials' } as Record<string, string>,
    },
    spec: {
      restartPolicy: 'Never',
      ...(gated && { schedulingGates: [{ name: 'test.local/never' }] }),
      containers: [
        {
          name: 'main',
          image: 'test.local/busybox:latest',
          imagePullPolicy: 'Never',
          command: ['sh', '-c', command],
        },
      ],
    },
  }
}

export async function importProduct(cluster: Cluster): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'credential-injector-root-'))
  try {
    const { entrypoint, env, user } = await assembleImage(folder)
    const name = `${IMAGE.repository}:${IMAGE.tag}`
    await importImage(cluster, { name, folders: { '/': folder }, entrypoint, env, user })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The API server knows the CA, and its pods answer: from now on every pod that asks is answered. */
export async function trusted(cluster: Cluster): Promise<void> {
  await whenObject<KubeObject & { webhooks: { clientConfig: { caBundle?: string } }[] }>(
    cluster.client,
    '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
    OWN,
    ({ webhooks }) => webhooks[0]?.clientConfig.caBundle !== undefined,
  )
  await vi.waitFor(
    () => cluster.client.create('/api/v1/namespaces/team-a/pods?dryRun=All', podThatAsks({ name: 'first' })),
    { timeout: 60_000 },
  )
}
