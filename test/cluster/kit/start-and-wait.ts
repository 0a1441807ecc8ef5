/* Starts a cluster, says where, and waits: for the test that kills it. */
import { startCluster } from './cluster.ts'

const { folder } = await startCluster()
process.stdout.write(`${folder}\n`)
setInterval(() => {}, 1_000_000)
