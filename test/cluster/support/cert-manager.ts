import type { Cluster } from '../kit/cluster.ts'

/** Has a certificate issued anew, as cert-manager's own command line does it. */
export async function renewCertificate(cluster: Cluster, namespace: string, name: string): Promise<void> {
  const path = `/apis/cert-manager.io/v1/namespaces/${namespace}/certificates/${name}`
  const { status } = await cluster.client.get<any>(path)
  const issuing = {
    type: 'Issuing',
    status: 'True',
    reason: 'ManuallyTriggered',
    message: 'asked for by a test',
  }
  const conditions = [...status.conditions.filter(({ type }: any) => type !== 'Issuing'), issuing]
  await cluster.client.patch(`${path}/status`, 'application/merge-patch+json', { status: { conditions } })
}
