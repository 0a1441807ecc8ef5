/**
 * The measure for the webhook's speed: the same HTTPS server without a webhook in it. One fastify route that parses the
 * body with fastify's own parser and answers a constant.
 *
 *     node bench/bare.ts CERT KEY     prints its URL
 */
import { readFileSync } from 'node:fs'
import { fastify } from 'fastify'

const [certFile, keyFile] = process.argv.slice(2) as [string, string]

const app = fastify({
  https: {
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
  },
  bodyLimit: 7 * 1024 * 1024,
  keepAliveTimeout: 120_000,
})

const ANSWER =
  '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"00000000-0000-0000-0000-000000000000","allowed":true}}'

app.post('/mutate/pods', (_request, reply) => {
  reply.header('content-type', 'application/json; charset=utf-8').send(ANSWER)
})

await app.listen({ host: '127.0.0.1', port: 0 })
process.stdout.write(`bare fastify is ready: ${app.listeningOrigin}/mutate/pods\n`)
