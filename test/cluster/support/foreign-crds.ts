/** CustomResourceDefinitions of cert-manager and of the Prometheus operator, from their Go modules as pinned in ../crds. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Cluster } from '../kit/cluster.ts'

const PINS = fileURLToPath(new URL('../crds', import.meta.url))

const SOURCES = {
  'github.com/cert-manager/cert-manager@v1.21.2': {
    folder: 'deploy/crds',
    file: /^cert-manager\.io_.*\.yaml$/,
  },
  'github.com/prometheus-operator/prometheus-operator@v0.92.0': {
    folder: 'example/prometheus-operator-crd',
    file: /_(servicemonitors|prometheusrules)\.yaml$/,
  },
}

export async function installForeignCrds(cluster: Cluster): Promise<void> {
  for (const [module, { folder, file }] of Object.entries(SOURCES)) {
    const { stdout } = await promisify(execFile)('go', ['mod', 'download', '-json', module], { cwd: PINS })
    const at = join(JSON.parse(stdout).Dir, folder)
    const files = readdirSync(at).filter((name) => file.test(name))
    if (files.length < 2) throw new Error(`${module} has no definitions in ${folder}`)
    const flags = files.flatMap((name) => ['-f', join(at, name)])
    await cluster.kubectl(['apply', '--server-side', ...flags])
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...flags])
  }
}
