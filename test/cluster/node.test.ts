import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { findProgram, importImage } from './kit/images.ts'
import type { NodeFile } from './kit/layout.ts'
import { BUSYBOX_IMAGE } from './kit/names.ts'
import { cgroupFolders, whyNoNode } from './kit/node.ts'
import { isAlive, startedIn } from './kit/processes.ts'
import { type Registry, startRegistry } from './kit/registry.ts'
import { whenGone, whenObject } from './kit/watch.ts'

const PODS = '/api/v1/namespaces/default/pods'
const obstacle = whyNoNode()

describe.skipIf(obstacle)(`a node${obstacle ? `: skipped, ${obstacle}` : ''}`, () => {
  let cluster: Cluster
  let other: Cluster

  beforeAll(async () => {
    ;[cluster, other] = await Promise.all([startCluster({ node: true }), startCluster({ node: true })])
  })
  afterAll(() => Promise.all([cluster?.stop(), other?.stop()]))

  test('runs a pod: logs and exec work, its files have the modes that were asked for', async () => {
    await cluster.kubectl(['create', 'secret', 'generic', 'key', '--from-literal=token=canary'])
    await cluster.client.create(PODS, pod('files', 'ls -lL /creds && exec sleep 3600', ['key']))
    await running(cluster, 'files')

    expect(await cluster.kubectl(['logs', 'files'])).toMatch(/^-r-------- +1 root +root +6 .* token$/m)
    expect(await cluster.kubectl(['exec', 'files', '--', 'cat', '/creds/token'])).toBe('canary')
  })

  test('a changed Secret shows up in the files of a pod that runs', async () => {
    await cluster.kubectl(['create', 'secret', 'generic', 'changing', '--from-literal=token=old'])
    // It ends when it has seen the other value.
    const wait = 'until grep -q new /creds/token; do sleep 0.2; done; cat /creds/token'
    await cluster.client.create(PODS, pod('changing', wait, ['changing']))
    await running(cluster, 'changing')

    await cluster.kubectl(['patch', 'secret', 'changing', '-p', '{"stringData":{"token":"new"}}'])

    await whenObject<any>(cluster.client, PODS, 'changing', ({ status }) => status.phase === 'Succeeded')
    expect(await cluster.kubectl(['logs', 'changing'])).toBe('new')
  })

  test('two nodes on one machine know nothing of each other', async () => {
    await Promise.all(
      [cluster, other].map(async (each) => {
        await each.client.create(PODS, pod('same-name', 'exec sleep 3600'))
        await running(each, 'same-name')
      }),
    )
    const address = async ({ client }: Cluster) => (await client.get<any>(`${PODS}/same-name`)).status.podIP
    const network = (ip: string) => ip.replace(/\.\d+$/, '')

    expect(network(await address(cluster))).not.toBe(network(await address(other)))
    expect(cluster.node?.bridge).not.toBe(other.node?.bridge)
  })

  test('a pod reaches the API server where Kubernetes says that it is', async () => {
    const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT`
    await cluster.client.create(PODS, pod('calls', ask))
    await whenObject<any>(cluster.client, PODS, 'calls', ({ status }) => status.phase === 'Succeeded')

    // What the API server says to whoever does not speak TLS.
    expect(await cluster.kubectl(['logs', 'calls'])).toContain('HTTP request to an HTTPS server')
  })

  test('programs of this machine run as images, with their libraries', async () => {
    await importImage(cluster, {
      name: 'test.local/ssh:latest',
      programs: { '/usr/bin/ssh-keygen': await findProgram('ssh-keygen') },
      busybox: true,
      env: { KIND: 'ed25519' },
      user: '65532:65532',
    })
    const command = 'id -u; ssh-keygen -q -t $KIND -N "" -f /tmp/key && ssh-keygen -y -f /tmp/key'
    await cluster.client.create(PODS, pod('ssh', command, [], { image: 'test.local/ssh:latest' }))
    await whenObject<any>(cluster.client, PODS, 'ssh', ({ status }) => status.phase === 'Succeeded')

    expect(await cluster.kubectl(['logs', 'ssh'])).toMatch(/^65532\nssh-ed25519 /)
  })

  test('a pod that is deleted goes', async () => {
    await cluster.client.create(PODS, pod('short', 'exec sleep 3600'))
    await running(cluster, 'short')

    await cluster.kubectl(['delete', 'pod', 'short', '--wait=false', '--grace-period=1'])

    await whenGone(cluster.client, PODS, 'short')
  })

  describe('a private registry', () => {
    let registry: Registry
    let image: string

    beforeAll(async () => {
      registry = await startRegistry(cluster)
      image = await registry.push({ name: 'private', busybox: true, cmd: ['sh'] }, 'team/private:1')
    })

    test('gives nothing to a pod without the password', async () => {
      await cluster.client.create(PODS, pod('stranger', 'true', [], { image, imagePullPolicy: 'Always' }))

      const { status } = await whenObject<any>(
        cluster.client,
        PODS,
        'stranger',
        ({ status }) => status.containerStatuses?.[0].state.waiting?.reason === 'ErrImagePull',
      )

      expect(status.containerStatuses[0].state.waiting.message).toContain('401 Unauthorized')
    })

    test('gives the image to a pod with the password', async () => {
      const { address, username, password } = registry
      await cluster.kubectl([
        ...['create', 'secret', 'docker-registry', 'login', `--docker-server=${address}`],
        ...[`--docker-username=${username}`, `--docker-password=${password}`],
      ])
      const member = pod('member', 'echo pulled', [], { image, imagePullPolicy: 'Always' })
      await cluster.client.create(PODS, {
        ...member,
        spec: { ...member.spec, imagePullSecrets: [{ name: 'login' }] },
      })

      await whenObject<any>(cluster.client, PODS, 'member', ({ status }) => status.phase === 'Succeeded')
      expect(await cluster.kubectl(['logs', 'member'])).toBe('pulled\n')
    })
  })

  test('leaves nothing behind when it is stopped', async () => {
    const { folder } = other
    const { bridge, cgroup } = other.node as NodeFile
    const processes = startedIn(folder)
    expect(existsSync(`/sys/class/net/${bridge}`)).toBe(true)
    expect(processes.filter(isAlive).map(({ name }) => name)).toContain('kubelet')

    await other.stop()

    expect(processes.filter(isAlive)).toEqual([])
    expect(existsSync(folder)).toBe(false)
    expect(existsSync(`/sys/class/net/${bridge}`)).toBe(false)
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(folder)
    expect(cgroupFolders(cgroup).filter(existsSync)).toEqual([])
  })
})

/** Runs a shell command in busybox, with the Secrets as files in /creds, for their owner only. */
function pod(name: string, command: string, secrets: string[] = [], container: object = {}) {
  return {
    metadata: { name },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: BUSYBOX_IMAGE,
          imagePullPolicy: 'Never',
          command: ['sh', '-c', command],
          ...(secrets.length > 0 && {
            volumeMounts: [{ name: 'creds', mountPath: '/creds', readOnly: true }],
          }),
          ...container,
        },
      ],
      ...(secrets.length > 0 && {
        volumes: [
          {
            name: 'creds',
            projected: { defaultMode: 0o400, sources: secrets.map((name) => ({ secret: { name } })) },
          },
        ],
      }),
    },
  }
}

function running({ client }: Cluster, name: string): Promise<unknown> {
  return whenObject<any>(client, PODS, name, ({ status }) => status.phase === 'Running')
}
