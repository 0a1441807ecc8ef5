import { apply_patch } from 'jsonpatch'
import { type KubeClient, KubeError } from '../../../src/kube/client.ts'

type Stored = { metadata: Record<string, any>; [field: string]: any }

/**
 * Objects by path, with versions as an API server has them: a write on an old version is refused. Watches tell about every change
 * of the one object that they are for.
 */
export class FakeCluster {
  readonly objects = new Map<string, Stored>()
  /** Every write that came through, in order. */
  readonly writes: { method: string; path: string; body: any }[] = []
  /** What `onWrite` is told: the path, and the object as it is now (undefined: deleted). */
  onWrite: (path: string, object: Stored | undefined) => void = () => {}
  #version = 0
  readonly #watchers = new Set<{ path: string; tell: () => void; end: () => void }>()

  put(path: string, object: object): Stored {
    const stored = structuredClone(object) as Stored
    this.#version += 1
    stored.metadata = {
      ...stored.metadata,
      uid: this.objects.get(path)?.metadata.uid ?? `uid-${this.#version}`,
      resourceVersion: String(this.#version),
    }
    this.objects.set(path, stored)
    this.#changed(path, stored)
    return stored
  }

  delete(path: string): void {
    if (this.objects.delete(path)) this.#changed(path, undefined)
  }

  /** Writes of a person: no version asked for. */
  change(path: string, change: (object: Stored) => void): void {
    const object = this.objects.get(path)
    if (!object) return
    const copy = structuredClone(object)
    change(copy)
    this.put(path, copy)
  }

  /** Ends every watch, as API servers do now and then. */
  cutWatches(): void {
    for (const watcher of this.#watchers) watcher.end()
  }

  get watches(): number {
    return this.#watchers.size
  }

  /** `around` sees every call, and decides whether it gets through and what comes back. */
  client(around: (call: () => any, method: string, path: string) => Promise<any> = async (call) => call()) {
    const found = (path: string) => {
      const object = this.objects.get(path)
      if (!object) throw new KubeError(404, 'NotFound', `${path} not found`)
      return object
    }
    const write = (method: string, path: string, body: any, then: () => Stored) =>
      around(
        () => {
          const result = then()
          this.writes.push({ method, path, body })
          return structuredClone(result)
        },
        method,
        path,
      )
    const client: KubeClient = {
      get: (path) => around(() => structuredClone(found(path)), 'GET', path),
      create: (path, body: any) =>
        write('POST', path, body, () => {
          const whole = `${path}/${body.metadata.name}`
          if (this.objects.has(whole)) throw new KubeError(409, 'AlreadyExists', `${whole} exists`)
          return this.put(whole, body)
        }),
      replace: (path, body: any) =>
        write('PUT', path, body, () => {
          if (found(path).metadata.resourceVersion !== body.metadata.resourceVersion)
            throw new KubeError(409, 'Conflict', `${path} has been modified`)
          return this.put(path, body)
        }),
      patch: (path, _type, body: any) =>
        write('PATCH', path, body, () => {
          const present = structuredClone(found(path))
          try {
            return this.put(path, apply_patch(present, body))
          } catch (error) {
            if (error instanceof KubeError) throw error
            throw new KubeError(422, 'Invalid', 'the patch does not apply')
          }
        }),
      delete: async (path) => this.delete(path),
      stream: (path, options) => this.#watch(path, options?.signal),
      close: () => {},
    }
    return client
  }

  async *#watch(path: string, signal?: AbortSignal): AsyncGenerator<unknown> {
    const [collection, query] = path.split('?')
    const name = new URLSearchParams(query).get('fieldSelector')?.replace('metadata.name=', '')
    let pending = 1
    let over = false
    let wake = () => {}
    const watcher = {
      path: `${collection}/${name}`,
      tell: () => {
        pending += 1
        wake()
      },
      end: () => {
        over = true
        wake()
      },
    }
    this.#watchers.add(watcher)
    signal?.addEventListener('abort', watcher.end, { once: true })
    try {
      while (!over) {
        while (pending > 0) {
          pending -= 1
          yield {}
        }
        if (over) return
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    } finally {
      this.#watchers.delete(watcher)
    }
  }

  #changed(path: string, object: Stored | undefined): void {
    this.onWrite(path, object)
    for (const watcher of this.#watchers) if (watcher.path === path) watcher.tell()
  }
}
