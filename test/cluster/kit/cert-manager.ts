import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from './cluster.ts'
import { start, stop } from './processes.ts'
import { certManagerCrds, program } from './programs.ts'

/**
 * cert-manager's definitions and its real controllers, the CA injector among them: self-signed and CA issuers work. It ends with
 * the cluster, or with what is returned; the definitions stay.
 */
export async function startCertManager({
  folder,
  kubeconfig,
  kubectl,
}: Cluster): Promise<() => Promise<void>> {
  const [command, crds] = [await program('cert-manager'), await certManagerCrds()]
  const files = readdirSync(crds)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => ['--filename', join(crds, name)])
  await kubectl(['apply', '--server-side', '--force-conflicts', ...files])
  await kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...files])
  const running = start(folder, 'cert-manager', command, [`--kubeconfig=${kubeconfig}`])
  return () => stop(running)
}
