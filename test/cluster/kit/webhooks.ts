/* Other people's webhooks, made of one function, and how the API server comes to call a webhook on this machine. */
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { vi } from 'vitest'
import { testCertificates } from '../../support/server.ts'
import type { Cluster } from './cluster.ts'

/** RFC 6902. */
export interface Operation {
  readonly op: 'add' | 'replace' | 'remove'
  readonly path: string
  readonly value?: unknown
}

export interface FakeWebhook {
  /** `https://127.0.0.1:PORT/` */
  readonly url: string
  /** PEM. */
  readonly ca: string
  /** The pods that it was sent, in order. */
  readonly pods: any[]
  stop(): Promise<void>
}

/** A mutating webhook that changes each pod as `change` says; no operation leaves it as it is. */
export async function startFakeWebhook(change: (pod: any) => readonly Operation[]): Promise<FakeWebhook> {
  const { folder, ca } = await testCertificates()
  const pods: any[] = []
  const server = createServer(
    { cert: readFileSync(join(folder, 'tls.crt')), key: readFileSync(join(folder, 'tls.key')) },
    async (request, response) => {
      const { apiVersion, kind, request: review } = (await json(request)) as any
      pods.push(review.object)
      const operations = change(review.object)
      const patch = operations.length > 0 && {
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(operations)).toString('base64'),
      }
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({ apiVersion, kind, response: { uid: review.uid, allowed: true, ...patch } }),
      )
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    ca,
    pods,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Adds a container, as meshes do, unless it is there. */
export const addsSidecar =
  (name: string, image = 'test.local/busybox:latest') =>
  (pod: any): Operation[] =>
    pod.spec.containers.some((container: any) => container.name === name)
      ? []
      : [{ op: 'add', path: '/spec/containers/-', value: { name, image, command: ['sleep', '3600'] } }]

/** Gives the pod another name, once. */
export const renames =
  (prefix: string) =>
  ({ metadata: { name, generateName } }: any): Operation[] =>
    [
      ...(name && !name.startsWith(prefix) ? [{ path: '/metadata/name', value: `${prefix}${name}` }] : []),
      ...(generateName && !generateName.startsWith(prefix)
        ? [{ path: '/metadata/generateName', value: `${prefix}${generateName}` }]
        : []),
    ].map((change) => ({ op: 'replace', ...change }))

export interface Registration {
  /** Of the MutatingWebhookConfiguration. The API server calls them in the order of their names. */
  readonly name: string
  readonly url: string
  /** PEM. */
  readonly ca: string
  /** Pods of these namespaces only; of all when absent. */
  readonly namespaces?: readonly string[]
  /** Replaces parts of the entry. */
  readonly entry?: Readonly<Record<string, unknown>>
}

/**
 * Has the API server call a webhook for the pods of some namespaces, and waits until it does so: it hears of the configuration a
 * moment after it is stored. Returns what takes it away.
 */
export async function register(
  { client, kubectl, auditLog }: Cluster,
  { name, url, ca, namespaces, entry }: Registration,
): Promise<() => Promise<void>> {
  const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
  const webhook = `${name}.test.run.ai`
  await client.create(path, {
    metadata: { name },
    webhooks: [
      {
        name: webhook,
        clientConfig: { url, caBundle: Buffer.from(ca).toString('base64') },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        failurePolicy: 'Fail',
        reinvocationPolicy: 'IfNeeded',
        timeoutSeconds: 5,
        ...(namespaces && {
          namespaceSelector: {
            matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In', values: namespaces }],
          },
        }),
        ...entry,
      },
    ],
  })
  const from = statSync(auditLog).size
  const called = String.raw`\"webhook\":\"${entry?.name ?? webhook}\"`
  await vi.waitFor(
    async () => {
      await kubectl(['create', '--dry-run=server', '-f', '-'], probe(namespaces?.[0] ?? 'default'))
      if (!readFileSync(auditLog).subarray(from).includes(called))
        throw new Error(`The API server does not call ${name}.`)
    },
    { timeout: 20_000, interval: 50 },
  )
  return () => client.delete(`${path}/${name}`)
}

/** Nothing is injected, but the webhook is asked. */
const probe = (namespace: string) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'probe-', namespace, annotations: { 'credentials.run.ai/inject': '' } },
    spec: { containers: [{ name: 'main', image: 'none' }] },
  })
