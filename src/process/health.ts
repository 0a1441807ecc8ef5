import type { FastifyInstance } from 'fastify'
import { bodyOf } from './http-errors.ts'
import type { Lifecycle } from './lifecycle.ts'

export const HEALTH_ROUTES = { '/healthz': ['GET', 'HEAD'], '/readyz': ['GET', 'HEAD'] } as const

/** `/healthz`: the process answers. `/readyz`: it wants requests, that is, it has read what it needs and is not about to end. */
export function addHealthRoutes(app: FastifyInstance, lifecycle: Lifecycle): void {
  app.get('/healthz', (_request, reply) => reply.type('text/plain').send('ok\n'))
  app.get('/readyz', (_request, reply) => {
    if (lifecycle.phase === 'ready') return reply.type('text/plain').send('ok\n')
    const message =
      lifecycle.phase === 'starting' ? (lifecycle.startingWith ?? STARTING) : 'The process is about to end.'
    const error = { status: 503, reason: 'ServiceUnavailable', message }
    return reply.code(503).type('application/json').send(bodyOf(error))
  })
}

const STARTING = 'The catalogue is still being read.'
