/** The copy of a collection, and a server that does to it what servers and networks do. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import type { Clock } from '../../src/kube/clock.ts'
import {
  type Reflector,
  type ReflectorSettings,
  startReflector,
  type Trouble,
} from '../../src/kube/reflector.ts'
import { isLater } from '../../src/kube/resource-version.ts'
import {
  type FakeApiServer,
  type FakeObject,
  type Fault,
  faults,
  startFakeApiServer,
} from '../support/fake-apiserver.ts'
import { eventually } from '../support/webhook.ts'

const RESOURCE = 'run.ai/v1/credentials'
const PATH = '/apis/run.ai/v1/credentials'

let server: FakeApiServer
let client: KubeClient
let reflector: Reflector<any, string> | undefined
/** Waits that were asked for. They take no time. */
let waits: number[]
let troubles: Trouble[]
let puts: string[]
let removals: string[]

beforeEach(async () => {
  server = await startFakeApiServer()
  client = createKubeClient({ server: server.url })
  waits = []
  troubles = []
  puts = []
  removals = []
})

afterEach(async () => {
  await reflector?.stop()
  reflector = undefined
  client.close()
  await server.close()
})

const clock: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds) => {
    waits.push(milliseconds)
    return new Promise((resolve) => setImmediate(resolve))
  },
  random: () => 1,
}

function start(settings: Partial<ReflectorSettings<any, string>> = {}): Reflector<any, string> {
  reflector = startReflector<any, string>({
    client,
    path: PATH,
    keep: ({ spec }) => String(spec?.value),
    onPut: (kept, key, before) => puts.push(`${key}: ${before} → ${kept}`),
    onRemove: (kept, key) => removals.push(`${key}: ${kept}`),
    onTrouble: (trouble) => troubles.push(trouble),
    clock,
    ...settings,
  })
  return reflector
}

function credential(name: string, value = '1', namespace = 'team'): FakeObject {
  return { metadata: { name, namespace, managedFields: [{ manager: 'kubectl' }] }, spec: { value } }
}

const put = (name: string, value?: string) => server.put(RESOURCE, credential(name, value))
const remove = (name: string) => server.remove(RESOURCE, name, 'team')

function copy(): Record<string, string> {
  return Object.fromEntries(
    server
      .objects(RESOURCE)
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
      .map((key) => [key, String(reflector?.get(key))]),
  )
}

function truth(): Record<string, string> {
  return Object.fromEntries(
    server
      .objects(RESOURCE)
      .map(({ metadata, spec }) => [`${metadata.namespace}/${metadata.name}`, String((spec as any).value)]),
  )
}

/** Until the copy says what the server says. */
async function caughtUp(): Promise<void> {
  await eventually('the copy is what the server has', () => {
    const isWhole = reflector?.stats().objects === server.objects(RESOURCE).length
    return isWhole && JSON.stringify(copy()) === JSON.stringify(truth())
  })
}

const watchOpen = () => eventually('a watch is open', () => server.watches.size > 0)
const asked = (verb: string) => server.requests.filter((request) => request.verb === verb)

describe('in good weather', () => {
  test('lists in pages, then watches from there, and asks for bookmarks', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) put(name)
    await start({ limits: { page: 2 } }).synced
    await watchOpen()
    const [first, second, third] = asked('list')
    expect(first?.query.get('limit')).toBe('2')
    expect([first?.query.get('continue'), second?.query.get('continue')]).toEqual([null, expect.any(String)])
    expect(third?.query.get('continue')).not.toBe(second?.query.get('continue'))
    const query = Object.fromEntries(asked('watch')[0]?.query ?? [])
    expect(query).toMatchObject({ allowWatchBookmarks: 'true', resourceVersion: server.version() })
    expect(Number(query.timeoutSeconds)).toBe(300)
    expect(reflector?.stats()).toEqual({
      objects: 5,
      isSynced: true,
      relists: 0,
      failures: 0,
      handlerErrors: 0,
    })
    expect([...(reflector?.values() ?? [])]).toEqual(['1', '1', '1', '1', '1'])
  })

  test('follows what happens', async () => {
    put('a')
    await start().synced
    put('a', '2')
    put('b')
    remove('a')
    await caughtUp()
    expect(puts).toEqual(['team/a: undefined → 1', 'team/a: 1 → 2', 'team/b: undefined → 1'])
    expect(removals).toEqual(['team/a: 2'])
  })

  test('an empty collection is in order', async () => {
    await start().synced
    put('a')
    await caughtUp()
  })

  test('asks for metadata only where that is enough', async () => {
    server.put('v1/namespaces', {
      metadata: { name: 'team', labels: { team: 'ml' } },
      spec: { finalizers: [] },
    })
    const seen: any[] = []
    await start({
      path: '/api/v1/namespaces',
      metadataOnly: true,
      query: 'labelSelector=team',
      keep: (object) => {
        seen.push(object)
        return object.metadata.labels.team
      },
    }).synced
    await watchOpen()
    expect(seen[0].kind).toBe('PartialObjectMetadata')
    expect(reflector?.get('team')).toBe('ml')
    expect(asked('list')[0]?.headers.accept).toBe(
      'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    )
    expect(asked('watch')[0]?.headers.accept).toBe(
      'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    )
    expect(asked('watch')[0]?.query.get('labelSelector')).toBe('team')
  })

  test('goes on from a bookmark when the server ends a watch', async () => {
    await start().synced
    await watchOpen()
    server.put('run.ai/v1/clustercredentials', { metadata: { name: 'other' } })
    server.bookmark()
    const bookmarked = server.version()
    for (const watch of server.watches) watch.end()
    await eventually('the next watch', () => asked('watch')[1])
    expect(asked('watch')[1]?.query.get('resourceVersion')).toBe(bookmarked)
    expect(asked('list')).toHaveLength(1)
    expect(troubles).toEqual([])
  })

  test('stops when it is told to', async () => {
    await start().synced
    await watchOpen()
    await reflector?.stop()
    await eventually('the connection is closed', () => server.watches.size === 0)
    const { length } = server.requests
    put('a')
    expect(server.requests).toHaveLength(length)
    expect(reflector?.stats().objects).toBe(0)
  })

  test('stops in the middle of a wait', async () => {
    server.fault('list', faults.status(500, 'InternalError'))
    const ended = Promise.withResolvers<void>()
    start({
      clock: {
        ...clock,
        sleep: (_milliseconds, signal) =>
          new Promise((resolve) => {
            signal?.addEventListener('abort', () => resolve())
            ended.resolve()
          }),
      },
    })
    await ended.promise
    await reflector?.stop()
    expect(asked('list')).toHaveLength(1)
  })
})

describe('when the server has forgotten what happened', () => {
  test.each(['status', 'event'] as const)(
    'it lists again and sees the difference (410 as %s)',
    async (as) => {
      put('stays')
      put('goes')
      put('changes')
      await start().synced
      await watchOpen()
      puts.length = 0
      server.cutWatches()
      server.fault('watch', faults.cut())
      remove('goes')
      put('changes', '2')
      put('comes')
      server.compact(as)
      await caughtUp()
      await watchOpen()
      expect(puts.sort()).toEqual(['team/changes: 1 → 2', 'team/comes: undefined → 1'])
      expect(removals).toEqual(['team/goes: 1'])
      expect(reflector?.stats().relists).toBe(1)
      put('later')
      await caughtUp()
    },
  )

  test('a page that is too large is asked for in halves, down to one object of whatever size', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e'])
      server.put(RESOURCE, {
        metadata: { name, namespace: 'n' },
        spec: 'x'.repeat(name === 'c' ? 5_000 : 500),
      })
    await start({ limits: { page: 4, pageBytes: 2_000 } }).synced
    expect(reflector?.stats().objects).toBe(5)
    const sizes = server.requests.filter(({ verb }) => verb === 'list').map(({ query }) => query.get('limit'))
    expect(sizes).toEqual(['4', '2', '2', '1', '1', '1'])
    expect(troubles).toEqual([])
  })

  test('a page token that has expired begins the list anew', async () => {
    for (const name of ['a', 'b', 'c']) put(name)
    server.fault('list', (_answer, _request, goOn) => {
      goOn()
      remove('a')
      server.compact()
    })
    await start({ limits: { page: 2 } }).synced
    expect(asked('list').map(({ query }) => query.has('continue'))).toEqual([false, true, false])
    expect(troubles[0]?.error).toMatchObject({ status: 410 })
    expect(copy()).toEqual({ 'team/b': '1', 'team/c': '1' })
    expect(reflector?.get('team/a')).toBeUndefined()
  })

  test('a server that was set back to a backup is listed again', async () => {
    await start().synced
    await watchOpen()
    for (const watch of server.watches)
      watch.write(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '3' } } })}\n`)
    await eventually('a second list', () => asked('list')[1])
    expect(troubles[0]?.error.message).toContain('went back from version')
  })
})

describe('when things break', () => {
  test.each<[string, Fault]>([
    ['a cut connection', faults.cut()],
    ['429 with Retry-After', faults.status(429, 'TooManyRequests', { retryAfter: 3 })],
    ['500', faults.status(500, 'InternalError')],
    ['403', faults.status(403, 'Forbidden')],
    ['404', faults.status(404, 'NotFound')],
    ['no JSON', faults.text('<html>')],
    ['half of the JSON', faults.text('{"items":[')],
    ['JSON that is no list', faults.text('{"metadata":{"resourceVersion":"1"},"items":7}')],
    ['JSON null', faults.text('null')],
    ['a list without a version', faults.text('{"items":[]}')],
    [
      'a list with an object without a name',
      faults.text('{"metadata":{"resourceVersion":"1"},"items":[{}]}'),
    ],
  ])('a list that meets %s is tried again', async (_what, fault) => {
    put('a')
    server.fault('list', fault)
    await start().synced
    await caughtUp()
    expect(troubles[0]).toMatchObject({ during: 'list', failures: 1 })
    expect(reflector?.stats().failures).toBe(1)
  })

  test.each<[string, Fault, lists: number]>([
    ['a cut connection', faults.text('', 'cut'), 1],
    ['429 with Retry-After', faults.status(429, 'TooManyRequests', { retryAfter: 3 }), 1],
    ['500', faults.status(500, 'InternalError'), 1],
    ['504 for a version that is too new', faults.status(504, 'Timeout'), 2],
    ['half a line', faults.text('{"type":"ADDED","obj'), 1],
    ['half a line and a cut', faults.text('{"type":"ADDED","obj', 'cut'), 1],
    ['no JSON', faults.text('<html>\n'), 2],
    ['an event without an object', faults.text('{"type":"ADDED"}\n'), 2],
    [
      'an event without a name',
      faults.text('{"type":"ADDED","object":{"metadata":{"resourceVersion":"9999"}}}\n'),
      2,
    ],
    ['null', faults.text('null\n'), 2],
    ['an end at once', faults.text(''), 1],
    ['an error of the server within the watch', faults.text('{"type":"ERROR","object":{"code":500}}\n'), 2],
    ['an error without a word', faults.text('{"type":"ERROR"}\n'), 2],
  ])('a watch that meets %s goes on', async (_what, fault, lists) => {
    put('a')
    server.fault('watch', fault)
    await start().synced
    await eventually('another watch', () => asked('watch')[1])
    put('b')
    await caughtUp()
    expect(asked('list')).toHaveLength(lists)
    expect(troubles[0]).toMatchObject({ during: 'watch', failures: 1 })
    expect(troubles[0]?.error.message).not.toBe('')
  })

  test('nothing is lost when a watch is cut between events', async () => {
    await start().synced
    for (let round = 0; round < 10; round++) {
      put(`a${round}`)
      await watchOpen()
      put(`b${round}`)
      server.cutWatches()
      put(`c${round}`)
      if (round > 1) remove(`b${round - 2}`)
    }
    await caughtUp()
    expect(asked('list')).toHaveLength(1)
  })

  test('a watch that nothing comes from is taken for dead, and what it missed is listed', async () => {
    await start({ limits: { silence: 50 } }).synced
    // Every watch after this one is as it should be, but no events come: it falls silent too, and the next list shows it.
    server.fault('watch', faults.silence())
    await eventually('a second list', () => asked('list')[1])
    expect(troubles[0]?.error.message).toBe('nothing came from the watch for 0.05 s, not even a bookmark')
    put('a')
    await caughtUp()
  })

  test('bookmarks keep a watch alive', async () => {
    await start({ limits: { silence: 200 } }).synced
    await watchOpen()
    const begin = performance.now()
    await eventually('three times as long', () => {
      server.bookmark()
      return performance.now() - begin > 600
    })
    expect(asked('watch')).toHaveLength(1)
  })

  test('waits longer and longer, up to a limit, and as long as the server asks', async () => {
    const failing = 12
    for (let count = 0; count < failing; count++) server.fault('list', faults.status(500, 'InternalError'))
    server.fault('list', faults.status(429, 'TooManyRequests', { retryAfter: 5 }))
    await start().synced
    expect(waits.slice(0, 6)).toEqual([100, 200, 400, 800, 1600, 3200])
    expect(waits.slice(6, failing)).toEqual([5_000, 5_000, 5_000, 5_000, 5_000, 5_000])
    expect(waits[failing]).toBe(10_000)
  })

  test('a server that answers again is not waited for as one that is away', async () => {
    for (let count = 0; count < 6; count++) server.fault('list', faults.text('', 'cut'))
    server.fault('list', faults.status(429, 'TooManyRequests', { retryAfter: 1 }))
    server.fault('list', faults.status(410, 'Expired'))
    server.fault('list', faults.text('', 'cut'))
    await start().synced
    expect(waits.slice(5)).toEqual([3200, 1100, 100, 5_000])
  })

  test('an event ends the row of failures', async () => {
    let recoveries = 0
    for (let count = 0; count < 3; count++) server.fault('watch', faults.status(500, 'InternalError'))
    await start({ onRecovery: () => recoveries++ }).synced
    await watchOpen()
    put('a')
    await caughtUp()
    expect(recoveries).toBe(1)
    server.cutWatches()
    await eventually('a fourth wait', () => waits[3])
    expect(waits).toEqual([100, 200, 400, 100])
  })

  test('waits are spread', async () => {
    server.fault('list', faults.cut())
    await start({ clock: { ...clock, random: () => 0 } }).synced
    expect(waits[0]).toBe(50)
  })

  test.each(['keep', 'onPut', 'onRemove'] as const)(
    'an error of %s is counted, told, and nothing stops',
    async (handler) => {
      put('a')
      let throws = true
      const fail = () => {
        if (throws) throw new Error('a bug')
      }
      await start({
        keep: ({ spec }) => {
          if (handler === 'keep') fail()
          return spec.value
        },
        onPut: () => handler === 'onPut' && fail(),
        onRemove: () => handler === 'onRemove' && fail(),
      }).synced
      put('b')
      remove('b')
      await eventually('it was counted', () => reflector?.stats().handlerErrors)
      expect(troubles[0]).toMatchObject({ during: 'handler', error: { message: 'a bug' } })
      throws = false
      put('a', '2')
      put('c')
      await caughtUp()
    },
  )
})

describe('staleness', () => {
  test('is the time since the server last proved to be there', async () => {
    let now = 0
    put('a')
    server.fault('list', faults.status(500, 'InternalError'))
    const held = Promise.withResolvers<void>()
    start({
      clock: {
        ...clock,
        now: () => now,
        sleep: () => held.promise,
      },
    })
    await eventually('trouble', () => troubles[0])
    now = 7_000
    expect(reflector?.staleSeconds()).toBe(7)
    held.resolve()
    await reflector?.synced
    await watchOpen()
    await eventually('the watch is known to be open', () => reflector?.staleSeconds() === 0)
    now = 9_500
    expect(reflector?.staleSeconds()).toBe(2.5)
    server.bookmark()
    await eventually('a bookmark is proof', () => reflector?.staleSeconds() === 0)
  })
})

describe('objects that were read past the watch', () => {
  const read = (name: string) =>
    server.objects(RESOURCE).find(({ metadata }) => metadata.name === name) as any

  test('come into the copy at once, and the watch’s event of the same is nothing new', async () => {
    await start().synced
    await watchOpen()
    const made = put('a')
    expect(reflector?.offer(made as any)).toBe('1')
    expect(reflector?.get('team/a')).toBe('1')
    put('b')
    await caughtUp()
    expect(puts.filter((line) => line.startsWith('team/a'))).toHaveLength(1)
  })

  test('an object that the watch has seen the end of does not come back', async () => {
    await start().synced
    const made = put('a')
    remove('a')
    put('b')
    await caughtUp()
    expect(reflector?.offer(made as any)).toBeUndefined()
    expect(reflector?.get('team/a')).toBeUndefined()
  })

  test('an older state does not replace a newer one', async () => {
    await start().synced
    const old = put('a')
    put('a', '2')
    await caughtUp()
    expect(reflector?.offer(old as any)).toBe('2')
  })

  test('the end of an earlier object of the name does not remove a later one', async () => {
    put('a')
    await start().synced
    await watchOpen()
    const late: (() => void)[] = []
    for (const watch of server.watches) {
      const write = watch.write.bind(watch)
      watch.write = ((line: string) => late.push(() => write(line))) as never
    }
    remove('a')
    put('a', '2')
    expect(reflector?.offer(read('a'))).toBe('2')
    late[0]?.()
    server.put(RESOURCE, credential('b'))
    late.slice(1).map((go) => go())
    await caughtUp()
    expect(removals).toEqual([])
  })

  test('a list that was made before does not remove it', async () => {
    await start().synced
    await watchOpen()
    server.fault('watch', faults.cut())
    let made: any
    server.fault('list', (_answer, _request, goOn) => {
      goOn()
      made = put('a')
      reflector?.offer(made)
    })
    server.compact()
    server.cutWatches()
    await eventually('it was listed', () => reflector?.stats().relists === 1)
    expect(reflector?.get('team/a')).toBe('1')
    await caughtUp()
    expect(removals).toEqual([])
  })
})

describe('versions', () => {
  test.each([
    ['2', '1', true],
    ['10', '9', true],
    ['9', '10', false],
    ['5', '5', false],
    ['99999999999999999999', '99999999999999999998', true],
    ['a', '1', undefined],
    ['01', '1', undefined],
    [undefined, '1', undefined],
    [undefined, undefined, undefined],
  ])('%s is later than %s: %s', (a, b, answer) => expect(isLater(a, b)).toBe(answer))
})

test('whatever happens, the copy is at last what the server has', { timeout: 60_000 }, async () => {
  const names = fc.constantFrom('a', 'b', 'c', 'd')
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('put' as const),
        name: names,
        value: fc.integer({ min: 0, max: 9 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), name: names }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('offer' as const), name: names }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constantFrom('bookmark', 'cut', 'turn', 'compact', 'compactAsEvent') }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('fault' as const),
        verb: fc.constantFrom('list', 'watch'),
        which: fc.constantFrom('cut', '410', '429', '500', 'half', 'garbage', 'end'),
      }),
    },
  )
  const wrong: Record<string, () => Fault> = {
    cut: faults.cut,
    '410': () => faults.status(410, 'Expired'),
    '429': () => faults.status(429, 'TooManyRequests', { retryAfter: 1 }),
    '500': () => faults.status(500, 'InternalError'),
    half: () => faults.text('{"type":"ADD', 'cut'),
    garbage: () => faults.text('}{\n'),
    end: () => faults.text(''),
  }
  let last: any
  const act = async (one: any): Promise<void> => {
    if (one.do === 'put') last = put(one.name, String(one.value))
    else if (one.do === 'remove') remove(one.name)
    // What was read a while ago, maybe of an object that is gone.
    else if (one.do === 'offer') last && reflector?.offer(last)
    else if (one.do === 'bookmark') server.bookmark()
    else if (one.do === 'cut') server.cutWatches()
    else if (one.do === 'compact') server.compact()
    else if (one.do === 'compactAsEvent') server.compact('event')
    else if (one.do === 'fault') server.fault(one.verb, (wrong[one.which] as () => Fault)())
    else await new Promise((resolve) => setImmediate(resolve))
  }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      for (const { metadata } of server.objects(RESOURCE)) remove(metadata.name)
      last = undefined
      start({ limits: { page: 2 } })
      for (const one of steps) await act(one)
      server.clearFaults()
      await caughtUp()
      const replayed = new Map<string, string>()
      expect(reflector?.stats().handlerErrors).toBe(0)
      for (const key of Object.keys(truth())) replayed.set(key, String(reflector?.get(key)))
      expect(Object.fromEntries(replayed)).toEqual(truth())
      await reflector?.stop()
    }),
    { numRuns: 150 },
  )
})
