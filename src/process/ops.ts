import { type FastifyInstance, fastify } from 'fastify'
import { addErrorAnswers, createRefuse, ERROR_SETTINGS } from './errors.ts'
import { addHealthRoutes, HEALTH_ROUTES } from './health.ts'
import { closeGracefully, type Lifecycle } from './lifecycle.ts'
import type { BaseLog } from './log.ts'
import type { BaseMetrics } from './metrics.ts'

/** The plain HTTP server for kubelet and Prometheus: `/metrics`, `/healthz` and `/readyz`. Built, not listening. */
export function buildOps(parts: {
  lifecycle: Lifecycle
  metrics: BaseMetrics
  log: BaseLog
}): FastifyInstance {
  const app = fastify({ logger: false, return503OnClosing: false, ...ERROR_SETTINGS })
  addHealthRoutes(app, parts.lifecycle)
  app.get('/metrics', async (_request, reply) =>
    reply.type(parts.metrics.contentType).send(await parts.metrics.text()),
  )
  addErrorAnswers(
    app,
    { '/metrics': ['GET', 'HEAD'], ...HEALTH_ROUTES },
    createRefuse(parts.metrics),
    parts.log,
  )
  closeGracefully(app, parts.lifecycle)
  return app
}
