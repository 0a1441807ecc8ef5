import type { IncomingHttpHeaders } from 'node:http'
import { type FastifyInstance, fastify } from 'fastify'
import { POLICY_PATH, sentBy } from '../api/policy-path.ts'
import { addErrorAnswers, createRefuse, ERROR_SETTINGS, type Refuse } from '../process/errors.ts'
import { addHealthRoutes, HEALTH_ROUTES } from '../process/health.ts'
import type { HttpError } from '../process/http-errors.ts'
import { closeGracefully, type Lifecycle } from '../process/lifecycle.ts'
import type { AdmissionSettings } from './admission.ts'
import { inBatches } from './batch.ts'
import { type BodyBudget, LARGE_BODIES_IN_FLIGHT_BYTES, readBody } from './body.ts'
import { unsupportedContentType, unsupportedEncoding } from './http-errors.ts'
import { createJudge, type Pending } from './judge.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { OwnerEvents } from './owner-events.ts'
import { type CertificatePair, secureContext } from './tls.ts'
import { createWorkloadCheck, WORKLOAD_PATH } from './workloads.ts'

export const REVIEW_PATH = '/mutate/pods'

export interface WebhookParts {
  readonly admission: AdmissionSettings
  readonly certificate: CertificatePair
  readonly lifecycle: Lifecycle
  readonly metrics: Metrics
  readonly log: Log
  /** Tells the owners of pods that were refused, where there is a cluster to tell them in. */
  readonly ownerEvents?: OwnerEvents
  /** Bytes of large reviews that may be in memory at once. */
  readonly largeBodiesInFlight?: number
}

/** The HTTPS server that API servers call: `POST /mutate/pods` (and below it for each policy), `POST /check/workloads`, `/healthz`, `/readyz`. Built, not listening. */
export function buildWebhook(parts: WebhookParts): FastifyInstance {
  const https = { ...TLS_SETTINGS, ...secureContext(parts.certificate) }
  const app = fastify({ ...HTTP_SETTINGS, https }) as unknown as FastifyInstance
  const refuse = createRefuse(parts.metrics)
  addReviewRoutes(app, parts, refuse)
  addHealthRoutes(app, parts.lifecycle)
  addErrorAnswers(
    app,
    { [REVIEW_PATH]: ['POST'], [WORKLOAD_PATH]: ['POST'], ...HEALTH_ROUTES },
    refuse,
    parts.log,
  )
  closeGracefully(app, parts.lifecycle)
  return app
}

/*
 * The client is an API server: it keeps up to 25 idle connections for 90 seconds, opens more when it needs them, and sends a
 * review once. A connection that is closed under a review fails the creation of a pod.
 */
const API_SERVER_IDLE_MS = 90_000

const TLS_SETTINGS = {
  // API servers speak HTTP/1.1 to webhooks and nothing else.
  ALPNProtocols: ['http/1.1'],
  // A connection that does not get as far as that is nobody's; the default is two minutes.
  handshakeTimeout: 10_000,
  // Counted from the opening of a connection. API servers keep spare ones that they have not used yet: time out after they do.
  headersTimeout: API_SERVER_IDLE_MS + 30_000,
  // No SNICallback: there is one certificate, and a callback that throws would take the process down.
}

const HTTP_SETTINGS = {
  // The client must be the one that gives up an idle connection; else a review can meet its end on the way.
  keepAliveTimeout: API_SERVER_IDLE_MS + 30_000,
  // A whole request; like headersTimeout it begins to run before a spare connection is used.
  requestTimeout: API_SERVER_IDLE_MS + 30_000,
  // Any silence, so also that of a client which does not read its answer. Above the other limits, which are precise.
  connectionTimeout: API_SERVER_IDLE_MS + 60_000,
  // Kubernetes balances connections, not requests: this lets a new replica have its share. Goes with `Connection: close`.
  maxRequestsPerSocket: 1000,
  // While closing, reviews are answered like before (with `Connection: close`): a 503 would fail somebody's pod.
  return503OnClosing: false,
  // There is no proxy in front; X-Forwarded-* is what any client may write.
  trustProxy: false,
  // Nothing reads the query: it holds the client's own deadline.
  // Names of policies may be as long as names of objects.
  routerOptions: { querystringParser: () => NO_QUERY, maxParamLength: 253 },
  // What the process does is logged by the code that decides it, one line for each decision.
  logger: false,
  ...ERROR_SETTINGS,
} as const

const NO_QUERY = {}

/** Parsed, the reviews of a batch take about ten times as much, which is about what a processor's second cache holds. */
const BATCH_BYTES = 64 * 1024

function addReviewRoutes(app: FastifyInstance, parts: WebhookParts, refuse: Refuse): void {
  const budget: BodyBudget = { used: 0, limit: parts.largeBodiesInFlight ?? LARGE_BODIES_IN_FLIGHT_BYTES }
  parts.metrics.gauge(
    'large_reviews_in_flight_bytes',
    'Bytes of reviews above 64 KiB in memory.',
    () => budget.used,
  )
  const judge = createJudge({ ...parts, refuse })
  const answer = inBatches(({ body }: Pending) => body.length, BATCH_BYTES, judge)
  addReviewRoute(app, REVIEW_PATH, budget, refuse, answer)
  addReviewRoute(app, REVIEW_PATH + POLICY_PATH, budget, refuse, answer)
  // One by one: people apply workloads, and what controllers make of them is skipped.
  const check = createWorkloadCheck({ ...parts, refuse })
  addReviewRoute(app, WORKLOAD_PATH, budget, refuse, ({ body, reply, release }) => {
    try {
      check(body, reply)
    } finally {
      release()
    }
  })
}

function addReviewRoute(
  app: FastifyInstance,
  path: string,
  budget: BodyBudget,
  refuse: Refuse,
  answer: (pending: Pending) => void,
): void {
  app.post(path, (request, reply) => {
    const problem = headersProblem(request.headers)
    if (problem) return refuse(reply, problem)
    const by = sentBy(request.params as Record<string, string>)
    readBody(
      request.raw,
      budget,
      (body, release) => answer({ body, reply, release, arrived: performance.now(), sentBy: by }),
      (error) => refuse(reply, error),
    )
  })
}

function headersProblem(headers: IncomingHttpHeaders): HttpError | undefined {
  const type = headers['content-type']
  if (type !== 'application/json' && !JSON_TYPE.test(type ?? '')) return unsupportedContentType(type)
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') return unsupportedEncoding(encoding)
  return undefined
}

const JSON_TYPE = /^\s*application\/json\s*(;|$)/i
