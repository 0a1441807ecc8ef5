import { spawn } from 'node:child_process'
import type { Cluster } from '../kit/cluster.ts'
import { program } from '../kit/programs.ts'

/** cert-manager's controllers and its CA injector, at work in this cluster until the function that is returned is called. */
export async function startCertManager(cluster: Cluster): Promise<() => Promise<void>> {
  const child = spawn(await program('cert-manager'), ['--kubeconfig', cluster.kubeconfig], {
    stdio: 'ignore',
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  return async () => {
    child.kill('SIGKILL')
    await ended
  }
}

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
