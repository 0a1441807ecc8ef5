/** Pods and credentials for tests, as the watches would bring them. */
import type { ClusterCredentialStatus } from '../../../src/api/status.ts'
import type { CredentialObject } from '../../../src/controller/watched/credentials.ts'
import type { OwnerReference } from '../../../src/controller/watched/owners.ts'
import type { PodFacts, SecretUse } from '../../../src/controller/watched/pods.ts'

export const ROTATED = '2026-11-25T12:00:00Z'
export const seconds = (count: number) => Date.parse(ROTATED) + count * 1000

export function pod(name: string, some: Partial<PodFacts> = {}): PodFacts {
  return {
    namespace: 'team-a',
    name,
    uid: `uid-of-${name}`,
    labels: {},
    owner: undefined,
    isOver: false,
    isEnding: false,
    createdAt: seconds(-100),
    injected: [],
    restart: { wish: undefined, isRecorded: false },
    uses: [variables('wandb-secret')],
    ...some,
  }
}

export function variables(secret: string, since?: number): SecretUse {
  return { secret, as: 'variables', since }
}

export function owner(kind: string, name: string): OwnerReference {
  return { apiVersion: 'apps/v1', kind, name, uid: `uid-of-${name}`, controller: true }
}

export function credential(name: string, secret: string, status?: ClusterCredentialStatus): CredentialObject {
  return {
    kind: 'Credential',
    metadata: { name, namespace: 'team-a', uid: `uid-of-${name}` },
    spec: { secretRef: { name: secret }, type: 'environment' },
    status,
  }
}

export function clusterCredential(name: string, status?: ClusterCredentialStatus): CredentialObject {
  return {
    kind: 'ClusterCredential',
    metadata: { name, uid: `uid-of-${name}` },
    spec: { secretRef: { name: `source-of-${name}` }, type: 'environment', namespaceSelector: {} },
    status,
  }
}
