/** Ways around the guards of docs/guards.md, tried against a real API server. No webhook is there: they have to do without. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { testCertificates } from '../support/server.ts'
import { eventually } from '../support/webhook.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { whenGone, whenObject } from './kit/watch.ts'
import { register } from './kit/webhooks.ts'
import { answer, credential, guardsKnow, installGuards, podOf, tryPod } from './support/guards.ts'
import { apply, collection, ensureNamespace, ensureServiceAccount, remove } from './support/objects.ts'
import { startWebhook } from './support/processes.ts'

const SPACE = 'team-a'
const JSON_PATCH = 'application/json-patch+json'
const MERGE = 'application/merge-patch+json'

let cluster: Cluster
let kube: Cluster['client']

beforeAll(async () => {
  cluster = await startCluster({ name: 'guards' })
  kube = cluster.client
  await installGuards(cluster)
  await ensureNamespace(kube, SPACE)
})
afterAll(() => cluster?.stop())

// ---- allowedServiceAccounts ------------------------------------------------------------------------------------------

const main = { name: 'main', image: 'none' }
/** Of a credential that everybody may use. */
const OPEN = { allowedServiceAccounts: undefined }
const variable = (name: string, more = {}) => ({
  name: 'X',
  valueFrom: { secretKeyRef: { name, key: 'k', ...more } },
})
const innocent = [
  { name: 'A', value: 'plain' },
  variable('unguarded-secret'),
  { name: 'B', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
]
const volume = (source: object) => ({
  volumes: [
    { name: 'first', emptyDir: {} },
    { name: 'v', ...source },
  ],
})

/** Every place of a pod where a Secret can be named, by its path in PodSpec: what a pod looks like that uses it. */
const PLACES: Record<string, (secret: string) => object> = {
  'containers.env.valueFrom.secretKeyRef': (secret) => ({
    containers: [{ ...main, env: [variable(secret)] }],
  }),
  'containers.envFrom.secretRef': (name) => ({
    containers: [{ ...main, envFrom: [{ secretRef: { name } }] }],
  }),
  'initContainers.env.valueFrom.secretKeyRef': (secret) => ({
    initContainers: [{ name: 'init', image: 'none', env: [variable(secret)] }],
  }),
  'initContainers.envFrom.secretRef': (name) => ({
    initContainers: [{ name: 'init', image: 'none', envFrom: [{ secretRef: { name } }] }],
  }),
  imagePullSecrets: (name) => ({ imagePullSecrets: [{ name: 'other' }, { name }] }),
  'volumes.secret.secretName': (secretName) => volume({ secret: { secretName } }),
  'volumes.projected.sources.secret': (name) =>
    volume({ projected: { sources: [{ secret: { name: 'other' } }, { secret: { name } }] } }),
  'volumes.csi.nodePublishSecretRef': (name) =>
    volume({ csi: { driver: 'csi.test.run.ai', nodePublishSecretRef: { name } } }),
  'volumes.azureFile.secretName': (secretName) => volume({ azureFile: { secretName, shareName: 's' } }),
  'volumes.cephfs.secretRef': (name) => volume({ cephfs: { monitors: ['m'], secretRef: { name } } }),
  'volumes.cinder.secretRef': (name) => volume({ cinder: { volumeID: 'v', secretRef: { name } } }),
  'volumes.flexVolume.secretRef': (name) => volume({ flexVolume: { driver: 'a/b', secretRef: { name } } }),
  'volumes.iscsi.secretRef': (name) =>
    volume({
      iscsi: {
        targetPortal: '127.0.0.1',
        iqn: 'iqn.2001-04.com.example:storage.kube.sys1.xyz',
        lun: 0,
        chapAuthSession: true,
        secretRef: { name },
      },
    }),
  'volumes.rbd.secretRef': (name) => volume({ rbd: { monitors: ['m'], image: 'i', secretRef: { name } } }),
  'volumes.scaleIO.secretRef': (name) =>
    volume({ scaleIO: { gateway: 'g', system: 's', volumeName: 'v', secretRef: { name } } }),
  'volumes.storageos.secretRef': (name) => volume({ storageos: { volumeName: 'v', secretRef: { name } } }),
}

/** The same, in ways that might be overlooked. */
const DISGUISES: Record<string, (secret: string) => object> = {
  'the second of two containers, after other variables': (secret) => ({
    containers: [
      { ...main, env: innocent },
      { name: 'side', image: 'none', env: [...innocent, variable(secret)] },
    ],
  }),
  'a variable that is overridden by a later one': (secret) => ({
    containers: [{ ...main, env: [variable(secret), { name: 'X', value: 'plain' }] }],
  }),
  'the same Secret twice': (secret) => ({
    containers: [{ ...main, env: [variable(secret), variable(secret, { key: 'other' })] }],
  }),
  'an optional variable': (secret) => ({
    containers: [{ ...main, env: [variable(secret, { optional: true })] }],
  }),
  'an optional envFrom, with a prefix': (name) => ({
    containers: [{ ...main, envFrom: [{ prefix: 'P_', secretRef: { name, optional: true } }] }],
  }),
  'a native sidecar': (secret) => ({
    initContainers: [{ name: 'side', image: 'none', restartPolicy: 'Always', env: [variable(secret)] }],
  }),
  'an optional volume that no container mounts': (secretName) =>
    volume({ secret: { secretName, optional: true } }),
  'one key, projected under another name': (name) =>
    volume({
      projected: {
        sources: [
          { downwardAPI: { items: [] } },
          { secret: { name, optional: true, items: [{ key: 'k', path: 'innocent' }] } },
        ],
      },
    }),
  'service account given as an empty text': (name) => ({
    serviceAccountName: '',
    imagePullSecrets: [{ name }],
  }),
  'service account given by the deprecated field': (name) => ({
    serviceAccount: 'stranger',
    imagePullSecrets: [{ name }],
  }),
  'a pod that waits at a scheduling gate': (name) => ({
    schedulingGates: [{ name: 'test.local/later' }],
    imagePullSecrets: [{ name }],
  }),
}

describe.each([
  ['Credential', 'wandb-secret', ['trainer']],
  ['ClusterCredential', 'credential-dockerhub', ['trainer', `${SPACE}/by-namespace`, 'elsewhere/stranger']],
] as const)('allowedServiceAccounts of a %s', (kind, secret, allowed) => {
  const name = kind === 'Credential' ? 'wandb-access' : 'dockerhub'
  const here = allowed.filter((account) => !account.startsWith('elsewhere/')).join(', ')
  const belongs = `Secret ${secret} belongs to ${kind} ${name}, which only pods of service account ${here} may use`

  beforeAll(async () => {
    for (const account of ['trainer', 'stranger', 'by-namespace'])
      await ensureServiceAccount(kube, SPACE, account)
    const metadata = kind === 'Credential' ? { name, namespace: SPACE } : { name }
    const secretRef = { name: kind === 'Credential' ? secret : 'source-secret' }
    const offer = kind === 'Credential' ? {} : { namespaceSelector: {} }
    await apply(kube, credential(kind, metadata, { secretRef, allowedServiceAccounts: allowed, ...offer }))
    await guardsKnow(cluster, SPACE)
  })

  test.each(Object.keys({ ...PLACES, ...DISGUISES }))('holds against: %s', async (way) => {
    const pod = podOf(({ ...PLACES, ...DISGUISES } as typeof PLACES)[way]?.(secret) ?? {})
    expect(await tryPod(kube, SPACE, pod)).toContain(belongs)
    const isBound = way.startsWith('service account')
    const account = isBound ? { serviceAccount: undefined } : {}
    const allowedPod = podOf({ ...(pod as any).spec, ...account, serviceAccountName: 'trainer' })
    expect(await tryPod(kube, SPACE, allowedPod)).toBe('')
  })

  test('the deprecated field is enough to run as an allowed one', async () => {
    const spec = { serviceAccount: 'trainer', imagePullSecrets: [{ name: secret }] }
    expect(await tryPod(kube, SPACE, podOf(spec))).toBe('')
  })

  test('without a service account the pod runs as default, and is told what to do', async () => {
    expect(await tryPod(kube, SPACE, podOf({ imagePullSecrets: [{ name: secret }] }))).toContain(
      `${belongs}; this pod runs as service account default. Take the Secret out of the pod, run it as an allowed service account (spec.serviceAccountName), or have the account added to spec.allowedServiceAccounts of the credential`,
    )
  })

  test('a pod with a name, not as a dry run, and by server-side apply', async () => {
    const pod = {
      ...podOf({ imagePullSecrets: [{ name: secret }] }),
      metadata: { name: 'named', namespace: SPACE },
    }
    expect(await answer(kube.create(collection('Pod', SPACE), pod))).toContain(belongs)
    expect(await answer(apply(kube, pod as any))).toContain(belongs)
  })

  test('a pull secret that comes from the service account', async () => {
    await apply(kube, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'stranger', namespace: SPACE },
      imagePullSecrets: [{ name: secret }],
    })
    const pod = podOf({ serviceAccountName: 'stranger' })
    // The API server learns of what is in a service account a moment later.
    await eventually('the pod is refused for what its service account has', async () =>
      (await tryPod(kube, SPACE, pod)).includes(`${belongs}; this pod runs as service account stranger`),
    )
    await ensureServiceAccount(kube, SPACE, 'stranger')
    await eventually('it is not any more', async () => (await tryPod(kube, SPACE, pod)) === '')
  })

  test.each([
    ['Deployment', { replicas: 1, selector: { matchLabels: { app: 'a' } } }],
    ['Job', {}],
  ])('a pod that a %s makes', async (workload, spec) => {
    const manifest = {
      apiVersion: workload === 'Job' ? 'batch/v1' : 'apps/v1',
      kind: workload,
      metadata: { name: `${kind.toLowerCase()}-${workload.toLowerCase()}`, namespace: SPACE },
      spec: {
        ...spec,
        template: {
          metadata: { labels: { app: 'a' } },
          spec: {
            restartPolicy: workload === 'Job' ? 'Never' : 'Always',
            containers: [{ ...main, envFrom: [{ secretRef: { name: secret } }] }],
          },
        },
      },
    }
    await apply(kube, manifest)
    await eventually(`the ${workload} is told`, async () => {
      const { items } = await kube.get<any>(`/api/v1/namespaces/${SPACE}/events`)
      return items.some(
        ({ reason, message, involvedObject }: any) =>
          reason === 'FailedCreate' &&
          involvedObject.name.startsWith(manifest.metadata.name) &&
          message.includes(belongs),
      )
    })
    await remove(kube, manifest)
  })

  describe('ephemeral containers', () => {
    const create = (pod: string, spec: object) =>
      kube.create<any>(collection('Pod', SPACE), { ...podOf(spec), metadata: { name: pod } })
    const running = `${kind.toLowerCase()}-running`
    afterAll(() => kube.delete(`${collection('Pod', SPACE)}?gracePeriodSeconds=0`))

    test('of a pod that may not use it', async () => {
      await create(running, {})
      expect(await addEphemeral(running, { name: 'env', env: [...innocent, variable(secret)] })).toContain(
        belongs,
      )
      expect(
        await addEphemeral(running, { name: 'from', envFrom: [{ secretRef: { name: secret } }] }),
      ).toContain(belongs)
      expect(await addEphemeral(running, { name: 'debug', env: innocent })).toBe('')
      expect(
        await addEphemeral(running, { name: 'again', env: [variable(secret, { optional: true })] }),
      ).toContain(belongs)
    })

    test('by PUT', async () => {
      const path = `${collection('Pod', SPACE)}/${running}/ephemeralcontainers`
      const pod = await kube.get<any>(`${collection('Pod', SPACE)}/${running}`)
      const wanted = { name: 'put', image: 'none', env: [variable(secret)], terminationMessagePolicy: 'File' }
      pod.spec.ephemeralContainers = [...(pod.spec.ephemeralContainers ?? []), wanted]
      expect(await answer(kube.replace(path, pod))).toContain(belongs)
    })

    test('of a pod that may', async () => {
      await create(`${running}-allowed`, { serviceAccountName: 'trainer' })
      expect(await addEphemeral(`${running}-allowed`, { name: 'env', env: [variable(secret)] })).toBe('')
    })

    test('a pod that runs cannot be given the Secret in another way', async () => {
      const path = `${collection('Pod', SPACE)}/${running}`
      for (const change of [
        { path: '/spec/imagePullSecrets', value: [{ name: secret }] },
        { path: '/spec/containers/0/envFrom', value: [{ secretRef: { name: secret } }] },
        { path: '/spec/volumes/-', value: { name: 'v', secret: { secretName: secret } } },
      ])
        expect(await answer(kube.patch(path, JSON_PATCH, [{ op: 'add', ...change }]))).toMatch(
          /pod updates may not change fields/,
        )
    })
  })

  test('other Secrets are nobody’s business', async () => {
    expect(
      await tryPod(
        kube,
        SPACE,
        podOf({ containers: [{ ...main, env: innocent }], ...volume({ secret: { secretName: 'other' } }) }),
      ),
    ).toBe('')
  })
})

describe('allowedServiceAccounts', () => {
  const pulls = (name: string, account = 'default') =>
    tryPod(kube, SPACE, podOf({ serviceAccountName: account, imagePullSecrets: [{ name }] }))
  const restrict = (name: string, spec: object) =>
    apply(kube, credential('Credential', { name, namespace: SPACE }, spec))

  test('PLACES has every field of a pod that can name a Secret, as the API server describes it', async () => {
    const { components } = await kube.get<any>('/openapi/v3/api/v1')
    // Not `secretFile`: that is a file of the node.
    const found = secretFields(components.schemas, 'io.k8s.api.core.v1.PodSpec').filter(
      (path) => path !== 'volumes.cephfs.secretFile',
    )
    const ephemeral = found.filter((path) => path.startsWith('ephemeralContainers.'))
    expect(ephemeral).toEqual([
      'ephemeralContainers.env.valueFrom.secretKeyRef',
      'ephemeralContainers.envFrom.secretRef',
    ])
    expect(found.filter((path) => !ephemeral.includes(path))).toEqual(Object.keys(PLACES).sort())
  })

  test('an empty list is for nobody, an absent one for everybody', async () => {
    await restrict('postgres-nobody', { secretRef: { name: 'nobody-secret' } })
    await restrict('postgres-everybody', {
      secretRef: { name: 'everybody-secret' },
      allowedServiceAccounts: undefined,
    })
    await guardsKnow(cluster, SPACE)
    expect(await pulls('nobody-secret', 'trainer')).toContain(
      'Secret nobody-secret belongs to Credential postgres-nobody, which no pod of this namespace may use',
    )
    expect(await pulls('everybody-secret')).toBe('')
  })

  test('of several credentials with one Secret each has to allow it: another credential opens nothing', async () => {
    const secretRef = { name: 'contested-secret' }
    await restrict('redis-for-trainer', { secretRef, allowedServiceAccounts: ['trainer', 'both'] })
    await restrict('redis-for-stranger', { secretRef, allowedServiceAccounts: ['stranger', 'both'] })
    await restrict('redis-for-everybody', { secretRef, allowedServiceAccounts: undefined })
    await ensureServiceAccount(kube, SPACE, 'both')
    await guardsKnow(cluster, SPACE)
    expect(await pulls('contested-secret', 'trainer')).toContain('belongs to Credential redis-for-stranger')
    expect(await pulls('contested-secret', 'stranger')).toContain('belongs to Credential redis-for-trainer')
    expect(await pulls('contested-secret', 'both')).toBe('')
  })

  test('a credential of the namespace that names the copy of a cluster’s opens nothing either', async () => {
    const offered = { namespaceSelector: {}, allowedServiceAccounts: ['elsewhere/trainer'] }
    await apply(kube, credential('ClusterCredential', { name: 'ngc-shared' }, offered))
    await restrict('ngc-mine', {
      secretRef: { name: 'credential-ngc-shared' },
      allowedServiceAccounts: undefined,
    })
    await guardsKnow(cluster, SPACE)
    expect(await pulls('credential-ngc-shared')).toContain(
      'belongs to ClusterCredential ngc-shared, which no pod of this namespace may use;',
    )
  })

  test('a pod that is made before its namespace is offered the copy cannot wait for it, and learns nothing', async () => {
    const selected = {
      namespaceSelector: { matchLabels: { team: 'other' } },
      allowedServiceAccounts: ['x/y'],
    }
    await apply(kube, credential('ClusterCredential', { name: 'openai-later' }, selected))
    await guardsKnow(cluster, SPACE)
    const message = await pulls('credential-openai-later')
    expect(message).toContain(
      'Secret credential-openai-later has the name of a copy that this namespace is not offered.',
    )
    expect(message).not.toContain('x/y')
  })

  test('NAMESPACE/NAME is for that namespace only, and NAME for all', async () => {
    await ensureNamespace(kube, 'elsewhere')
    await ensureServiceAccount(kube, 'elsewhere', 'stranger')
    await ensureServiceAccount(kube, 'elsewhere', 'trainer')
    await guardsKnow(cluster, 'elsewhere')
    const pullsThere = (serviceAccountName: string) =>
      tryPod(
        kube,
        'elsewhere',
        podOf({ serviceAccountName, imagePullSecrets: [{ name: 'credential-dockerhub' }] }),
      )
    expect(await pullsThere('stranger')).toBe('')
    expect(await pullsThere('trainer')).toBe('')
    expect(await pulls('credential-dockerhub', 'stranger')).toContain('ClusterCredential dockerhub')
    expect(await pulls('credential-dockerhub', 'by-namespace')).toBe('')
  })

  test('a Secret of the same name in another namespace is another Secret', async () => {
    expect(await tryPod(kube, 'elsewhere', podOf({ imagePullSecrets: [{ name: 'wandb-secret' }] }))).toBe('')
  })

  test('the list as it is now decides', async () => {
    await restrict('mlflow-changing', { secretRef: { name: 'changing-secret' } })
    await guardsKnow(cluster, SPACE)
    expect(await pulls('changing-secret', 'trainer')).toContain('mlflow-changing')
    await restrict('mlflow-changing', {
      secretRef: { name: 'changing-secret' },
      allowedServiceAccounts: ['trainer'],
    })
    await guardsKnow(cluster, SPACE)
    expect(await pulls('changing-secret', 'trainer')).toBe('')
    await kube.delete(`${collection('Credential', SPACE)}/mlflow-changing`)
    await guardsKnow(cluster, SPACE)
    expect(await pulls('changing-secret')).toBe('')
  })

  test('a debugging container may be added to a pod that had the Secret before', async () => {
    const uses = { containers: [{ ...main, envFrom: [{ secretRef: { name: 'later-secret' } }] }] }
    await kube.create(collection('Pod', SPACE), { ...podOf(uses), metadata: { name: 'from-before' } })
    const debug = (name: string, more = {}) => addEphemeral('from-before', { name, ...more })
    expect(await debug('before', { env: [variable('later-secret')] })).toBe('')
    await restrict('mongodb-later', { secretRef: { name: 'later-secret' } })
    await guardsKnow(cluster, SPACE)
    expect(await debug('innocent')).toBe('')
    expect(await debug('after', { env: [variable('later-secret')] })).toContain('mongodb-later')
    await remove(kube, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'from-before', namespace: SPACE },
    })
  })

  test('the cluster’s own namespaces are left alone', async () => {
    const pod = podOf({ imagePullSecrets: [{ name: 'credential-dockerhub' }] })
    await ensureServiceAccount(kube, 'kube-system', 'default')
    expect(await tryPod(kube, 'kube-system', pod)).toBe('')
  })

  test('a list with 64 names makes a message that can be read', async () => {
    const names = Array.from({ length: 64 }, (_, index) => `${index}-${'a'.repeat(200)}`)
    await restrict('aws-long', { secretRef: { name: 'long-secret' }, allowedServiceAccounts: names })
    await guardsKnow(cluster, SPACE)
    const message = await pulls('long-secret')
    expect(message).toContain(`${names.slice(0, 5).join(', ')} and others may use`)
    expect(message).not.toContain(names[5])
  })

  test('a pod of 100 containers with 100 variables each, in a namespace with 200 credentials, 20 of them restricted', async () => {
    await ensureNamespace(kube, 'crowded')
    const items = Array.from({ length: 200 }, (_, index) =>
      credential(
        'Credential',
        { name: `wandb-${index}`, namespace: 'crowded' },
        index % 10 === 9 ? {} : OPEN,
      ),
    )
    await cluster.kubectl(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
    await guardsKnow(cluster, 'crowded')
    const env = (last: string) =>
      Array.from({ length: 100 }, (_, index) => ({
        ...variable(index === 99 ? last : `other-${index}`),
        name: `V${index}`,
      }))
    const containers = (last: string) =>
      Array.from({ length: 100 }, (_, index) => ({ name: `c${index}`, image: 'none', env: env(last) }))
    expect(await tryPod(kube, 'crowded', podOf({ containers: containers('other') }))).toBe('')
    expect(
      await tryPod(kube, 'crowded', podOf({ containers: containers('wandb-199-secret').reverse() })),
    ).toContain('belongs to Credential wandb-199')
  })
})

/** What is said against another ephemeral container of a pod that exists. */
async function addEphemeral(name: string, container: object): Promise<string> {
  const path = `${collection('Pod', SPACE)}/${name}`
  const { spec } = await kube.get<any>(path)
  const added = { image: 'none', ...container }
  const change = spec.ephemeralContainers
    ? { path: '/spec/ephemeralContainers/-', value: added }
    : { path: '/spec/ephemeralContainers', value: [added] }
  return answer(kube.patch(`${path}/ephemeralcontainers`, JSON_PATCH, [{ op: 'add', ...change }]))
}

/** Paths below a schema of all fields whose name or type speaks of a Secret, without what is inside them. */
function secretFields(schemas: Record<string, any>, root: string): string[] {
  const found = new Set<string>()
  const walk = (schema: any, path: string[], seen: readonly string[]) => {
    const ref = schema.$ref ?? schema.allOf?.[0]?.$ref
    if (ref) {
      const name = ref.slice(ref.lastIndexOf('/') + 1)
      if (!seen.includes(name)) walk(schemas[name], path, [...seen, name])
    } else if (schema.items) walk(schema.items, path, seen)
    else
      for (const [key, value] of Object.entries<any>(schema.properties ?? {})) {
        // The kind of volume is called `secret` too, and has more to say; the sources of a projected one have not.
        const isPlace = /secret/i.test(key) && path.join('.') !== 'volumes'
        if (isPlace) found.add([...path, key].join('.'))
        else walk(value, [...path, key], seen)
      }
  }
  walk(schemas[root], [], [root])
  return [...found].sort()
}

// ---- Pods that were not injected -------------------------------------------------------------------------------------

describe('a pod that was not injected', () => {
  const INJECT = 'credentials.run.ai/inject'
  const withEnv = { containers: [{ ...main, env: [{ name: 'OTHER', value: 'x' }] }] }

  beforeAll(async () => {
    const open = { allowedServiceAccounts: undefined }
    await apply(kube, credential('Credential', { name: 'hf-access', namespace: SPACE }, open))
    const listed = { ...open, variables: [{ name: 'A' }, { name: 'B' }] }
    await apply(kube, credential('Credential', { name: 'aws-access', namespace: SPACE }, listed))
    const shared = { ...open, namespaceSelector: { matchLabels: { team: 'ml' } } }
    await apply(kube, credential('ClusterCredential', { name: 'wandb-team' }, shared))
    const some = {
      ...open,
      namespaceSelector: {
        matchExpressions: [
          { key: 'team', operator: 'In', values: ['ml', 'cv'] },
          { key: 'old', operator: 'DoesNotExist' },
          { key: 'team', operator: 'Exists' },
          { key: 'tier', operator: 'NotIn', values: ['low'] },
        ],
      },
    }
    await apply(kube, credential('ClusterCredential', { name: 'ngc-team' }, some))
    await ensureNamespace(kube, 'offered', { team: 'ml' })
    await guardsKnow(cluster, SPACE)
    await guardsKnow(cluster, 'offered')
  })

  const HAS_NOTHING = 'hf-access (annotation credentials.run.ai/inject) and has nothing of it'
  const tried = (inject: string, spec: object = withEnv, more = {}, namespace = SPACE) =>
    tryPod(kube, namespace, podOf(spec, { [INJECT]: inject, ...more }))

  test.each([
    'hf-access',
    ' hf-access ,',
    '\n\nhf-access\r\n',
    'aws,hf-access = /path',
    'hf-access,hf-access',
  ])('by its annotation %j', async (inject) => {
    const message = await tried(inject)
    expect(message).toContain(HAS_NOTHING)
    expect(message).toContain('Create it again in a moment')
  })

  test('a forged record is not believed', async () => {
    const record = { 'credentials.run.ai/injected': 'Credential/hf-access@0123456789abcdef' }
    expect(await tried('hf-access', withEnv, record)).toContain(HAS_NOTHING)
  })

  test('the Secret in the wrong form, place or container is not what was asked for', async () => {
    const secretRef = { name: 'hf-access-secret' }
    expect(await tried('hf-access', { ...withEnv, imagePullSecrets: [secretRef] })).toContain(HAS_NOTHING)
    const side = { name: 'side', image: 'none', envFrom: [{ secretRef }] }
    const spec = { containers: [...withEnv.containers, side] }
    expect(await tried('hf-access', spec, { 'credentials.run.ai/containers': 'main' })).toContain(HAS_NOTHING)
    expect(await tried('hf-access', spec, { 'credentials.run.ai/skip-containers': 'side' })).toContain(
      HAS_NOTHING,
    )
    expect(await tried('hf-access', spec, { 'credentials.run.ai/containers': 'side' })).toBe('')
  })

  test('one listed variable of two is not what was asked for', async () => {
    const env = [{ name: 'A', value: 'own' }]
    expect(await tried('aws-access', { containers: [{ ...main, env }] })).toContain('aws-access')
    const both = [...env, { name: 'B', value: 'own' }]
    expect(await tried('aws-access', { containers: [{ ...main, env: both }] })).toBe('')
  })

  test('nothing asked, or nothing to be given: nothing said', async () => {
    expect(await tried(' ,\n')).toBe('')
    expect(await tryPod(kube, SPACE, podOf(withEnv))).toBe('')
    expect(await tried('hf-access', withEnv, { 'credentials.run.ai/skip-containers': 'main' })).toBe('')
  })

  test('a name that nobody has, in a pod that has nothing at all', async () => {
    expect(await tried('hf-acess', {})).toContain('asks for credentials')
  })

  test('of the cluster: by its prefix, and by a plain name where it is offered', async () => {
    for (const name of ['wandb-team', 'ngc-team']) {
      const message = `ClusterCredential ${name} (annotation`
      expect(await tried(`cluster/${name}`)).toContain(message)
      expect(await tried(name, withEnv, {}, 'offered')).toContain(message)
      // The namespace has no label: the webhook would not take the name for it.
      expect(await tried(name)).toBe('')
      const has = { containers: [{ ...main, envFrom: [{ secretRef: { name: `credential-${name}` } }] }] }
      expect(await tried(name, has, {}, 'offered')).toBe('')
    }
  })

  test('of the cluster: a plain name that the webhook took for the namespace’s own', async () => {
    const record = { 'credentials.run.ai/injected': 'Credential/wandb-team' }
    expect(await tried('wandb-team', withEnv, record, 'offered')).toBe('')
    const forged = { 'credentials.run.ai/injected': 'Credential/x,ClusterCredential/wandb-team@1' }
    expect(await tried('wandb-team', withEnv, forged, 'offered')).toContain('ClusterCredential wandb-team')
  })
})

test('a Deployment whose pods were refused gets them when the webhook is there', async () => {
  const space = 'recovering'
  await ensureNamespace(kube, space)
  const open = { allowedServiceAccounts: undefined }
  await apply(kube, credential('Credential', { name: 'mlflow-access', namespace: space }, open))
  await guardsKnow(cluster, space)
  const labels = { app: 'a' }
  await apply(kube, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'notebook', namespace: space },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { 'credentials.run.ai/inject': 'mlflow-access' } },
        spec: { containers: [main] },
      },
    },
  })
  const refused = await whenObject<any>(
    kube,
    collection('Deployment', space),
    'notebook',
    ({ status }) => status?.conditions?.some(({ type }: any) => type === 'ReplicaFailure') ?? false,
  )
  expect(JSON.stringify(refused.status.conditions)).toContain('asks for')

  const webhook = await startWebhook(cluster.kubeconfig)
  const { ca } = await testCertificates()
  const entry = { failurePolicy: 'Ignore' }
  const unregister = await register(cluster, {
    name: 'guarded',
    url: webhook.url,
    ca,
    namespaces: [space],
    entry,
  })
  try {
    await whenObject<any>(
      kube,
      collection('Deployment', space),
      'notebook',
      ({ status }) => status?.replicas === 1,
    )
    const { items } = await kube.get<any>(collection('Pod', space))
    expect(items[0].spec.containers[0].envFrom).toEqual([{ secretRef: { name: 'mlflow-access-secret' } }])
  } finally {
    await unregister()
    await webhook.stop()
  }
})

// ---- Deletion --------------------------------------------------------------------------------------------------------

describe('a credential that pods use', () => {
  const NAMES = ['Deployment/a', 'Deployment/b', 'Job/c', 'Pod/d', 'Pod/e', 'Pod/f']

  async function used(
    kind: 'Credential' | 'ClusterCredential',
    name: string,
    pods: number,
    namespace = SPACE,
    metadata = {},
  ): Promise<string> {
    const place = kind === 'Credential' ? { name, namespace } : { name }
    await apply(kube, credential(kind, { ...place, ...metadata }))
    const path = `${collection(kind, namespace)}/${name}`
    const names = NAMES.slice(0, pods)
    await kube.patch(`${path}/status`, MERGE, { status: { usedBy: { pods, workloads: 1, names } } })
    return path
  }

  test('stays, and says who uses it and how to go on', async () => {
    const path = await used('Credential', 'wandb-in-use', 7)
    expect(await answer(kube.delete(path))).toContain(
      `Credential wandb-in-use is used by 7 pods: ${NAMES.slice(0, 5).join(', ')} and others. They keep what they have, but new pods that ask for it would be refused. Take it out of them first, or delete it all the same after: kubectl annotate credential wandb-in-use --namespace ${SPACE} credentials.run.ai/allow-delete=true`,
    )
    expect(await answer(kube.delete(`${path}?dryRun=All`))).toContain('is used by 7 pods')
    expect(await answer(kube.delete(`${path}?propagationPolicy=Orphan&gracePeriodSeconds=0`))).toContain(
      'is used by 7 pods',
    )
  })

  test('goes after the command that the message names', async () => {
    const path = await used('Credential', 'hf-in-use', 1)
    const message = await answer(kube.delete(path))
    expect(message).toContain('is used by 1 pod: Deployment/a. They')
    await cluster.kubectl((message.match(/kubectl (annotate .*)$/)?.[1] ?? '').split(' '))
    expect(await answer(kube.delete(path))).toBe('')
  })

  test.each(['false', 'True', '', 'yes'])('stays with allow-delete: %j', async (value) => {
    const annotations = { 'credentials.run.ai/allow-delete': value }
    const path = await used('Credential', 'aws-in-use', 1, SPACE, { annotations })
    expect(await answer(kube.delete(path))).toContain('is used by 1 pod')
  })

  test('stays when all are deleted, and those without users go', async () => {
    await ensureNamespace(kube, 'collected')
    await used('Credential', 'wandb-used', 1, 'collected')
    await used('Credential', 'wandb-unused', 0, 'collected')
    await apply(kube, credential('Credential', { name: 'wandb-new', namespace: 'collected' }))
    expect(await answer(kube.delete(collection('Credential', 'collected')))).toContain(
      'wandb-used is used by',
    )
    await cluster.tryKubectl(['delete', 'credentials', '--all', '--namespace', 'collected'])
    const { items } = await kube.get<any>(collection('Credential', 'collected'))
    expect(items.map(({ metadata }: any) => metadata.name)).toEqual(['wandb-used'])
  })

  test('stays if it is the cluster’s', async () => {
    const path = await used('ClusterCredential', 'ngc-in-use', 2)
    const message = await answer(kube.delete(path))
    expect(message).toContain('ClusterCredential ngc-in-use is used by 2 pods: Deployment/a, Deployment/b.')
    await cluster.kubectl((message.match(/kubectl (annotate .*)$/)?.[1] ?? '').split(' '))
    expect(await answer(kube.delete(path))).toBe('')
  })

  test('does not hold up the end of its namespace', async () => {
    await ensureNamespace(kube, 'ending')
    await used('Credential', 'wandb-ending', 3, 'ending')
    await kube.delete('/api/v1/namespaces/ending')
    await whenGone(kube, '/api/v1/namespaces', 'ending')
  })

  test('goes with what owns it', async () => {
    const owner = await apply<any>(kube, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'owner', namespace: SPACE },
    })
    const { uid } = owner.metadata
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid }]
    await used('Credential', 'wandb-owned', 3, SPACE, { ownerReferences })
    await kube.delete(`${collection('ConfigMap', SPACE)}/owner`)
    await whenGone(kube, collection('Credential', SPACE), 'wandb-owned')
  })

  test('can be changed', async () => {
    const path = await used('Credential', 'hf-changing', 3)
    const description = 'for the team'
    await kube.patch(path, MERGE, { spec: { description } })
    await whenObject<any>(
      kube,
      collection('Credential', SPACE),
      'hf-changing',
      ({ spec }) => spec.description === description,
    )
  })
})

// ---- Names -----------------------------------------------------------------------------------------------------------

describe('a name', () => {
  const POOR = [
    ...['api-key', 'secret1', 'credentials', 'token'],
    ...['api-key-2', 'my-secret', 'test', 'cred1', 'apikey', 'mysecret', 'api.key', 'secret-2024', '1'],
    ...['access-token', 'accesskey', 'password', 'auth-token-new', 'user-password', 'test-credentials-2'],
    ...['the-key', 'foo', 'example', 'tmp', 'new-api-keys', 'default-credential', 'api', 'secret-1-2'],
  ]
  /** Of the seed document, and some that are near the poor ones. */
  const GOOD = [
    ...['wandb-research-team-access', 'aws-s3-training-data-readonly'],
    ...['github-ssh-deployment-key', 'postgres-experiment-db-credentials'],
    ...['wandb-credentials', 'openai-api-key', 'hf-token', 'ssh-keys', 'db-password', 'gitlab-token'],
    ...['dockerhub', 'tokenizer-access', 'keycloak-client', 'testrail-login', 'authentik-oidc', 'keybase'],
  ]
  /** Kinds need not be served from anywhere for their names to be looked at. */
  const warned = async (kind: 'Credential' | 'ClusterCredential', names: readonly string[]) => {
    const items = names.map((name) =>
      credential(kind, kind === 'Credential' ? { name, namespace: 'named' } : { name }),
    )
    const { stderr } = await cluster.tryKubectl(
      ['create', '--dry-run=server', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
    )
    return [...stderr.matchAll(/the name (\S+) does not say/g)].map(([, name]) => name)
  }
  beforeAll(() => ensureNamespace(kube, 'named'))

  test.each(['Credential', 'ClusterCredential'] as const)('that says nothing, of a %s', async (kind) => {
    expect(await warned(kind, POOR)).toEqual(POOR)
  })

  test.each(['Credential', 'ClusterCredential'] as const)('that says something, of a %s', async (kind) => {
    expect(await warned(kind, GOOD)).toEqual([])
  })

  test('of the fixtures and examples: two are poor indeed', async () => {
    const names = manifestNames(['fixtures', 'examples'])
    expect(names.length).toBeGreaterThan(90)
    expect(await warned('Credential', names)).toEqual(['key', 'keys'])
  })

  test('gets a warning with good examples, and no more', async () => {
    const manifest = JSON.stringify(credential('Credential', { name: 'api-key', namespace: 'named' }))
    const { code, stderr } = await cluster.tryKubectl(['create', '-f', '-'], manifest)
    expect(code).toBe(0)
    expect(stderr).toContain(
      'the name api-key does not say what the credential is for. Name the service, who uses it and how far it reaches, such as wandb-research-team-access, aws-s3-training-data-readonly or github-ssh-deployment-key',
    )
    // It is told once, not with every change.
    const changed = await cluster.tryKubectl(['apply', '-f', '-'], manifest)
    expect(changed.stderr).not.toContain('does not say')
  })
})

/** Of credentials in the YAML files below these folders. */
function manifestNames(folders: readonly string[]): string[] {
  const files = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((file) => join(folder, file))
      .filter((file) => file.endsWith('.yaml') && statSync(file).isFile()),
  )
  const objects = files.flatMap((file) =>
    parseAllDocuments(readFileSync(file, 'utf8')).flatMap((document) =>
      document.errors.length > 0 ? [] : [document.toJS()],
    ),
  )
  const names = objects.flatMap((object) =>
    ['Credential', 'ClusterCredential'].includes(object?.kind) ? [object.metadata.name] : [],
  )
  return [...new Set<string>(names)].sort()
}

// ---- The API server itself -------------------------------------------------------------------------------------------

test('an API server that starts lets nothing past before it knows the credentials', async () => {
  await apply(kube, credential('Credential', { name: 'redis-at-start', namespace: SPACE }))
  await guardsKnow(cluster, SPACE)
  // Undefined where it is not there, or does not answer yet.
  const answers: (string | undefined)[] = []
  const ask = async () => {
    const pod = podOf({ imagePullSecrets: [{ name: 'redis-at-start-secret' }] })
    answers.push(await tryPod(kube, SPACE, pod).catch(() => undefined))
    return answers.at(-1)
  }
  let isUp = false
  const restarted = cluster.restartApiServer('SIGKILL').finally(() => {
    isUp = true
  })
  while (!isUp) await Promise.all([ask(), sleep(5)])
  await restarted
  // It may take half a minute until the API server has found the definitions.
  await vi.waitFor(async () => expect(await ask()).toContain('belongs to Credential redis-at-start'), {
    timeout: 90_000,
  })
  expect(answers).toContain(undefined)
  expect(answers).not.toContain('')
})
