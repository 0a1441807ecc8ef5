/**
 * A real Kubernetes on this machine to poke at, without Docker: etcd, API server and controller manager, and where it is possible
 * a node that runs containers. The first start builds the programs.
 *
 *     npm run cluster:up [-- --name NAME] [-- --node | --no-node]
 *     npm run cluster:down [-- --name NAME]
 */
import { parseArgs } from 'node:util'
import { startCluster } from '../test/cluster/kit/cluster.ts'
import { allFolders, type ClusterFile, readClusterFile } from '../test/cluster/kit/layout.ts'
import { whyNoNode } from '../test/cluster/kit/node.ts'
import { removeStale, tearDown } from '../test/cluster/kit/teardown.ts'

const USAGE =
  'Use: npm run cluster:up [-- --name NAME --node | --no-node], or npm run cluster:down [-- --name NAME]'

async function up({ name, node }: Flags): Promise<void> {
  if (name && kept().some((cluster) => cluster.name === name))
    throw new Error(`A cluster named ${name} runs already: npm run cluster:down -- --name ${name} stops it.`)
  const obstacle = whyNoNode()
  const started = performance.now()
  const cluster = await startCluster({ name, keep: true, node: node ?? obstacle === undefined })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const pods = cluster.node
    ? 'Pods run: images named test.local/busybox:latest and what test/cluster/kit/images.ts imports.'
    : `Pods are created and stay Pending${node === undefined && obstacle ? `: ${obstacle}` : ''}.`
  print(
    `Kubernetes is ready after ${seconds} s, at ${cluster.url}. ${pods}`,
    '',
    `export KUBECONFIG=${cluster.kubeconfig}`,
    `export PATH=${cluster.folder}/bin:$PATH   # its kubectl`,
    '',
    `Stop it with: npm run cluster:down -- --name ${cluster.name}`,
    `Logs of its parts and the audit log: ${cluster.folder}`,
  )
}

async function down({ name }: Flags): Promise<void> {
  const clusters = kept()
  const chosen = clusters.filter((cluster) => !name || cluster.name === name)
  if (chosen.length === 0) {
    if (name)
      throw new Error(
        `There is no cluster named ${name}. Running: ${clusters.map((cluster) => cluster.name).join(', ') || 'none'}.`,
      )
    print('There is no cluster to stop.')
  }
  for (const { folder, name } of chosen) {
    await tearDown(folder)
    print(`Stopped ${name}.`)
  }
  await removeStale()
}

/** Those of `cluster:up`; tests look after their own. */
function kept(): ClusterFile[] {
  return allFolders().flatMap((folder) => {
    const file = readClusterFile(folder)
    return file?.kept ? [file] : []
  })
}

interface Flags {
  readonly name?: string
  readonly node?: boolean
}

function print(...lines: string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`)
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    allowNegative: true,
    options: { name: { type: 'string' }, node: { type: 'boolean' } },
  })
  const command = { up, down }[positionals.join(' ')]
  if (!command) throw new Error(USAGE)
  await command(values)
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException
  process.stderr.write(code?.startsWith('ERR_PARSE_ARGS') ? `${message}\n${USAGE}\n` : `${message}\n`)
  process.exitCode = 1
}
