/** The webhook as a process of its own on a real cluster, with the rights that the chart gives it and no others. */
import { join } from 'node:path'
import { type Run, run, testCertificates } from '../../support/server.ts'
import { eventually } from '../../support/webhook.ts'
import type { Cluster } from '../kit/cluster.ts'
import { writeKubeconfig } from '../kit/kubeconfig.ts'
import { paths } from '../kit/layout.ts'

const NAME = 'credential-injector-webhook'

const READ = ['get', 'list', 'watch']

/** What the webhook may do (its ClusterRole in the chart). */
const RIGHTS = [
  {
    apiGroups: ['run.ai'],
    resources: ['credentials', 'clustercredentials', 'credentialpolicies'],
    verbs: READ,
  },
  { apiGroups: [''], resources: ['namespaces'], verbs: READ },
  { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
]

const RBAC = '/apis/rbac.authorization.k8s.io/v1'

/** A service account in a namespace that exists. Returns its token. */
export async function makeWebhookAccount({ client, tokenFor }: Cluster, namespace: string): Promise<string> {
  await client.create(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: NAME } })
  await client.create(`${RBAC}/clusterroles`, { metadata: { name: NAME }, rules: RIGHTS })
  return tokenFor(NAME, namespace)
}

export async function grantRights({ client }: Cluster, namespace: string): Promise<void> {
  await client.create(`${RBAC}/clusterrolebindings`, {
    metadata: { name: NAME },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: NAME },
    subjects: [{ kind: 'ServiceAccount', name: NAME, namespace }],
  })
}

/** Path of a kubeconfig for the token, by another address than the API server's own. */
export function kubeconfigBy({ folder }: Cluster, url: string, token: string): string {
  const file = join(folder, 'kubeconfig-of-webhook')
  writeKubeconfig(file, { url, caFile: paths(folder).ca, token })
  return file
}

export interface WebhookProcess extends Run {
  isReady(): boolean
  /** `https://127.0.0.1:PORT/mutate/pods`, when it is ready. */
  url(): string
  /** PEM text of the authority that its certificate is of. */
  readonly ca: string
  /** The number behind a metric as it is written, such as `cluster_relists_total{kind="Credential"}`. */
  metric(name: string): Promise<number>
  stop(): Promise<void>
}

export async function startWebhook(
  kubeconfig: string,
  flags: readonly string[] = [],
): Promise<WebhookProcess> {
  const { folder, ca } = await testCertificates()
  const tls = ['--tls-cert', join(folder, 'tls.crt'), '--tls-key', join(folder, 'tls.key')]
  const child = run(['serve', '--kubeconfig', kubeconfig, '--port', '0', ...tls, ...flags])
  const urls = () => child.stdout().match(/https?:\/\/\S+/g) ?? []
  return {
    ...child,
    ca,
    isReady: () => child.stdout().includes('is ready:'),
    url: () => String(urls()[0]),
    async metric(name) {
      const text = await (await fetch(String(urls()[1]))).text()
      const line = text.split('\n').find((each) => each.startsWith(`credential_injector_${name} `))
      if (line === undefined) throw new Error(`There is no metric ${name} in:\n${text}`)
      return Number(line.slice(line.lastIndexOf(' ')))
    },
    async stop() {
      child.signal('SIGINT')
      await child.exited
    },
  }
}

/** Has the API server ask the webhook about the pods of namespaces with `injected: "yes"`. Resolves when it does. */
export async function register(
  { client }: Cluster,
  webhook: WebhookProcess,
  probeNamespace: string,
): Promise<void> {
  await client.create('/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', {
    metadata: { name: 'credential-injector' },
    webhooks: [
      {
        name: 'pods.credentials.run.ai',
        clientConfig: { url: webhook.url(), caBundle: Buffer.from(webhook.ca).toString('base64') },
        rules: [
          {
            apiGroups: [''],
            apiVersions: ['v1'],
            operations: ['CREATE'],
            resources: ['pods'],
            scope: 'Namespaced',
          },
        ],
        namespaceSelector: { matchLabels: { injected: 'yes' } },
        admissionReviewVersions: ['v1'],
        sideEffects: 'NoneOnDryRun',
        failurePolicy: 'Fail',
        reinvocationPolicy: 'IfNeeded',
        timeoutSeconds: 5,
      },
    ],
  })
  // The API server learns of a registration a moment later.
  await eventually('the API server asks the webhook', () =>
    client
      .create(
        `/api/v1/namespaces/${probeNamespace}/pods?dryRun=All`,
        podWith('probe', 'nothing-of-that-name'),
      )
      .then(
        () => false,
        ({ message }) => String(message).includes('nothing-of-that-name does not exist'),
      ),
  )
}

export function podWith(name: string, credential: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, annotations: { 'credentials.run.ai/inject': credential } },
    spec: { containers: [{ name: 'main', image: 'none' }], terminationGracePeriodSeconds: 0 },
  }
}

export function credentialNamed(name: string): object {
  return {
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { name },
    spec: { secretRef: { name: `${name}-secret` }, type: 'environment' },
  }
}
