/** A wire that can be cut: connections to the API server go through it, and end when the test says so. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Wire {
  /** The API server's address by this way. Its certificate holds: it is for the host, whatever the port. */
  readonly url: string
  /** Breaks every connection; new ones get through. */
  cut(): void
  /** Breaks every connection, and every new one until `mend`. */
  hold(): void
  mend(): void
  close(): Promise<void>
}

export async function layWire(to: string): Promise<Wire> {
  const { hostname, port } = new URL(to)
  const open = new Set<Socket>()
  let isHeld = false
  const server = createServer((near) => {
    if (isHeld) return void near.destroy()
    const far = connect(Number(port), hostname)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of open) socket.resetAndDestroy()
  }
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    hold() {
      isHeld = true
      cut()
    },
    mend() {
      isHeld = false
    },
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
