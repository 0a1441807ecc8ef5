/** The check of finished pods, as the chart makes it, and the status that it goes by, as the controller would write it. */
import type { KubeClient } from '../../../src/kube/client.ts'
import { eventually } from '../../support/webhook.ts'
import type { Cluster } from '../kit/cluster.ts'
import { installAdmissionPolicies } from './admission-policies.ts'
import type { Values } from './helm.ts'
import { apply, collection, ensureNamespace, type Manifest, pathOf, remove } from './objects.ts'

export interface EnforcedBy {
  readonly policy: string
  readonly namespaceSelector?: object
  readonly podSelector?: object
}

/** What the controller says of a credential. */
export interface EnforcedStatus {
  readonly keys?: readonly string[]
  readonly enforcedBy?: readonly EnforcedBy[]
}

export interface Check {
  /** Puts the credential there, with its status. The API server hears of it a moment later. */
  put(credential: Manifest, status: EnforcedStatus): Promise<void>
  /** Resolves when the API server goes by all that was put until now. */
  whenSeen(): Promise<void>
  remove(): Promise<void>
}

/** As if the chart were installed in `namespace`: pods of that one are never checked. */
export async function installCheck(cluster: Cluster, namespace: string, values: Values = {}): Promise<Check> {
  const { client } = cluster
  const name = `test-${namespace}`
  const uninstall = await installAdmissionPolicies(cluster, namespace, `${name}-enforced`, {
    fullnameOverride: name,
    ...values,
  })
  const probes = [
    probeFor('Credential', `${name}-probe`),
    probeFor('ClusterCredential', `${name}-probe-cluster`),
  ]
  for (const { namespace: place } of probes) await ensureNamespace(client, place)
  const check: Check = {
    async put(credential, status) {
      await apply(client, credential)
      await client.patch(`${pathOf(credential)}/status`, 'application/merge-patch+json', { status })
    },
    async whenSeen() {
      await Promise.all(probes.map((probe) => probe.seen(check, client)))
    },
    async remove() {
      await uninstall()
    },
  }
  return check
}

/** The API server hears of all credentials of a kind in their order: when it goes by the last, it goes by all. */
function probeFor(kind: string, namespace: string) {
  let count = 0
  return {
    namespace,
    async seen(check: Check, client: KubeClient): Promise<void> {
      count++
      const name = `${namespace}-${count}`
      const here = { matchLabels: { 'kubernetes.io/metadata.name': namespace } }
      const probe: Manifest = {
        apiVersion: 'run.ai/v1',
        kind,
        metadata: { name, ...(kind === 'Credential' && { namespace }) },
        spec: {
          type: 'dockerRegistry',
          secretRef: { name: 'none' },
          ...(kind === 'ClusterCredential' && { namespaceSelector: here }),
        },
      }
      await check.put(probe, { enforcedBy: [{ policy: 'probe' }] })
      await eventually(`the API server checks pods by ${kind} ${name}`, () =>
        client.create(`${collection('Pod', namespace)}?dryRun=All`, PLAIN_POD).then(
          () => false,
          ({ message }) => String(message).includes(`enforces ${kind} ${name}`),
        ),
      )
      await remove(client, probe)
      await eventually(`the API server forgets ${kind} ${name}`, () =>
        client.create(`${collection('Pod', namespace)}?dryRun=All`, PLAIN_POD).then(
          () => true,
          () => false,
        ),
      )
    },
  }
}

const PLAIN_POD = { metadata: { name: 'probe' }, spec: { containers: [{ name: 'main', image: 'none' }] } }
