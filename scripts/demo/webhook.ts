/** The real webhook as a child process, and a client that talks to it as an API server does. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:https'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'

export interface Webhook {
  url: string
  /** Sends the body of an AdmissionReview. */
  review(body: string): Promise<Answer>
  stop(): Promise<void>
}

export interface Answer {
  /** AdmissionReview.response. */
  response: Response
  /** From the first byte sent to the last received. */
  milliseconds: number
}

interface Response {
  uid: string
  allowed: boolean
  /** Base64 of a JSON Patch. */
  patch?: string
  warnings?: string[]
  status?: { message: string }
  auditAnnotations: { outcome: string; credentials?: string }
}

const STARTS_WITHIN_MS = 15_000
const STOPS_WITHIN_MS = 5_000
const ANSWERS_WITHIN_MS = 10_000

/** Throws, with what the process said, if it does not become ready. */
export async function startWebhook(catalog: string): Promise<Webhook> {
  const args = [
    'bin/credential-injector.js',
    'serve',
    '--catalog',
    catalog,
    '--port',
    '0',
    '--log-level',
    'error',
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  // Whatever becomes of this process, that one does not outlive it.
  process.on('exit', () => child.kill('SIGKILL'))
  const said = text(child.stderr)
  try {
    const url = await readiness(child)
    const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
    return { url, review: (body) => post(url, agent, body), stop: () => stop(child, agent) }
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`the webhook does not start: ${(await said).trim() || (error as Error).message}`)
  }
}

async function readiness(child: ChildProcess & { stdout: NodeJS.ReadableStream }): Promise<string> {
  const late = setTimeout(() => child.kill('SIGKILL'), STARTS_WITHIN_MS)
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /is ready: (https:\S+)/.exec(line)?.[1]
      if (url) return url
    }
  } finally {
    clearTimeout(late)
  }
  throw new Error('it ended before it was ready')
}

/** A certificate of the child's own making, on this machine, is trusted as it is: there is nobody in between. */
async function post(url: string, agent: Agent, body: string): Promise<Answer> {
  const start = performance.now()
  const outgoing = request(`${url}?timeout=${ANSWERS_WITHIN_MS / 1000}s`, {
    method: 'POST',
    agent,
    signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  })
  outgoing.end(body)
  const [incoming] = await once(outgoing, 'response')
  const answer = await text(incoming)
  const milliseconds = performance.now() - start
  if (incoming.statusCode !== 200) throw new Error(`the webhook answers ${incoming.statusCode}: ${answer}`)
  return { response: JSON.parse(answer).response, milliseconds }
}

async function stop(child: ChildProcess, agent: Agent): Promise<void> {
  agent.destroy()
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGINT')
  const late = setTimeout(() => child.kill('SIGKILL'), STOPS_WITHIN_MS)
  await ended
  clearTimeout(late)
}
