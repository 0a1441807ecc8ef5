/**
 * Ways around a policy with `enforcement: Enforce`, one by one: with the webhook as a process, another webhook that comes after it,
 * and the check of finished pods as the chart makes it. Whatever is stored must have, as a kubelet would see it, everything that the
 * policies give; or it is not stored.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { KubeError, type KubeObject } from '../../src/kube/client.ts'
import { everyContainer, observe, type PodObject } from '../support/kubelet.ts'
import { testCertificates } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'
import { installCrds } from './install-crds.ts'
import { sharedCluster } from './kit/shared.ts'
import { whenObject } from './kit/watch.ts'
import { type FakeWebhook, type Operation, register, startFakeWebhook } from './kit/webhooks.ts'
import { type Check, installCheck } from './support/enforcement.ts'
import { apply, collection, ensureNamespace, type Manifest, remove } from './support/objects.ts'
import { type Process, startWebhook } from './support/processes.ts'

const cluster = sharedCluster()
const { client: kube } = cluster

const OWN = 'enforcement'
/** The webhook, and then another one; both are asked again about what came later. */
const TEAM = 'enforced-team'
/** The same, but the webhook is not asked again. */
const ONCE = 'enforced-once'
/** The webhook is down, and pods are let through without it. */
const DOWN = 'enforced-down'
const NAMESPACES = [TEAM, ONCE, DOWN]

/** What is in the namespaces, so that it can be seen what a pod gets. */
const CONTENT = {
  secrets: {
    'wandb-secret': { WANDB_API_KEY: 'enforced key', WANDB_ENTITY: 'enforced entity' },
    'tuning-secret': { token: 'enforced token' },
    'ssh-secret': { 'ssh-privatekey': 'enforced private key', known_hosts: 'enforced hosts' },
    'ca-secret': { 'ca.crt': 'enforced authority' },
    'training-secret': { TRAINING_KEY: 'enforced training key' },
    'credential-enf-shared': { SHARED_TOKEN: 'enforced shared token' },
    evil: {
      WANDB_API_KEY: 'evil key',
      token: 'evil token',
      'ca.crt': 'evil authority',
      id_rsa: 'evil private key',
    },
  },
  configMaps: { evil: { WANDB_API_KEY: 'evil key', SHARED_TOKEN: 'evil token', id_rsa: 'evil private key' } },
}

const CREDENTIALS: Record<string, object> = {
  'enf-wandb': { type: 'environment', secretRef: { name: 'wandb-secret' } },
  'enf-tuning': {
    type: 'environment',
    secretRef: { name: 'tuning-secret' },
    variables: [
      { name: 'TUNING_MODE', value: 'a$(B)$c' },
      { name: 'TUNING_TOKEN', key: 'token' },
    ],
  },
  'enf-ssh': {
    type: 'file',
    secretRef: { name: 'ssh-secret' },
    mountPath: '/root/.ssh/',
    files: [{ key: 'ssh-privatekey', path: 'id_rsa', mode: '0400' }],
  },
  'enf-ca': { type: 'file', secretRef: { name: 'ca-secret' }, mountPath: '/etc/own-certs' },
  'enf-pull': { type: 'dockerRegistry', secretRef: { name: 'pull-secret' } },
  'enf-training': { type: 'environment', secretRef: { name: 'training-secret' } },
  'enf-guarded': {
    type: 'environment',
    secretRef: { name: 'guarded-secret' },
    allowedServiceAccounts: ['trainer'],
  },
}
const EVERYWHERE = ['enf-wandb', 'enf-tuning', 'enf-ssh', 'enf-ca', 'enf-pull', 'cluster/enf-shared']

const here = { matchLabels: { 'enforced-here': 'yes' } }
const POLICIES: { name: string; credentials: string[]; podSelector?: object }[] = [
  { name: 'enf-everywhere', credentials: EVERYWHERE },
  {
    name: 'enf-guarded',
    credentials: ['enf-guarded'],
    podSelector: { matchLabels: { workload: 'guarded' } },
  },
  {
    name: 'enf-training',
    credentials: ['enf-training'],
    podSelector: {
      matchExpressions: [
        { key: 'workload', operator: 'In', values: ['training', 'tuning'] },
        { key: 'stage', operator: 'NotIn', values: ['dev'] },
        { key: 'exempt', operator: 'DoesNotExist' },
      ],
    },
  },
]

let check: Check
let webhook: Process
/** What the webhook does that comes after ours. */
let change: (pod: any) => readonly Operation[] = () => []
let later: FakeWebhook
const cleanups: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  await installCrds(kube)
  for (const name of NAMESPACES) await ensureNamespace(kube, name, { 'enforced-here': 'yes' })
  check = await installCheck(cluster, OWN)
  cleanups.push(() => check.remove())
  await putEverything()
  await check.whenSeen()

  webhook = await startWebhook(cluster.kubeconfig)
  later = await startFakeWebhook((pod) => change(pod))
  cleanups.push(
    () => webhook.stop(),
    () => later.stop(),
  )
  const { ca } = await testCertificates()
  const others = [
    ...[{ name: 'enf-b-injector', url: webhook.url, namespaces: [TEAM] }],
    ...[{ name: 'enf-b-once', url: webhook.url, namespaces: [ONCE], entry: { reinvocationPolicy: 'Never' } }],
    ...[{ name: 'enf-c-later', url: later.url, namespaces: [TEAM, ONCE] }],
  ]
  // Whose pods are looked at to see that it is called would be refused without our own webhook: so it is the first.
  for (const registration of others) cleanups.push(await register(cluster, { ca, ...registration }))
  await registerDown(ca)
  await eventually('pods get everything', async () => {
    const answers = await Promise.all(
      [TEAM, ONCE].map((namespace) => attempt(podOf(), namespace, '?dryRun=All')),
    )
    return answers.every((answer) => typeof answer !== 'string')
  })
})
afterAll(async () => {
  for (const clean of cleanups.reverse()) await clean()
  for (const name of NAMESPACES) await cluster.kubectl(['delete', 'namespace', name, '--wait=false'])
})
afterEach(() => {
  change = () => []
})

// ---- What the author of a pod tries ------------------------------------------------------------------------------------

describe('by annotations', () => {
  test.each<[string, Record<string, string>]>([
    ['nothing at all', {}],
    ['opting out', { 'opt-out': 'true' }],
    ['skipping the container', { 'skip-containers': 'main, init' }],
    ['another container only', { containers: 'init' }],
    ['the own values win', { 'on-conflict': 'WorkloadWins' }],
    ['credentials win', { 'on-conflict': 'CredentialWins' }],
    ['an own credential', { inject: 'enf-training', 'on-conflict': 'CredentialWins' }],
    [
      'a record of an injection that never was',
      { injected: 'Credential/enf-wandb@1,ClusterCredential/enf-shared@1' },
    ],
    [
      'a record and an opt-out',
      { injected: 'Credential/enf-wandb', 'opt-out': 'true', 'skip-containers': 'main' },
    ],
  ])('%s: the pod has everything', async (_, annotations) => {
    expect(missing(await stored(podOf({ annotations })))).toEqual([])
  })
})

describe('by what the pod has of its own', () => {
  const CLASH = /enf-everywhere\) enforces/
  test.each<[string, object]>([
    ['an entry of env', { env: [{ name: 'WANDB_API_KEY', value: 'mine' }] }],
    [
      'an entry of env from another secret',
      { env: [{ name: 'TUNING_TOKEN', valueFrom: { secretKeyRef: { name: 'evil', key: 'token' } } }] },
    ],
    ['an entry of env without a value', { env: [{ name: 'WANDB_API_KEY' }] }],
    ['a mount at the folder', { volumeMounts: [{ name: 'mine', mountPath: '/root/.ssh' }] }],
    ['a mount at the file', { volumeMounts: [{ name: 'mine', mountPath: '/root/.ssh/id_rsa' }] }],
    [
      'a mount where the files are links to',
      { volumeMounts: [{ name: 'mine', mountPath: '/root/.ssh/..data' }] },
    ],
    [
      'the same entry of env, but optional',
      {
        env: [
          {
            name: 'TUNING_TOKEN',
            valueFrom: { secretKeyRef: { name: 'tuning-secret', key: 'token', optional: true } },
          },
        ],
      },
    ],
    [
      'a mount at the folder, otherwise written',
      { volumeMounts: [{ name: 'mine', mountPath: '/etc/./own-certs/' }] },
    ],
  ])('%s: denied with the policy’s name', async (_, parts) => {
    expect(await refused(podOf({ main: parts, volumes: [{ name: 'mine', emptyDir: {} }] }))).toMatch(CLASH)
  })

  test.each<[string, object]>([
    [
      'a ConfigMap behind the secret',
      { envFrom: [{ secretRef: { name: 'wandb-secret' } }, { configMapRef: { name: 'evil' } }] },
    ],
    [
      'a Secret behind the secret',
      { envFrom: [{ secretRef: { name: 'wandb-secret' } }, { secretRef: { name: 'evil' } }] },
    ],
    ['the secret, but optional', { envFrom: [{ secretRef: { name: 'wandb-secret', optional: true } }] }],
    ['the secret under a prefix', { envFrom: [{ prefix: 'P_', secretRef: { name: 'wandb-secret' } }] }],
    ['the same value already', { env: [{ name: 'TUNING_MODE', value: 'a$$(B)$c' }] }],
  ])('%s: the pod has everything', async (_, parts) => {
    expect(missing(await stored(podOf({ main: parts })))).toEqual([])
  })

  test('with credentials that win, entries of env are replaced', async () => {
    const pod = podOf({
      annotations: { 'on-conflict': 'CredentialWins' },
      main: {
        env: [
          { name: 'WANDB_API_KEY', value: 'mine' },
          { name: 'TUNING_MODE', value: '$(WANDB_API_KEY)' },
        ],
      },
    })
    expect(missing(await stored(pod))).toEqual([])
  })
})

test.each<[string, Record<string, string>, boolean]>([
  ['one of the labels', { workload: 'training' }, true],
  ['the other one', { workload: 'tuning', stage: 'prod' }, true],
  ['not for this stage', { workload: 'tuning', stage: 'dev' }, false],
  ['exempt', { workload: 'training', exempt: '' }, false],
  ['another workload', { workload: 'serving' }, false],
])('a policy with a selector, %s: both the webhook and the check go by it', async (_, labels, selected) => {
  const pod = await stored(podOf({ labels }))
  expect(everyContainer(pod).every(({ envFrom }) => envFrom?.some(loads('training-secret')) ?? false)).toBe(
    selected,
  )
  const bare = await attempt(await complete({ labels }), DOWN)
  if (selected) expect(bare).toContain('policy enf-training enforces Credential enf-training')
  else expect(typeof bare).toBe('object')
})

// ---- What later webhooks try -------------------------------------------------------------------------------------------

/** The place of the first container. */
const MAIN = '/spec/containers/0'
type Tampering = [string, (pod: any) => Operation[], RegExp]

const TAMPERING: Tampering[] = [
  ['takes all of envFrom away', () => [drop(`${MAIN}/envFrom`)], /container main does not load secret/],
  [
    'takes the secret away',
    (pod) => without(pod, 'envFrom', loads('wandb-secret')),
    /Credential enf-wandb, and container main does not load secret wandb-secret/,
  ],
  [
    'takes a copy away',
    (pod) => without(pod, 'envFrom', loads('credential-enf-shared')),
    /ClusterCredential enf-shared, and container main does not load secret credential-enf-shared/,
  ],
  [
    'makes the secret optional',
    (pod) =>
      set(pod, 'envFrom', loads('wandb-secret'), 'secretRef', { name: 'wandb-secret', optional: true }),
    /does not load secret wandb-secret/,
  ],
  [
    'gives the secret a prefix',
    (pod) => set(pod, 'envFrom', loads('wandb-secret'), 'prefix', 'X_'),
    /does not load secret wandb-secret/,
  ],
  [
    'loads another secret instead',
    (pod) => set(pod, 'envFrom', loads('wandb-secret'), 'secretRef', { name: 'evil' }),
    /does not load secret wandb-secret/,
  ],
  [
    'adds a ConfigMap behind it',
    () => [add(`${MAIN}/envFrom/-`, { configMapRef: { name: 'evil' } })],
    /for certain and after every ConfigMap/,
  ],
  [
    'adds an entry of env',
    () => [add(`${MAIN}/env/0`, { name: 'WANDB_API_KEY', value: 'evil' })],
    /does not have one of its 2 variables from it/,
  ],
  [
    'adds an entry of env from another key',
    () => [
      add(`${MAIN}/env/-`, {
        name: 'WANDB_API_KEY',
        valueFrom: { secretKeyRef: { name: 'wandb-secret', key: 'WANDB_ENTITY' } },
      }),
    ],
    /enf-wandb, and container main does not have/,
  ],
  [
    'adds a later entry of a listed variable',
    () => [add(`${MAIN}/env/-`, { name: 'TUNING_TOKEN', value: 'evil' })],
    /enf-tuning, and container main does not have/,
  ],
  [
    'takes a listed variable away',
    (pod) => without(pod, 'env', named('TUNING_TOKEN')),
    /enf-tuning, and container main does not have/,
  ],
  ['takes all of env away', () => [drop(`${MAIN}/env`)], /enf-tuning, and container main does not have/],
  [
    'makes a listed variable optional',
    (pod) =>
      set(pod, 'env', named('TUNING_TOKEN'), 'valueFrom', {
        secretKeyRef: { name: 'tuning-secret', key: 'token', optional: true },
      }),
    /enf-tuning, and container main does not have/,
  ],
  [
    'changes a plain value',
    (pod) => set(pod, 'env', named('TUNING_MODE'), 'value', 'evil'),
    /enf-tuning, and container main does not have/,
  ],
  [
    'lets a plain value be expanded',
    (pod) => set(pod, 'env', named('TUNING_MODE'), 'value', 'a$(B)$c'),
    /enf-tuning, and container main does not have/,
  ],
  [
    'takes the mounts away',
    () => [drop(`${MAIN}/volumeMounts`)],
    /container main does not have the files of secret/,
  ],
  [
    'takes one mount away',
    (pod) => without(pod, 'volumeMounts', at('/root/.ssh')),
    /enf-ssh, and container main does not have the files of secret ssh-secret at \/root\/.ssh\//,
  ],
  [
    'mounts it elsewhere',
    (pod) =>
      set(
        pod,
        'volumeMounts',
        at('/root/.ssh'),
        'mountPath',
        `/tmp/${pod.spec.containers[0].volumeMounts.length}`,
      ),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'makes the mount writable',
    (pod) => set(pod, 'volumeMounts', at('/root/.ssh'), 'readOnly', false),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'mounts a part of it',
    (pod) => set(pod, 'volumeMounts', at('/root/.ssh'), 'subPath', 'empty'),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'mounts another volume there',
    (pod) => [...emptyDir(pod), ...set(pod, 'volumeMounts', at('/root/.ssh'), 'name', 'evil')],
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'mounts another volume over it',
    (pod) => [...emptyDir(pod), add(`${MAIN}/volumeMounts/-`, { name: 'evil', mountPath: '/root/.ssh/' })],
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'mounts another volume over the file',
    (pod) => [
      ...emptyDir(pod),
      add(`${MAIN}/volumeMounts/-`, { name: 'evil', mountPath: '/root/.ssh/id_rsa' }),
    ],
    /a mount of container main hides one of its files/,
  ],
  ...['/root/.ssh/..data', '/root/.ssh/..data/id_rsa'].map(
    (mountPath): Tampering => [
      `mounts another volume at ${mountPath}`,
      (pod) => [...emptyDir(pod), add(`${MAIN}/volumeMounts/-`, { name: 'evil', mountPath })],
      /enf-ssh, and a mount of container main hides one of its files/,
    ],
  ),
  [
    'mounts another volume over a key',
    (pod) => [
      ...emptyDir(pod),
      add(`${MAIN}/volumeMounts/-`, { name: 'evil', mountPath: '/etc/own-certs/ca.crt', subPath: 'x' }),
    ],
    /enf-ca, and a mount of container main hides one of its files/,
  ],
  [
    'empties the volume',
    (pod) => volume(pod, 'ssh-secret', { emptyDir: {} }),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'puts another secret into the volume',
    (pod) => volume(pod, 'ssh-secret', { projected: { sources: [{ secret: { name: 'evil' } }] } }),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'leaves a file out of the volume',
    (pod) =>
      volume(
        pod,
        'ssh-secret',
        projected({ secret: { name: 'ssh-secret', items: [{ key: 'known_hosts', path: 'known_hosts' }] } }),
      ),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'puts another key at the file',
    (pod) =>
      volume(
        pod,
        'ssh-secret',
        projected({ secret: { name: 'ssh-secret', items: [{ key: 'known_hosts', path: 'id_rsa' }] } }),
      ),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'puts a ConfigMap over the file',
    (pod) => volume(pod, 'ssh-secret', projected(SSH, { configMap: { name: 'evil' } })),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'puts another secret over the file',
    (pod) =>
      volume(
        pod,
        'ca-secret',
        projected(
          { secret: { name: 'ca-secret' } },
          { secret: { name: 'evil', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        ),
      ),
    /enf-ca, and container main does not have the files/,
  ],
  [
    'makes the volume optional',
    (pod) => volume(pod, 'ssh-secret', projected({ secret: { ...SSH.secret, optional: true } })),
    /enf-ssh, and container main does not have the files/,
  ],
  [
    'takes the registry login away',
    () => [drop('/spec/imagePullSecrets')],
    /enf-pull, and imagePullSecrets does not have secret pull-secret/,
  ],
  [
    'takes all from an init container',
    () => [drop('/spec/initContainers/0/envFrom')],
    /container init does not load/,
  ],
]

describe('another webhook', () => {
  test.each(TAMPERING)(
    '%s: refused, with the policy, the credential and what is missing where',
    async (_, tampering, message) => {
      change = tampering
      const answer = await refused(podOf(), ONCE)
      expect(answer).toMatch(/policy enf-everywhere enforces (Cluster)?Credential enf-/)
      expect(answer).toMatch(message)
    },
  )

  test.each(TAMPERING)('%s, again and again: of no use, whoever has the last word', async (_, tampering) => {
    change = tampering
    const answer = await attempt(podOf())
    if (typeof answer === 'string') expect(answer).toContain('enf-everywhere')
    else expect(missing(answer)).toEqual([])
  })

  test('is of no use to a Deployment either, and its events say why', async () => {
    change = () => [drop(`${MAIN}/envFrom`)]
    const { metadata, spec } = podOf()
    const labels = { app: 'web' }
    await apply(kube, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: TEAM },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { ...metadata, labels, name: undefined }, spec },
      },
    })
    type Deployment = KubeObject & { status?: { conditions?: { type: string; message: string }[] } }
    const failed = await whenObject<Deployment>(kube, collection('Deployment', TEAM), 'web', ({ status }) =>
      Boolean(status?.conditions?.some(({ type }) => type === 'ReplicaFailure')),
    )
    const condition = failed.status?.conditions?.find(({ type }) => type === 'ReplicaFailure')
    expect(condition?.message).toContain('policy enf-everywhere enforces')
    change = () => []
    await kube.delete(`${collection('Deployment', TEAM)}/web`)
  })
})

test('a container that a later webhook adds gets everything when ours is asked again, and is refused when not', async () => {
  change = ({ spec }) =>
    spec.containers.some(named('mesh')) ? [] : [add('/spec/containers/-', { name: 'mesh', image: 'none' })]
  const pod = await stored(podOf())
  expect(everyContainer(pod).map(({ name }) => name)).toContain('mesh')
  expect(missing(pod)).toEqual([])
  expect(await refused(podOf(), ONCE)).toContain('container mesh does not')
})

test('an init container that a later webhook adds does so too', async () => {
  change = ({ spec }) =>
    spec.initContainers.some(named('mesh'))
      ? []
      : [add('/spec/initContainers/-', { name: 'mesh', image: 'none', restartPolicy: 'Always' })]
  expect(missing(await stored(podOf()))).toEqual([])
  expect(await refused(podOf(), ONCE)).toContain('container mesh does not')
})

test('a label that a later webhook adds brings the pod under a policy, with which it must comply', async () => {
  change = ({ metadata }) => (metadata.labels ? [] : [add('/metadata/labels', { workload: 'training' })])
  const pod = await stored(podOf())
  expect(everyContainer(pod).every(({ envFrom }) => envFrom?.some(loads('training-secret')) ?? false)).toBe(
    true,
  )
  expect(await refused(podOf(), ONCE)).toContain('policy enf-training enforces Credential enf-training')
})

test('a label that a later webhook takes away does not take away what the pod was given', async () => {
  change = (pod) => (pod.metadata.labels?.workload ? [drop('/metadata/labels/workload')] : [])
  const pod = await stored(podOf({ labels: { workload: 'training' } }), ONCE)
  expect(pod.metadata?.labels?.workload).toBeUndefined()
  expect(everyContainer(pod).every(({ envFrom }) => envFrom?.some(loads('training-secret')) ?? false)).toBe(
    true,
  )
})

test('a name that is made up, a name that a later webhook changes and a dry run make no difference', async () => {
  change = ({ metadata }) =>
    metadata.generateName === 'made-'
      ? [{ op: 'replace', path: '/metadata/generateName', value: 'renamed-' }]
      : []
  const pod = { ...podOf(), metadata: { generateName: 'made-' } }
  expect(missing(await stored(pod))).toEqual([])
  change = () => [drop(`${MAIN}/envFrom`)]
  expect(await refused(pod)).toContain('policy enf-everywhere enforces')
  expect(await attempt(pod, TEAM, '?dryRun=All')).toContain('policy enf-everywhere enforces')
})

// ---- Without the webhook -----------------------------------------------------------------------------------------------

describe('with a webhook that is down and pods that are let through', () => {
  test('a pod without the credentials is refused', async () => {
    expect(await refused(podOf(), DOWN)).toMatch(
      /policy enf-everywhere enforces .* The webhook puts it there/,
    )
  })

  test('a record of an injection that never was does not help', async () => {
    const injected =
      'Credential/enf-wandb,Credential/enf-tuning,Credential/enf-ssh,Credential/enf-ca,Credential/enf-pull'
    expect(await refused(podOf({ annotations: { injected } }), DOWN)).toContain(
      'policy enf-everywhere enforces',
    )
  })

  test('a pod that has it all is created', async () => {
    expect(missing(await stored(await complete(), DOWN))).toEqual([])
  })

  test('a pod whose service account may not have the credential stays out', async () => {
    const labels = { workload: 'guarded' }
    expect(await refused(podOf({ labels }))).toContain('may be used by trainer')
    expect(await refused(await complete({ labels }), DOWN)).toContain(
      'policy enf-guarded enforces Credential enf-guarded',
    )
  })

  test('a pod that is too large to be compared is refused, and not let through unchecked', async () => {
    const env = Array.from({ length: 20_001 }, (_, number) => ({ name: `V${number}` }))
    expect(await refused(podOf({ main: { env } }), DOWN)).toContain(
      'more variables, mounts and files than can be compared',
    )
  })

  test('a mirror pod, which no kubelet ever runs, is not looked at', async () => {
    const mirror: any = podOf()
    mirror.metadata.annotations = { 'kubernetes.io/config.mirror': 'x' }
    mirror.spec.automountServiceAccountToken = false
    const answer = await attempt(mirror, DOWN)
    expect(typeof answer === 'string' ? answer : 'created').not.toContain('enforces')
  })
})

// ---- After creation ----------------------------------------------------------------------------------------------------

describe('after creation', () => {
  test('labels may change: policies hold for pods as they are created, and what a pod was given stays', async () => {
    const path = (pod: PodObject) => `${collection('Pod', TEAM)}/${pod.metadata?.name}`
    const [outside, inside] = [
      await stored(podOf()),
      await stored(podOf({ labels: { workload: 'training' } })),
    ]
    for (const [pod, workload] of [
      [outside, 'training'],
      [inside, null],
    ] as const) {
      const changed = await kube.patch<PodObject>(path(pod), 'application/merge-patch+json', {
        metadata: { labels: { workload } },
      })
      expect(changed.spec.containers).toEqual(pod.spec.containers)
      expect(missing(changed)).toEqual([])
    }
  })

  test('what was given cannot be changed, and ephemeral containers come without it', async () => {
    const pod = await stored(podOf())
    const path = `${collection('Pod', TEAM)}/${pod.metadata?.name}`
    const bare = { spec: { containers: [{ name: 'main', image: 'none', envFrom: [] }] } }
    await expect(kube.patch(path, 'application/merge-patch+json', bare)).rejects.toMatchObject({
      status: 422,
    })
    const debug = { spec: { ephemeralContainers: [{ name: 'debug', image: 'none' }] } }
    const changed = await kube.patch<any>(
      `${path}/ephemeralcontainers`,
      'application/merge-patch+json',
      debug,
    )
    expect(changed.spec.ephemeralContainers[0].envFrom).toBeUndefined()
    expect(missing(changed)).toEqual([])
  })

  test('a namespace that loses its label is no longer under the policy, and is again with it', async () => {
    const label = (value: string | null) =>
      kube.patch(`/api/v1/namespaces/${DOWN}`, 'application/merge-patch+json', {
        metadata: { labels: { 'enforced-here': value } },
      })
    await label(null)
    await eventually(
      'it is out',
      async () => typeof (await attempt(podOf(), DOWN, '?dryRun=All')) !== 'string',
    )
    await label('yes')
    await eventually(
      'it is in',
      async () => typeof (await attempt(podOf(), DOWN, '?dryRun=All')) === 'string',
    )
  })
})

// ---- The other webhook's patches ---------------------------------------------------------------------------------------

type Item = { name?: string; mountPath?: string; secretRef?: { name?: string } | null }

const drop = (path: string): Operation => ({ op: 'remove', path })
const add = (path: string, value: unknown): Operation => ({ op: 'add', path, value })
const loads = (secret: string) => (entry: Item) => entry.secretRef?.name === secret
const named = (name: string) => (item: Item) => item.name === name
const at = (path: string) => (mount: Item) => mount.mountPath === path

const SSH = {
  secret: { name: 'ssh-secret', items: [{ key: 'ssh-privatekey', path: 'id_rsa', mode: 0o400 }] },
}
const projected = (...sources: object[]) => ({ projected: { sources, defaultMode: 0o400 } })

function placeOf(pod: any, list: string, is: (item: Item) => boolean): string {
  const index = pod.spec.containers[0][list].findIndex(is)
  if (index < 0) throw new Error(`there is no such item in ${list}`)
  return `${MAIN}/${list}/${index}`
}

function without(pod: any, list: string, is: (item: Item) => boolean): Operation[] {
  return [drop(placeOf(pod, list, is))]
}

function set(
  pod: any,
  list: string,
  is: (item: Item) => boolean,
  field: string,
  value: unknown,
): Operation[] {
  return [add(`${placeOf(pod, list, is)}/${field}`, value)]
}

/** Another volume under the name of the one that holds the secret. */
function volume(pod: any, secret: string, source: object): Operation[] {
  return pod.spec.volumes.flatMap(({ name, projected: it }: any, index: number) =>
    it?.sources.some((each: any) => each.secret?.name === secret)
      ? [{ op: 'replace', path: `/spec/volumes/${index}`, value: { name, ...source } }]
      : [],
  )
}

function emptyDir(pod: any): Operation[] {
  return pod.spec.volumes.some(named('evil')) ? [] : [add('/spec/volumes/-', { name: 'evil', emptyDir: {} })]
}

// ---- Pods --------------------------------------------------------------------------------------------------------------

interface Parts {
  readonly annotations?: Record<string, string>
  readonly labels?: Record<string, string>
  /** Of the first container. */
  readonly main?: object
  readonly volumes?: object[]
}

function podOf({ annotations = {}, labels, main, volumes }: Parts = {}): PodObject {
  const keys = Object.entries(annotations).map(([key, value]) => [`credentials.run.ai/${key}`, value])
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'pod-', annotations: Object.fromEntries(keys), labels },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: 'none', ...main }],
      initContainers: [{ name: 'init', image: 'none' }],
      volumes: volumes as PodObject['spec']['volumes'],
    },
  }
}

/** As the webhook makes it of a pod without labels; these are given to it afterwards. */
async function complete({ labels }: Parts = {}): Promise<PodObject> {
  const made = await attempt(podOf(), TEAM, '?dryRun=All')
  if (typeof made === 'string') throw new Error(made)
  return { apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'pod-', labels }, spec: made.spec }
}

/** The pod as it is stored, or why it is not. */
async function attempt(pod: PodObject, namespace: string = TEAM, query = ''): Promise<PodObject | string> {
  try {
    return await kube.create<PodObject>(`${collection('Pod', namespace)}${query}`, pod)
  } catch (error) {
    if (error instanceof KubeError && error.status >= 400 && error.status < 500) return error.message
    throw error
  }
}

async function stored(pod: PodObject, namespace?: string): Promise<PodObject> {
  const answer = await attempt(pod, namespace)
  if (typeof answer === 'string') throw new Error(answer)
  return answer
}

async function refused(pod: PodObject, namespace?: string): Promise<string> {
  const answer = await attempt(pod, namespace)
  return typeof answer === 'string' ? answer : 'it is created'
}

const VARIABLES = {
  ...CONTENT.secrets['wandb-secret'],
  ...CONTENT.secrets['credential-enf-shared'],
  TUNING_TOKEN: 'enforced token',
  TUNING_MODE: 'a$(B)$c',
}
const FILES = { '/root/.ssh/id_rsa': 'enforced private key', '/etc/own-certs/ca.crt': 'enforced authority' }

/** What the containers do not have of that which the policy for all pods gives. */
function missing(pod: PodObject): string[] {
  const { containers, imagePullSecrets } = observe(pod, CONTENT)
  const lacks = Object.entries(containers).flatMap(([container, { env, files }]) =>
    [
      ...Object.entries(VARIABLES).filter(([name, value]) => env[name] !== value),
      ...Object.entries(FILES).filter(([path, content]) => files[path]?.content !== content),
    ].map(([what]) => `${container}: ${what}`),
  )
  return imagePullSecrets.includes('pull-secret') ? lacks : [...lacks, 'pull-secret']
}

// ---- What is in the cluster --------------------------------------------------------------------------------------------

async function putEverything(): Promise<void> {
  const object = (kind: string, metadata: Manifest['metadata'], spec: object): Manifest => ({
    apiVersion: 'run.ai/v1',
    kind,
    metadata,
    spec,
  })
  const keysOf = (secret: string) => Object.keys((CONTENT.secrets as Record<string, object>)[secret] ?? {})
  const enforcedBy = (name: string) =>
    POLICIES.filter(({ credentials }) => credentials.includes(name)).map(({ name: policy, podSelector }) => ({
      policy,
      namespaceSelector: here,
      podSelector,
    }))
  for (const namespace of NAMESPACES)
    for (const [name, spec] of Object.entries(CREDENTIALS))
      await check.put(object('Credential', { name, namespace }, spec), {
        keys: keysOf((spec as any).secretRef.name),
        enforcedBy: enforcedBy(name),
      })
  const shared = { type: 'environment', secretRef: { name: 'shared' }, namespaceSelector: here }
  const cluster = [object('ClusterCredential', { name: 'enf-shared' }, shared)]
  await check.put(cluster[0] as Manifest, {
    keys: keysOf('credential-enf-shared'),
    enforcedBy: enforcedBy('cluster/enf-shared'),
  })
  for (const { name, ...rest } of POLICIES)
    cluster.push(
      object('CredentialPolicy', { name }, { ...rest, namespaceSelector: here, enforcement: 'Enforce' }),
    )
  for (const manifest of cluster) {
    await apply(kube, manifest)
    cleanups.push(() => remove(kube, manifest))
  }
}

/** Nobody answers at this address, and the API server does not mind. */
async function registerDown(ca: string): Promise<void> {
  const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
  await kube.create(path, {
    metadata: { name: 'enf-down' },
    webhooks: [
      {
        name: 'down.test.run.ai',
        clientConfig: { url: 'https://127.0.0.1:1/mutate/pods', caBundle: btoa(ca) },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        failurePolicy: 'Ignore',
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': DOWN } },
      },
    ],
  })
  cleanups.push(() => kube.delete(`${path}/enf-down`))
}
