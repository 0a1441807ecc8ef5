/** The product's own programs against a real cluster. */
import { once } from 'node:events'
import { join } from 'node:path'
import { type Run, run, testCertificates } from '../../support/server.ts'

const READY_WITHIN_MS = 30_000

export interface Process extends Run {
  /** Of the webhook: where reviews are posted. */
  readonly url: string
  readonly metricsUrl: string
  stop(): Promise<unknown>
}

/** `credential-injector serve` with the catalogue of the cluster. Ready to answer when it resolves. */
export async function startWebhook(kubeconfig: string, flags: readonly string[] = []): Promise<Process> {
  const { folder } = await testCertificates()
  const tls = flags.includes('--tls-cert')
    ? []
    : ['--tls-cert', join(folder, 'tls.crt'), '--tls-key', join(folder, 'tls.key')]
  return started(['serve', '--kubeconfig', kubeconfig, '--port', '0', ...tls, ...flags])
}

/** `credential-injector controller`, leading when it resolves. */
export async function startController(kubeconfig: string, flags: readonly string[] = []): Promise<Process> {
  return started(['controller', '--kubeconfig', kubeconfig, '--metrics-port', '0', ...flags])
}

async function started(args: string[]): Promise<Process> {
  const child = run(args)
  const limit = AbortSignal.timeout(READY_WITHIN_MS)
  const ended = child.exited.then(() =>
    Promise.reject(new Error(`it ended at once:\n${child.stdout()}${child.stderr()}`)),
  )
  ended.catch(() => {})
  while (!/ is ready/.test(child.stdout())) {
    const said = once(child.process.stdout as NodeJS.ReadableStream, 'data', { signal: limit })
    await Promise.race([said, ended]).catch((error) => {
      child.signal('SIGKILL')
      throw new Error(
        `${args[0]} did not become ready (${error.message}):\n${child.stdout()}${child.stderr()}`,
      )
    })
  }
  const urls = child.stdout().match(/https?:\/\/\S+/g) ?? []
  return {
    ...child,
    url: urls.find((url) => url.startsWith('https')) ?? '',
    metricsUrl: urls.find((url) => url.endsWith('/metrics')) ?? '',
    stop: () => {
      child.signal('SIGINT')
      return child.exited
    },
  }
}
