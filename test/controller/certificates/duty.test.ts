import { once } from 'node:events'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { describe, expect, test, vi } from 'vitest'
import {
  CA,
  DAY,
  isTrusted,
  OVERLAP,
  PODS,
  pemBlocks,
  SECOND,
  SERVING,
  SETTLE,
  WORKLOADS,
  World,
} from './world.ts'

const MADE = 'made a certificate authority'
const ISSUED = 'issued a serving certificate'
const TRUSTED = 'wrote the authorities into webhook configurations'
const NOTED = 'every webhook configuration trusts the new authority'
const TIDIED = 'earlier authorities are no longer trusted'

async function installed(now?: number) {
  const world = new World(now)
  world.installConfigurations()
  await world.settle()
  world.now += OVERLAP
  await world.settle()
  world.told()
  world.cluster.writes.length = 0
  return world
}

function rotateBy(world: World, annotation: string): void {
  world.cluster.change(CA, (secret) => {
    secret.metadata.annotations = { [annotation]: 'now' }
  })
}

describe('a new cluster', () => {
  test('gets an authority, is told to trust it, and gets a serving certificate: in this order and at once', async () => {
    const world = new World()
    world.installConfigurations()
    await world.settle()
    expect(world.told()).toEqual([MADE, TRUSTED, ISSUED])

    const ca = pemBlocks(world.text(CA, 'tls.crt'))[0]
    const leaf = pemBlocks(world.text(SERVING, 'tls.crt'))[0]
    expect(ca?.ca).toBe(true)
    expect(leaf?.subjectAltName).toBe(
      'DNS:credential-injector-webhook.credential-injector.svc, ' +
        'DNS:credential-injector-webhook.credential-injector.svc.cluster.local',
    )
    expect(leaf?.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
    for (const bundle of [
      ...world.bundles(PODS),
      ...world.bundles(WORKLOADS),
      world.text(SERVING, 'ca.crt'),
    ]) {
      expect(bundle).toBe(world.text(CA, 'tls.crt'))
      expect(isTrusted(world.text(SERVING, 'tls.crt'), bundle, world.now)).toBe(true)
    }
    for (const path of [CA, SERVING]) {
      expect(world.cluster.objects.get(path)).toMatchObject({
        type: 'kubernetes.io/tls',
        metadata: { labels: { 'app.kubernetes.io/managed-by': 'credential-injector' } },
      })
    }
  })

  test('the pair serves TLS to a client that trusts the bundle alone', async () => {
    const world = await installed(Math.floor(Date.now() / SECOND) * SECOND)
    const server = createServer({ cert: world.text(SERVING, 'tls.crt'), key: world.text(SERVING, 'tls.key') })
    server.on('secureConnection', (socket: TLSSocket) => socket.end('served'))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    try {
      const { port } = server.address() as { port: number }
      const ask = (ca: string) =>
        new Promise<string>((resolve) => {
          const servername = 'credential-injector-webhook.credential-injector.svc'
          const socket = connect({ host: '127.0.0.1', port, ca, servername })
          socket.on('data', (data) => resolve(String(data)))
          socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
        })
      expect(await ask(world.bundles(PODS)[0] as string)).toBe('served')
      expect(await ask(pemBlocks(world.text(SERVING, 'tls.crt'))[0]?.toString() as string)).not.toBe('served')
    } finally {
      server.close()
    }
  })

  test('webhook configurations that come later are mended then, and nothing else in them changes', async () => {
    const world = new World()
    await world.settle()
    expect(world.told()).toEqual([MADE, ISSUED])
    world.installConfigurations()
    const before = structuredClone(world.cluster.objects.get(WORKLOADS))
    await world.settle()
    expect(world.told()).toEqual([TRUSTED])
    const after = structuredClone(world.cluster.objects.get(WORKLOADS)) as any
    for (const entry of after.webhooks) delete entry.clientConfig.caBundle
    delete after.metadata.resourceVersion
    delete before?.metadata.resourceVersion
    expect(after).toEqual(before)
  })
})

describe('when all is well', () => {
  test('nothing is written', async () => {
    const world = await installed()
    for (let day = 0; day < 40; day += 1) {
      world.now += DAY
      await world.settle()
    }
    expect(world.cluster.writes).toEqual([])
  })

  test('the time of the next step is told', async () => {
    const world = await installed()
    const leaf = pemBlocks(world.text(SERVING, 'tls.crt'))[0]
    const next = await world.settle()
    const left = Date.parse(leaf?.validTo as string) - next
    expect(left).toBeGreaterThanOrEqual(30 * DAY - 1)
    expect(left).toBeLessThan(40 * DAY)
    world.now = next
    await world.settle()
    expect(world.told()).toEqual([ISSUED])
  })
})

describe('the serving certificate is issued anew', () => {
  const cases: Record<string, [(world: World) => void, string]> = {
    'when two thirds of its life are over': [
      (world) => {
        world.now += 61 * DAY
      },
      'two thirds of its life are over',
    ],
    'when it has expired': [
      (world) => {
        world.now += 91 * DAY
      },
      'it has expired',
    ],
    'when its Secret is gone': [(world) => world.cluster.delete(SERVING), 'there is none'],
    'when its key is another': [
      (world) =>
        world.cluster.change(SERVING, (secret) => {
          secret.data['tls.key'] = world.cluster.objects.get(CA)?.data['tls.key']
        }),
      'what its Secret holds cannot be used',
    ],
    'when its Secret holds no certificate': [
      (world) =>
        world.cluster.change(SERVING, (secret) => {
          secret.data['tls.crt'] = Buffer.from(
            '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
          ).toString('base64')
        }),
      'what its Secret holds cannot be used',
    ],
    'when its Secret is empty': [
      (world) =>
        world.cluster.change(SERVING, (secret) => {
          delete secret.data
        }),
      'what its Secret holds cannot be used',
    ],
    'when somebody asks': [
      (world) =>
        world.cluster.change(SERVING, (secret) => {
          secret.metadata.annotations = { 'credentials.run.ai/rotate': 'now', 'example.com/kept': 'yes' }
        }),
      'its renewal was asked for',
    ],
  }
  test.for(Object.entries(cases))('%s', async ([, [happen, reason]]) => {
    const world = await installed()
    const before = world.text(SERVING, 'tls.crt')
    const bundles = world.bundles(PODS)
    happen(world)
    await world.settle()
    expect(world.log.map(({ message, fields }) => [message, fields.reason])).toEqual([[ISSUED, reason]])
    expect(world.text(SERVING, 'tls.crt')).not.toBe(before)
    expect(world.bundles(PODS)).toEqual(bundles)
    world.told()
    await world.settle()
    expect(world.told()).toEqual([])
  })

  test('when the Service is called differently', async () => {
    const world = await installed()
    await world.settle(world.duty(undefined, { extraNames: ['localhost'] }))
    expect(world.log[0]?.fields.reason).toBe('it is for other names')
    expect(pemBlocks(world.text(SERVING, 'tls.crt'))[0]?.subjectAltName).toMatch(/, DNS:localhost$/)
  })

  test('what others have written on the Secret stays', async () => {
    const world = await installed()
    world.cluster.change(SERVING, (secret) => {
      secret.metadata.annotations = { 'credentials.run.ai/rotate': 'now', 'example.com/kept': 'yes' }
      secret.metadata.labels.team = 'platform'
    })
    await world.settle()
    expect(world.cluster.objects.get(SERVING)?.metadata).toMatchObject({
      annotations: { 'example.com/kept': 'yes' },
      labels: { team: 'platform' },
    })
    expect(world.cluster.objects.get(SERVING)?.metadata.annotations).not.toHaveProperty(
      'credentials.run.ai/rotate',
    )
  })
})

describe('a new authority is trusted before it signs, and the old one until nobody serves what it signed', () => {
  const cases: Record<string, (world: World) => void> = {
    'when most of its life is over': (world) => {
      world.now += 0.8 * 3650 * DAY
    },
    'when its Secret is deleted': (world) => world.cluster.delete(CA),
    'when its key is damaged': (world) =>
      world.cluster.change(CA, (secret) => {
        secret.data['tls.key'] = ''
      }),
    'when somebody asks': (world) => rotateBy(world, 'credentials.run.ai/rotate'),
  }
  test.for(Object.entries(cases))('%s', async ([, happen]) => {
    const world = await installed()
    const oldCa = world.text(CA, 'tls.crt')
    const oldLeaf = world.text(SERVING, 'tls.crt')
    happen(world)

    let next = await world.settle()
    expect(world.told()).toEqual([MADE, TRUSTED, NOTED])
    const newCa = world.text(CA, 'tls.crt')
    expect(newCa).not.toBe(oldCa)
    expect(world.bundles(PODS)).toEqual([newCa + oldCa])
    expect(world.text(SERVING, 'tls.crt')).toBe(oldLeaf)
    expect(next).toBe(world.now + SETTLE)

    world.now = next - SECOND
    next = await world.settle()
    expect(world.told()).toEqual([])

    world.now = next
    next = await world.settle()
    expect(world.told()).toEqual([ISSUED])
    expect(world.bundles(PODS)).toEqual([newCa + oldCa])
    expect(next).toBe(world.now + OVERLAP)

    world.now = next
    await world.settle()
    expect(world.told()).toEqual([TRUSTED, TIDIED])
    expect([...world.bundles(PODS), ...world.bundles(WORKLOADS)]).toEqual([newCa, newCa, newCa])
    expect(world.text(CA, 'ca.crt')).toBe(newCa)
    expect(world.cluster.objects.get(CA)?.metadata.annotations).toEqual({})
  })

  test('when both Secrets are deleted, pods that still serve the old certificate are trusted', async () => {
    const world = await installed()
    const oldCa = world.text(CA, 'tls.crt')
    const oldLeaf = world.text(SERVING, 'tls.crt')
    world.cluster.delete(CA)
    world.cluster.delete(SERVING)
    await world.settle()
    expect(world.bundles(PODS)[0]).toContain(oldCa)
    expect(isTrusted(oldLeaf, world.bundles(PODS)[0] as string, world.now)).toBe(true)
    expect(world.cluster.objects.has(SERVING)).toBe(false)
    world.now += SETTLE
    await world.settle()
    expect(isTrusted(world.text(SERVING, 'tls.crt'), world.bundles(PODS)[0] as string, world.now)).toBe(true)
  })

  test.for([
    [
      'as the authority’s Secret has them on record',
      (world: World) => rotateBy(world, 'credentials.run.ai/rotate'),
    ],
    ['as the serving certificate’s Secret has its own', (world: World) => world.cluster.delete(CA)],
  ] as const)(
    'webhook configurations that are installed anew get both authorities, %s',
    async ([, happen]) => {
      const world = await installed()
      const oldCa = world.text(CA, 'tls.crt')
      happen(world)
      if (world.cluster.objects.has(CA)) {
        await world.settle()
        // Then the authority's Secret is the only one that knows.
        world.cluster.delete(SERVING)
      }
      world.installConfigurations()
      await world.settle()
      expect(world.bundles(WORKLOADS)[1]).toBe(world.text(CA, 'tls.crt') + oldCa)
      expect(world.text(CA, 'tls.crt')).not.toBe(oldCa)
    },
  )

  test('an authority that comes back from a backup is trusted for a while before it signs', async () => {
    const world = await installed()
    const backup = structuredClone(world.cluster.objects.get(CA)) as any
    backup.metadata.annotations = { 'credentials.run.ai/trusted-since': new Date(world.now).toISOString() }
    world.cluster.delete(CA)
    await world.settle()
    for (const wait of [SETTLE, OVERLAP]) {
      world.now += wait
      await world.settle()
    }
    world.told()
    world.cluster.put(CA, backup)
    expect(await world.settle()).toBe(world.now + SETTLE)
    expect(world.told()).toEqual([TRUSTED, NOTED])
  })
})

describe('webhook configurations', () => {
  test('a bundle that is emptied, damaged or lengthened is mended', async () => {
    const world = await installed()
    const good = world.bundles(PODS)
    for (const caBundle of [undefined, 'AAAA', Buffer.from(`${good[0]}${good[0]}`).toString('base64')]) {
      world.cluster.change(PODS, (object) => {
        object.webhooks[0].clientConfig.caBundle = caBundle
      })
      await world.settle()
      expect(world.bundles(PODS)).toEqual(good)
    }
    expect(world.cluster.writes.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `PATCH ${PODS}`,
      `PATCH ${PODS}`,
      `PATCH ${PODS}`,
    ])
  })

  test('one that changes between reading and writing is not written over', async () => {
    const world = await installed()
    world.cluster.change(PODS, (object) => {
      delete object.webhooks[0].clientConfig.caBundle
    })
    const client = world.cluster.client(async (call, method, path) => {
      if (method === 'PATCH' && path === PODS)
        world.cluster.change(PODS, (object) => {
          object.webhooks.unshift({ name: 'first.example.com', clientConfig: {} })
        })
      return call()
    })
    await expect(world.settle(world.duty(client))).rejects.toMatchObject({ status: 422 })
    expect(world.bundles(PODS)).toEqual(['', ''])
  })
})

describe('a Secret of somebody else', () => {
  test.for([
    ['credential-injector-ca', CA, '--ca-secret'],
    ['credential-injector-webhook-tls', SERVING, '--certificate-secret'],
  ])('%s is left alone, and the error says what to do', async ([name, path, flag]) => {
    const world = new World()
    world.installConfigurations()
    world.cluster.put(path as string, { metadata: { name }, data: { 'tls.crt': 'eA==' } })
    await expect(world.settle()).rejects.toThrow(
      `The Secret ${name} in the namespace credential-injector is not the injector's (it has no label ` +
        `app.kubernetes.io/managed-by=credential-injector) and is left alone: delete it, or name another with ${flag}.`,
    )
    expect(world.cluster.writes).toEqual([])
  })
})

describe('while it runs', () => {
  test('a bundle that is emptied is mended at once, watches that end begin again, and the signal ends it', async () => {
    const world = new World()
    world.installConfigurations()
    const end = new AbortController()
    const running = world.duty(undefined, { random: () => 0 }).run(end.signal)
    const isMended = () => expect(world.bundles(PODS)[0]).toBe(world.text(CA, 'tls.crt'))
    try {
      await vi.waitFor(() => expect(world.cluster.objects.has(SERVING)).toBe(true), LIMIT)
      for (const round of [1, 2]) {
        await vi.waitFor(() => expect(world.cluster.watches, `round ${round}`).toBe(4), LIMIT)
        world.cluster.change(PODS, (object) => {
          delete object.webhooks[0].clientConfig.caBundle
        })
        await vi.waitFor(isMended, LIMIT)
        world.cluster.cutWatches()
      }
    } finally {
      end.abort()
      await running
    }
    expect(world.cluster.watches).toBe(0)
    expect(world.log.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('what fails is told once, tried again, and shown as failing until it is over', async () => {
    const world = new World()
    world.installConfigurations()
    let failures = 3
    const client = world.cluster.client(async (call, method) => {
      if (method === 'POST' && failures > 0) {
        failures -= 1
        throw new Error('no route to host')
      }
      return call()
    })
    const end = new AbortController()
    const running = world.duty(client, { random: () => 0 }).run(end.signal)
    try {
      await vi.waitFor(() => expect(world.cluster.objects.has(SERVING)).toBe(true), LIMIT)
    } finally {
      end.abort()
      await running
    }
    expect(world.log.filter(({ level }) => level === 'error').map(({ fields }) => fields.problem)).toEqual([
      'no route to host',
    ])
    expect(await world.registry.metrics()).toContain('credential_injector_managed_certificate_failing 0')
  })
})

test('metrics and events tell of what was made, and no key is ever told', async () => {
  const world = await installed()
  world.cluster.delete(CA)
  await world.settle()
  world.now += SETTLE
  await world.settle()
  const text = await world.registry.metrics()
  expect(text).toContain('credential_injector_managed_certificate_rotations_total{certificate="ca"} 2')
  expect(text).toContain('credential_injector_managed_certificate_rotations_total{certificate="serving"} 2')
  expect(text).toContain(
    `credential_injector_managed_certificate_expiry_timestamp_seconds{certificate="serving"} ${(world.now + 90 * DAY) / SECOND}`,
  )
  expect(world.events.map(({ reason, secret }) => `${reason} ${secret.name}`)).toEqual([
    'CertificateAuthorityMade credential-injector-ca',
    'ServingCertificateIssued credential-injector-webhook-tls',
    'CertificateAuthorityMade credential-injector-ca',
    'ServingCertificateIssued credential-injector-webhook-tls',
  ])
  const told = JSON.stringify([world.log, world.events, text])
  for (const path of [CA, SERVING]) {
    const line = world.text(path, 'tls.key').split('\n')[1] as string
    expect(line.length).toBeGreaterThan(40)
    expect(told).not.toContain(line)
  }
  expect(told).not.toContain('PRIVATE KEY')
})

const LIMIT = { timeout: 20_000, interval: 10 }
