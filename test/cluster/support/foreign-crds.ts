/** Definitions of others that the chart's options are written for. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Cluster } from '../kit/cluster.ts'
import { certManagerCrds } from '../kit/programs.ts'

const PINS = fileURLToPath(new URL('../programs/prometheus-operator-crds', import.meta.url))
const PROMETHEUS_OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.92.0'

export async function installCertManagerCrds(cluster: Cluster): Promise<void> {
  await install(cluster, await certManagerCrds(), /\.yaml$/)
}

/** From the operator's Go module, as pinned: it has no other use here. */
export async function installMonitoringCrds(cluster: Cluster): Promise<void> {
  const download = ['mod', 'download', '-json', PROMETHEUS_OPERATOR]
  const { stdout } = await promisify(execFile)('go', download, { cwd: PINS })
  const folder = join(JSON.parse(stdout).Dir, 'example/prometheus-operator-crd')
  await install(cluster, folder, /_(servicemonitors|prometheusrules)\.yaml$/)
}

async function install(cluster: Cluster, folder: string, wanted: RegExp): Promise<void> {
  const files = readdirSync(folder).filter((name) => wanted.test(name))
  if (files.length < 2) throw new Error(`There are no definitions in ${folder}.`)
  const flags = files.flatMap((name) => ['-f', join(folder, name)])
  await cluster.kubectl(['apply', '--server-side', ...flags])
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...flags])
}
