/**
 * What processes in real containers see: the webhook's pods on a real kubelet. The folder that the webhook reads and the
 * Secrets of the cluster say the same.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { openFolder } from '../../src/store/folder.ts'
import { writeFolder } from '../support/server.ts'
import { type OpenWebhook, openWebhook } from '../support/webhook.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { findProgram, importImage } from './kit/images.ts'
import { whyNoNode } from './kit/node.ts'
import { type Registry, startRegistry } from './kit/registry.ts'
import { whenObject } from './kit/watch.ts'
import { register } from './kit/webhooks.ts'
import { expectNoSecretInAuditLog } from './support/audit.ts'
import { apply, collection, type Manifest } from './support/objects.ts'

const NAMESPACE = 'containers'
const IMAGE = 'test.local/ssh:1'
const NON_ROOT = 65532
const GROUP = 2000

const reason = whyNoNode()

describe.skipIf(reason)(`real containers${reason ? ` (${reason})` : ''}`, () => {
  let cluster: Cluster
  let webhook: OpenWebhook
  let registry: Registry
  let catalog: Manifest[]

  beforeAll(async () => {
    cluster = await startCluster({ node: true, name: 'containers' })
    await importImage(cluster, {
      name: IMAGE,
      busybox: true,
      programs: { '/usr/bin/ssh-keygen': await findProgram('ssh-keygen') },
    })
    registry = await startRegistry(cluster)
    await cluster.createNamespace(NAMESPACE)
    catalog = catalogWith(newSshKey())
    for (const manifest of catalog) if (manifest.kind === 'Secret') await apply(cluster.client, manifest)
    const folder = writeFolder({
      'catalog.yaml': catalog.map((manifest) => stringify(manifest)).join('---\n'),
    })
    webhook = await openWebhook({ store: openFolder(folder, { watch: false }).store })
    await register(cluster, { name: 'containers', url: webhook.url, ca: webhook.ca, namespaces: [NAMESPACE] })
  })
  afterAll(async () => {
    await webhook?.close()
    await cluster?.stop()
  })

  describe('a private key, by whom the container runs as', () => {
    const rows: [string, object, { fsGroup?: number }, { mode: string; ssh: 'yes' | 'no' }][] = [
      ['root', { runAsUser: 0 }, {}, { mode: '400 0 0', ssh: 'yes' }],
      ['unknown', {}, {}, { mode: '400 0 0', ssh: 'yes' }],
      ['root-with-group', { runAsUser: 0 }, { fsGroup: GROUP }, { mode: `440 0 ${GROUP}`, ssh: 'no' }],
      ['unknown-with-group', {}, { fsGroup: GROUP }, { mode: `440 0 ${GROUP}`, ssh: 'no' }],
      [
        'non-root-with-group',
        { runAsUser: NON_ROOT },
        { fsGroup: GROUP },
        { mode: `440 0 ${GROUP}`, ssh: 'yes' },
      ],
      ['non-root', { runAsUser: NON_ROOT }, {}, { mode: '444 0 0', ssh: 'yes' }],
      [
        'said-to-be-non-root',
        { runAsNonRoot: true, runAsUser: NON_ROOT },
        {},
        { mode: '444 0 0', ssh: 'yes' },
      ],
    ]
    test.concurrent.each(rows)('%s', async (name, container, pod, { mode, ssh }) => {
      const script = `
        stat -L -c '%a %u %g' /keys/id_ed25519
        cat /keys/id_ed25519 > /dev/null && echo readable
        ssh-keygen -y -f /keys/id_ed25519 > /dev/null 2>&1 && echo yes || echo no`
      const output = await outputOf(
        podOf(name, { inject: 'key=/keys' }, pod, { securityContext: container }, script),
      )
      expect(output.trim().split('\n')).toEqual([mode, 'readable', ssh])
    })
  })

  test('variables of every kind arrive, in init containers, sidecars and containers alike', async () => {
    const script = 'env | grep -E "^(WHOLE|LISTED|PLAIN|OWN|JOINED)" | sort'
    const own = {
      env: [
        { name: 'WHOLE_TWO', value: 'own two' },
        { name: 'JOINED', value: 'user:$(LISTED_ONE)@host' },
      ],
    }
    const pod = podOf('variables', { inject: 'variables, listed' }, {}, own, script)
    const first = { name: 'first', image: IMAGE, imagePullPolicy: 'Never', command: ['sh', '-c', script] }
    const sidecar = {
      ...first,
      name: 'sidecar',
      restartPolicy: 'Always',
      command: ['sh', '-c', `${script}; sleep 3600`],
    }
    await run({ ...pod, spec: { ...pod.spec, initContainers: [first, sidecar] } })

    const given = ['LISTED_ONE=listed value', 'PLAIN=$(LISTED_ONE) costs 5$ or $$', 'WHOLE_ONE=whole one']
    for (const container of ['first', 'sidecar'])
      expect((await logs('variables', container)).trim().split('\n'), container).toEqual([
        ...given,
        'WHOLE_TWO=whole two',
      ])
    expect((await logs('variables', 'main')).trim().split('\n')).toEqual([
      'JOINED=user:listed value@host',
      ...given,
      'WHOLE_TWO=own two',
    ])
  })

  test('two credentials share a folder, and one of them has a folder inside it', async () => {
    const script =
      'cd /shared; for f in $(find . -follow -type f -not -path "*/..*" | sort); do echo "$f $(stat -L -c %a $f) $(cat $f)"; done'
    const output = await outputOf(podOf('shared', { inject: 'part, other-part' }, {}, {}, script))
    expect(output.trim().split('\n')).toEqual([
      './deep/config 400 deep config',
      './plain 400 plain file',
      './strict 440 strict file',
    ])
  })

  test('files cannot be written, and a mount that would hide one is refused before any container starts', async () => {
    const output = await outputOf(
      podOf('read-only', { inject: 'part' }, {}, {}, 'touch /shared/x 2>&1; true'),
    )
    expect(output).toContain('Read-only file system')
    const hiding = { volumeMounts: [{ name: 'cache', mountPath: '/shared/plain' }] }
    const refused = podOf(
      'hidden',
      { inject: 'other-part' },
      { volumes: [{ name: 'cache', emptyDir: {} }] },
      hiding,
    )
    await expect(create(refused)).rejects.toThrow(
      /MountPathConflict: container main mounts volume cache at \/shared\/plain/,
    )
  })

  test('a pod waits for a secret that comes late, and then starts', async () => {
    const pod = podOf('patient', { inject: 'late' }, {}, {}, 'echo $LATE_KEY')
    await create(pod)
    await whenPod('patient', ({ status }) =>
      status.containerStatuses?.some(({ state }) => state.waiting?.reason === 'CreateContainerConfigError'),
    )
    await apply(cluster.client, secret('late-secret', { LATE_KEY: 'late value' }))
    await whenPod('patient', ({ status }) => status.phase === 'Succeeded')
    expect(await logs('patient', 'main')).toBe('late value\n')
  })

  test('a file whose secret changes is new in the running container', async () => {
    const script = 'while ! grep -q second /changing/token; do sleep 0.2; done; cat /changing/token'
    await create(podOf('changing', { inject: 'changing' }, {}, {}, script))
    await whenPod('changing', ({ status }) => status.phase === 'Running')
    await apply(cluster.client, secret('changing-secret', { token: 'second' }))
    await whenPod('changing', ({ status }) => status.phase === 'Succeeded')
    expect(await logs('changing', 'main')).toBe('second')
  })

  test('an image that needs a login is pulled with the one that is injected, and not without', async () => {
    const image = await registry.push({ name: IMAGE, busybox: true, cmd: ['sh'] }, 'private/tool:1')
    const auth = Buffer.from(`${registry.username}:${registry.password}`).toString('base64')
    await apply(cluster.client, {
      ...secret('pull-secret', {
        '.dockerconfigjson': JSON.stringify({ auths: { [registry.address]: { auth } } }),
      }),
      type: 'kubernetes.io/dockerconfigjson',
    })
    const pulling = { image, imagePullPolicy: 'Always' }

    await create(podOf('without-login', {}, {}, pulling))
    await whenPod('without-login', ({ status }) =>
      status.containerStatuses?.some(({ state }) =>
        /^(ErrImagePull|ImagePullBackOff)$/.test(state.waiting?.reason ?? ''),
      ),
    )
    expect(await outputOf(podOf('with-login', { inject: 'login' }, {}, pulling, 'echo pulled'))).toBe(
      'pulled\n',
    )
  })

  test('no value of a Secret was written into the audit log', () => expectNoSecretInAuditLog(cluster))

  // ---- Pods -----------------------------------------------------------------------------------------------------------

  async function outputOf(pod: PodManifest): Promise<string> {
    await run(pod)
    return logs(pod.metadata.name, 'main')
  }

  async function run(pod: PodManifest): Promise<void> {
    await create(pod)
    await whenPod(pod.metadata.name, ({ status }) => status.phase === 'Succeeded')
  }

  function create(pod: PodManifest, query = ''): Promise<PodManifest> {
    return cluster.client.create(`${collection('Pod', NAMESPACE)}${query}`, pod)
  }

  function whenPod(name: string, isRight: (pod: RunningPod) => boolean | undefined): Promise<RunningPod> {
    return whenObject<RunningPod>(
      cluster.client,
      collection('Pod', NAMESPACE),
      name,
      (pod) => isRight(pod) === true,
    )
  }

  function logs(pod: string, container: string): Promise<string> {
    return cluster.kubectl(['logs', '--namespace', NAMESPACE, pod, '--container', container])
  }
})

interface PodManifest {
  metadata: { name: string; annotations?: Record<string, string> }
  spec: object
}

interface RunningPod extends PodManifest {
  status: { phase: string; containerStatuses?: { state: { waiting?: { reason: string } } }[] }
}

/** A pod of one container that runs a script once. */
function podOf(
  name: string,
  annotations: Record<string, string>,
  spec: { securityContext?: object; fsGroup?: number; [field: string]: unknown },
  container: object = {},
  script = 'true',
): PodManifest {
  const { fsGroup, ...rest } = spec
  return {
    metadata: {
      name,
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [`credentials.run.ai/${key}`, value]),
      ),
    },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 1,
      ...(fsGroup && { securityContext: { fsGroup } }),
      ...rest,
      containers: [
        { name: 'main', image: IMAGE, imagePullPolicy: 'Never', command: ['sh', '-c', script], ...container },
      ],
    },
  }
}

// ---- Catalogue -------------------------------------------------------------------------------------------------------

function catalogWith(sshKey: string): Manifest[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    secret('key-secret', { id_ed25519: sshKey }),
    credential('key', 'key-secret', { type: 'file', mountPath: '/root/.ssh' }),
    secret('variables-secret', { WHOLE_ONE: 'whole one', WHOLE_TWO: 'whole two' }),
    credential('variables', 'variables-secret', { type: 'environment' }),
    secret('listed-secret', { 'the.key': 'listed value', UNLISTED: 'nobody sees this' }),
    credential('listed', 'listed-secret', {
      type: 'environment',
      variables: [
        { name: 'LISTED_ONE', key: 'the.key' },
        { name: 'PLAIN', value: '$(LISTED_ONE) costs 5$ or $$' },
      ],
    }),
    secret('part-secret', { config: 'deep config', strict: 'strict file' }),
    credential('part', 'part-secret', {
      type: 'file',
      mountPath: '/shared',
      files: [
        { key: 'config', path: 'deep/config' },
        { key: 'strict', mode: '0440' },
      ],
    }),
    secret('other-part-secret', { plain: 'plain file' }),
    credential('other-part', 'other-part-secret', { type: 'file', mountPath: '/shared/' }),
    credential('late', 'late-secret', { type: 'environment' }),
    secret('changing-secret', { token: 'first' }),
    credential('changing', 'changing-secret', { type: 'file', mountPath: '/changing' }),
    credential('login', 'pull-secret', { type: 'dockerRegistry' }),
  ]
}

function credential(name: string, secretName: string, spec: object): Manifest {
  return {
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { name, namespace: NAMESPACE },
    spec: { secretRef: { name: secretName }, ...spec },
  }
}

function secret(name: string, stringData: Record<string, string>): Manifest {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: NAMESPACE }, stringData }
}

function newSshKey(): string {
  const folder = mkdtempSync(join(tmpdir(), 'credential-injector-key-'))
  try {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', join(folder, 'key')])
    return readFileSync(join(folder, 'key'), 'utf8')
  } finally {
    rmSync(folder, { recursive: true })
  }
}
