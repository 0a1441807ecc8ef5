/** TLS connections as an API server opens them, for bytes that no HTTP client would send. */
import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'

interface Place {
  readonly url: string
  /** PEM of the authorities to trust. */
  readonly ca: string
}

/** Not connected yet. */
export function socketTo({ url, ca }: Place): TLSSocket {
  const { hostname, port } = new URL(url)
  return connect({
    host: hostname,
    port: Number(port),
    ca,
    servername: 'localhost',
    ALPNProtocols: ['http/1.1'],
  })
}

export async function openSocket(place: Place): Promise<TLSSocket> {
  const socket = socketTo(place)
  await once(socket, 'secureConnect')
  return socket
}
