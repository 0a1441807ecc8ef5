/*
 * Passes connections on to a port of the loopback address, byte for byte.
 *
 *     node relay.ts ADDRESS PORT TARGET_PORT
 */
import { connect, createServer } from 'node:net'
import { pipeline } from 'node:stream'

const [address, port, target] = process.argv.slice(2)

createServer((socket) => {
  const onward = connect(Number(target), '127.0.0.1')
  // Either end may go away at any time; then the other goes too.
  pipeline(socket, onward, socket, () => {})
}).listen(Number(port), address)
