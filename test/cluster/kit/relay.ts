/*
 * Passes connections on to a port of the loopback address, byte for byte.
 *
 *     node relay.ts ADDRESS PORT TARGET_PORT
 */
import { connect, createServer } from 'node:net'
import { pipeline } from 'node:stream'

const [address, port, target] = process.argv.slice(2)

// Whoever has said all may still want to hear the answer.
createServer({ allowHalfOpen: true }, (socket) => {
  const onward = connect({ port: Number(target), host: '127.0.0.1', allowHalfOpen: true })
  // Either end may go away at any time; then the other goes too.
  pipeline(socket, onward, socket, () => {})
}).listen(Number(port), address)
