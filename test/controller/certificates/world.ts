import { X509Certificate } from 'node:crypto'
import { Registry } from 'prom-client'
import {
  type CertificateDuty,
  type CertificateDutyOptions,
  type CertificateEvent,
  createCertificateDuty,
} from '../../../src/controller/certificates/index.ts'
import { createCertificateMetrics } from '../../../src/controller/certificates/metrics.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { FakeCluster } from './fake-cluster.ts'

export const NAMESPACE = 'credential-injector'
export const CA = `/api/v1/namespaces/${NAMESPACE}/secrets/credential-injector-ca`
export const SERVING = `/api/v1/namespaces/${NAMESPACE}/secrets/credential-injector-webhook-tls`
const ADMISSION = '/apis/admissionregistration.k8s.io/v1'
export const PODS = `${ADMISSION}/mutatingwebhookconfigurations/credential-injector`
export const WORKLOADS = `${ADMISSION}/validatingwebhookconfigurations/credential-injector-workloads`

export const SECOND = 1000
export const DAY = 24 * 60 * 60 * SECOND
export const OVERLAP = 600 * SECOND
export const SETTLE = 30 * SECOND

/** A whole second, as certificates know no others. */
const START = Date.UTC(2026, 0, 1)

/** A cluster, its clock, and a duty that looks after its certificates. */
export class World {
  readonly cluster = new FakeCluster()
  readonly registry = new Registry()
  readonly metrics = createCertificateMetrics([this.registry])
  readonly log: { level: string; fields: any; message: string }[] = []
  readonly events: CertificateEvent[] = []
  now: number

  constructor(now = START) {
    this.now = now
  }

  duty(
    client: KubeClient = this.cluster.client(),
    options: Partial<CertificateDutyOptions> = {},
  ): CertificateDuty {
    const line = (level: string) => (fields: object, message: string) =>
      void this.log.push({ level, fields, message })
    return createCertificateDuty({
      client,
      namespace: NAMESPACE,
      service: 'credential-injector-webhook',
      authoritySecret: 'credential-injector-ca',
      servingSecret: 'credential-injector-webhook-tls',
      mutatingConfigurations: ['credential-injector'],
      validatingConfigurations: ['credential-injector-workloads'],
      overlap: OVERLAP,
      settle: SETTLE,
      log: { info: line('info'), error: line('error') },
      metrics: this.metrics,
      onEvent: (event) => void this.events.push(event),
      now: () => this.now,
      random: () => 0.5,
      ...options,
    })
  }

  /** The same cluster at the same time, to be changed by itself. */
  copy(): World {
    const world = new World(this.now)
    for (const [path, object] of this.cluster.objects) world.cluster.put(path, object)
    return world
  }

  /** As Helm installs them. */
  installConfigurations(): void {
    this.cluster.put(PODS, configuration('credential-injector', ['pods.credentials.run.ai']))
    this.cluster.put(
      WORKLOADS,
      configuration('credential-injector-workloads', [
        'workloads.credentials.run.ai',
        'more.credentials.run.ai',
      ]),
    )
  }

  /** Every step that is due now. */
  settle(duty = this.duty()): Promise<number> {
    return duty.reconcile(new AbortController().signal)
  }

  text(path: string, key: string): string {
    return Buffer.from(this.cluster.objects.get(path)?.data?.[key] ?? '', 'base64').toString()
  }

  bundles(path: string): string[] {
    return bundlesOf(this.cluster.objects.get(path))
  }

  /** The messages of the log since the last call. */
  told(): string[] {
    return this.log.splice(0).map(({ message }) => message)
  }
}

export function bundlesOf(configuration: any): string[] {
  return (configuration?.webhooks ?? []).map(({ clientConfig }: any) =>
    Buffer.from(clientConfig.caBundle ?? '', 'base64').toString(),
  )
}

function configuration(name: string, entries: string[]) {
  return {
    metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'Helm' } },
    webhooks: entries.map((entry) => ({
      name: entry,
      clientConfig: { service: { name: 'credential-injector-webhook', namespace: NAMESPACE, path: '/x' } },
      sideEffects: 'None',
    })),
  }
}

export function pemBlocks(text: string): X509Certificate[] {
  return (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (pem) => new X509Certificate(pem),
  )
}

/** As an API server judges it: one of the bundle's authorities has signed it, and both are valid at the time. */
export function isTrusted(leafPem: string, bundle: string, now: number): boolean {
  const leaf = new X509Certificate(leafPem)
  const isValid = (certificate: X509Certificate) =>
    Date.parse(certificate.validFrom) <= now && now < Date.parse(certificate.validTo)
  return (
    isValid(leaf) &&
    pemBlocks(bundle).some((ca) => ca.ca && isValid(ca) && leaf.checkIssued(ca) && leaf.verify(ca.publicKey))
  )
}
