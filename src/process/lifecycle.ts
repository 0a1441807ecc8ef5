import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** Where the process is in its life. One object, shared by everything that answers differently at the end. */
export interface Lifecycle {
  phase: 'starting' | 'ready' | 'closing'
  /** How long to go on answering after the end has been announced, in milliseconds. */
  lameDuck: number
  /** What `/readyz` says while it starts, as a sentence. */
  readonly startingWith?: string
}

/**
 * Makes `app.close()` end without a failed request:
 *
 *     1. `/readyz` says no (`phase`), and every answer from now on has `Connection: close`: clients take the hint and go elsewhere.
 *     2. The lame duck: still listening, since it takes a while until every API server has heard that this replica is leaving.
 *     3. No new connections. Idle ones are closed; requests that are under way are finished, within a limit.
 *
 * Closing idle connections first instead would meet requests that are on their way.
 */
export function closeGracefully(app: FastifyInstance, lifecycle: Lifecycle): void {
  const open = trackConnections(app.server)
  // Fastify says so to requests that begin now; those whose body is still coming must hear it too.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (lifecycle.phase === 'closing') reply.header('connection', 'close')
    done(null, payload)
  })
  app.addHook('preClose', async () => {
    await sleep(lifecycle.lameDuck)
    // Node closes those that have been used and are idle, but takes one without any request yet for a busy one.
    for (const socket of open) if (socket.bytesRead === 0) socket.destroy()
    setTimeout(() => app.server.closeAllConnections(), IN_FLIGHT_LIMIT_MS).unref()
  })
}

/** A request in flight is one whose body is still arriving; API servers wait at most 30 s for its answer, usually 10. */
const IN_FLIGHT_LIMIT_MS = 10_000

function trackConnections(server: Server): ReadonlySet<Socket> {
  const open = new Set<Socket>()
  // On a TLS server the sockets of `connection` carry ciphertext; those of `secureConnection` count what they have decrypted.
  const event = 'setSecureContext' in server ? 'secureConnection' : 'connection'
  server.on(event, (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  return open
}
