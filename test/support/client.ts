/** Posts reviews as an API server does: HTTP/1.1 over TLS, connections kept and up to 25 of them, `?timeout=`, no retry. */
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The body as JSON. */
  json(): any
}

export interface PostOptions {
  path?: string
  method?: string
  headers?: OutgoingHttpHeaders
}

export interface ApiServerClient {
  /** Rejects if the connection fails; never tries twice. */
  post(body: string | Buffer, options?: PostOptions): Promise<Answer>
  /** The AdmissionReview's `response` for this pod, created in this namespace. */
  createPod(pod: object, namespace?: string): Promise<any>
  close(): void
}

const AS_AN_API_SERVER = {
  'user-agent': 'kube-apiserver-admission',
  'content-type': 'application/json',
  accept: 'application/json, */*',
  'accept-encoding': 'gzip',
}

export function apiServerClient({ url, ca }: { url: string; ca: string }): ApiServerClient {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 25,
    scheduling: 'lifo',
    ALPNProtocols: ['http/1.1'],
    ca,
  })
  const { pathname } = new URL(url)

  async function post(
    body: string | Buffer,
    { path = `${pathname}?timeout=5s`, method = 'POST', headers }: PostOptions = {},
  ) {
    const sent = request(new URL(path, url), {
      agent,
      method,
      headers: { ...AS_AN_API_SERVER, 'content-length': Buffer.byteLength(body), ...headers },
    })
    sent.end(body)
    const [answer] = (await once(sent, 'response')) as [IncomingMessage]
    return answerOf(answer)
  }

  return {
    post,
    async createPod(pod, namespace = 'default') {
      const answer = await post(JSON.stringify(reviewOf(pod, namespace)))
      if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${answer.text}`)
      return answer.json().response
    },
    close: () => agent.destroy(),
  }
}

async function answerOf(answer: IncomingMessage): Promise<Answer> {
  const whole = await text(answer)
  return {
    status: answer.statusCode as number,
    headers: answer.headers,
    text: whole,
    json: () => JSON.parse(whole),
  }
}

/** A pod of one container, `main`, that asks for these credentials. */
export function podAsking(names: string, metadata: object = {}) {
  return {
    metadata: { name: 'train', annotations: { 'credentials.run.ai/inject': names }, ...metadata },
    spec: { containers: [{ name: 'main', image: 'registry.example/train:1' }] },
  }
}

/** The review that an API server sends when this pod is created. */
export function reviewOf(pod: object, namespace = 'default') {
  return {
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid: '6b6c6a2c-4d3d-4d43-9b3e-0c4f3f0c7f10',
      kind: { group: '', version: 'v1', kind: 'Pod' },
      resource: { group: '', version: 'v1', resource: 'pods' },
      requestKind: { group: '', version: 'v1', kind: 'Pod' },
      requestResource: { group: '', version: 'v1', resource: 'pods' },
      namespace,
      operation: 'CREATE',
      userInfo: { username: 'kubernetes-admin', groups: ['system:authenticated'] },
      object: { apiVersion: 'v1', kind: 'Pod', ...pod },
      oldObject: null,
      dryRun: false,
      options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1' },
    },
  }
}
