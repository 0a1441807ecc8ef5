/** The chart, installed by the real helm into a real cluster with a node, where its pods run: from the first pod to the last. */
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCertManager } from './kit/cert-manager.ts'
import { type Cluster, startCluster } from './kit/cluster.ts'
import { whyNoNode } from './kit/node.ts'
import { say } from './kit/programs.ts'
import { whenGone, whenObject } from './kit/watch.ts'
import { expectNoSecretInAuditLog } from './support/audit.ts'
import { renewCertificate } from './support/cert-manager.ts'
import { CHART, helm, type Values } from './support/helm.ts'
import { BASE, CREDENTIAL, importProduct, OWN, POLICY, podThatAsks, trusted } from './support/installation.ts'
import { createSteadily } from './support/steadily.ts'

const reason = whyNoNode()

describe.skipIf(reason)(
  `installed into a cluster with a node${reason ? ` (skipped: ${reason})` : ''}`,
  () => {
    let cluster: Cluster
    let stopCertManager = async () => {}

    beforeAll(async () => {
      cluster = await startCluster({ node: true })
      await importProduct(cluster)
      stopCertManager = await startCertManager(cluster)
      await cluster.createNamespace(OWN, { 'pod-security.kubernetes.io/enforce': 'restricted' })
      await cluster.createNamespace('team-a')
      const secret = [
        'create',
        'secret',
        'generic',
        'wandb-secret',
        '--from-literal',
        'WANDB_API_KEY=canary-of-installations',
      ]
      await cluster.kubectl(['-n', 'team-a', ...secret])
    })
    afterAll(async () => {
      await stopCertManager()
      await cluster?.stop()
    })

    const helmHere = (args: readonly string[], values?: Values) =>
      helm([...args, '--kubeconfig', cluster.kubeconfig, '--namespace', OWN], values)

    describe.each(['selfManaged', 'certManager'])('with certificates.mode=%s', (mode) => {
      const values = (more: Values = {}) => ({ ...BASE, certificates: { mode }, ...more })
      const rolled = (mark: string) =>
        values({
          webhook: { ...BASE.webhook, podAnnotations: { mark } },
          controller: { podAnnotations: { mark } },
        })

      beforeAll(async () => {
        await helmHere(['install', OWN, CHART, '--values', '-', '--wait', '--timeout', '5m'], values())
        await cluster.kubectl(['apply', '-f', '-'], CREDENTIAL)
        await trusted(cluster)
      })

      test('a pod gets its credential, and its container the variable', async () => {
        const pods = '/api/v1/namespaces/team-a/pods'
        const name = `hello-${mode.toLowerCase()}`
        await cluster.client.create(pods, podThatAsks({ name }, 'echo "$WANDB_API_KEY" | sha256sum'))

        const stored = await cluster.client.get<any>(`${pods}/${name}`)
        expect(stored.spec.containers[0].envFrom).toEqual([{ secretRef: { name: 'wandb-secret' } }])
        expect(stored.metadata.annotations['credentials.run.ai/injected']).toMatch(
          /^Credential\/wandb-credentials/,
        )
        await whenObject<any>(cluster.client, pods, name, ({ status }) => status.phase === 'Succeeded')
        const sum = createHash('sha256').update('canary-of-installations\n').digest('hex')
        expect(await cluster.kubectl(['-n', 'team-a', 'logs', name])).toContain(sum)
      })

      test('a misspelt name is refused with the right one', async () => {
        const pod = podThatAsks({ name: 'typo' })
        pod.metadata.annotations['credentials.run.ai/inject'] = 'wandb-credential'
        await expect(cluster.client.create('/api/v1/namespaces/team-a/pods', pod)).rejects.toThrow(
          'did you mean "wandb-credentials"?',
        )
      })

      const POLICIES = `${OWN}-policies`
      /** Of a pod that asks for nothing: Secrets that policies have given it. */
      const givenByPolicy = async () => {
        const pod = podThatAsks({ name: 'by-policy' })
        const { annotations: _, ...metadata } = { ...pod.metadata, labels: { workload: 'training' } }
        const path = '/api/v1/namespaces/team-a/pods?dryRun=All'
        const { spec } = await cluster.client.create<any>(path, { ...pod, metadata })
        return spec.containers[0].envFrom?.map(({ secretRef }: any) => secretRef.name)
      }

      test('a policy takes effect, and the API server knows the CA for it from the start', async () => {
        await cluster.kubectl(['apply', '-f', '-'], POLICY)
        const { webhooks } = await whenObject<any>(
          cluster.client,
          '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
          POLICIES,
          ({ webhooks = [] }) => webhooks.length === 1,
        )
        expect(webhooks[0].clientConfig.caBundle).toEqual(expect.stringMatching(/^LS0t/))
        await expect.poll(givenByPolicy, { timeout: 30_000 }).toEqual(['wandb-secret'])
      })

      test('an upgrade and a rollback lose no pod that is created meanwhile, and none its credential', async () => {
        const creating = createSteadily(cluster.client, () =>
          podThatAsks({ generateName: 'steady-' }, undefined, true),
        )
        await creating.reached(20)

        await helmHere(['upgrade', OWN, CHART, '--values', '-', '--wait', '--timeout', '5m'], rolled('two'))
        await creating.more(20)
        await helmHere(['rollback', OWN, '1', '--wait', '--timeout', '5m'])
        await creating.more(20)

        const { created, failures, bare } = await creating.end()
        say(
          `${mode}: ${created} pods created during an upgrade and a rollback, ${failures.length} refused, ${bare} without the credential`,
        )
        expect({ failures, bare }).toEqual({ failures: [], bare: 0 })
        expect(await givenByPolicy()).toEqual(['wandb-secret'])
        await cluster.kubectl(['-n', 'team-a', 'delete', 'pods', '-l', 'steady=yes', '--wait=false'])
      }, 600_000)

      test('the webhook’s own token is refused Secrets by the API server', async () => {
        const token = await cluster.tokenFor(`${OWN}-webhook`, OWN)
        const as = ['--kubeconfig', cluster.kubeconfigFor(token), '-n', 'team-a']
        expect((await cluster.tryKubectl([...as, 'get', 'secret', 'wandb-secret'])).stderr).toContain(
          '(Forbidden)',
        )
      })

      // The node of the tests has no DNS and no Services, so the pod is told the webhook's address; all else is as helm runs it.
      test('the pod of `helm test` finds that the webhook answers', async () => {
        const args = ['template', OWN, CHART, '--values', '-', '--show-only', 'templates/tests/webhook.yaml']
        const text = await helmHere([...args, '--api-versions', 'cert-manager.io/v1'], values())
        const [ip] = await webhookAddresses(cluster)
        const host = `${OWN}-webhook.${OWN}.svc`
        const aliases = { hostAliases: [{ ip, hostnames: [host] }] }
        const created = JSON.parse(
          await cluster.kubectl(
            ['create', '--dry-run=client', '-o', 'json', '-f', '-'],
            text.replace(`${host}/`, `${host}:8443/`),
          ),
        )
        await cluster.client.create(`/api/v1/namespaces/${OWN}/pods`, {
          ...created,
          spec: { ...created.spec, ...aliases },
        })
        const done = await whenObject<any>(
          cluster.client,
          `/api/v1/namespaces/${OWN}/pods`,
          `${OWN}-test`,
          ({ status }) => status.phase === 'Succeeded' || status.phase === 'Failed',
        )
        const said = await cluster.kubectl(['-n', OWN, 'logs', `${OWN}-test`])
        expect(said).toContain('answers reviews, with a certificate that the CA has signed')
        expect(done.status.phase).toBe('Succeeded')
        await cluster.kubectl(['-n', OWN, 'delete', 'pod', `${OWN}-test`])
      })

      test('a renewed certificate or CA loses no pod that is created meanwhile', async () => {
        const creating = createSteadily(cluster.client, () =>
          podThatAsks({ generateName: 'steady-' }, undefined, true),
        )
        await creating.reached(20)

        const first = await certificateIn(cluster, `${OWN}-webhook-tls`)
        await renew(cluster, mode, `${OWN}-webhook-tls`)
        const second = await changed(cluster, `${OWN}-webhook-tls`, first)
        await served(cluster, second)
        await creating.more(20)

        const ca = await certificateIn(cluster, `${OWN}-ca`)
        await renew(cluster, mode, `${OWN}-ca`)
        await changed(cluster, `${OWN}-ca`, ca)
        // The controller has a new CA sign at once, as soon as it is trusted. cert-manager's has the key of the one before.
        if (mode === 'selfManaged')
          await served(cluster, await changed(cluster, `${OWN}-webhook-tls`, second))
        await creating.more(200)

        const { created, failures, bare } = await creating.end()
        say(
          `${mode}: ${created} pods created during renewals, ${failures.length} refused, ${bare} without the credential`,
        )
        expect({ failures, bare }).toEqual({ failures: [], bare: 0 })
        // Whoever keeps bundles keeps those of policies, too.
        expect(await givenByPolicy()).toEqual(['wandb-secret'])
        await cluster.kubectl(['-n', 'team-a', 'delete', 'pods', '-l', 'steady=yes', '--wait=false'])
      }, 600_000)

      test('uninstalled, it leaves nothing that could refuse a pod, and pods that run go on', async () => {
        await cluster.client.create(
          '/api/v1/namespaces/team-a/pods',
          podThatAsks({ name: 'goes-on' }, 'sleep 3600'),
        )
        await whenObject<any>(
          cluster.client,
          '/api/v1/namespaces/team-a/pods',
          'goes-on',
          ({ status }) => status.phase === 'Running',
        )

        await helmHere(['uninstall', OWN, '--wait', '--timeout', '5m'])

        const all = 'mutatingwebhookconfigurations,validatingwebhookconfigurations'
        expect(await cluster.kubectl(['get', all, '-o', 'name'])).toBe('')
        // With the policy still there.
        expect(await cluster.kubectl(['get', 'credentialpolicies', '-o', 'name'])).toContain('/by-label')
        await expect.poll(givenByPolicy, { timeout: 30_000 }).toBeUndefined()
        await cluster.kubectl(['delete', 'credentialpolicy', 'by-label'])
        await expect
          .poll(
            () =>
              cluster.client
                .create<any>('/api/v1/namespaces/team-a/pods?dryRun=All', podThatAsks({ name: 'bare' }))
                .then(({ spec }) => spec.containers[0].envFrom),
            { timeout: 30_000 },
          )
          .toBeUndefined()
        const { status } = await cluster.client.get<any>('/api/v1/namespaces/team-a/pods/goes-on')
        expect(status.phase).toBe('Running')
        await cluster.kubectl(['-n', 'team-a', 'delete', 'pod', 'goes-on', '--grace-period=1'])
        await whenGone(cluster.client, '/api/v1/namespaces/team-a/pods', 'goes-on')
        // What the other mode makes by itself must not be taken for its own.
        await cluster.kubectl([
          '-n',
          OWN,
          'delete',
          'secret',
          `${OWN}-ca`,
          `${OWN}-webhook-tls`,
          '--ignore-not-found',
        ])
      })
    })

    test('no value of a Secret was written into the audit log', () => expectNoSecretInAuditLog(cluster))
  },
)

// ---- Certificates ------------------------------------------------------------------------------------------------------

/** Addresses of the webhook's pods. */
async function webhookAddresses(cluster: Cluster): Promise<string[]> {
  const { items } = await cluster.client.get<any>(
    `/api/v1/namespaces/${OWN}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dwebhook`,
  )
  return items.map(({ status }: any) => status.podIP)
}

/** Resolves when every pod serves it: the kubelet looks at volumes every minute or so, and the webhook at its files. */
async function served(cluster: Cluster, certificate: string): Promise<void> {
  for (const ip of await webhookAddresses(cluster))
    await expect.poll(() => servedAt(ip), { timeout: 240_000, interval: 1000 }).toBe(certificate)
}

/** The certificate that a pod shows to whoever connects. */
async function servedAt(ip: string): Promise<string | undefined> {
  const socket = connect({ host: ip, port: 8443, rejectUnauthorized: false })
  try {
    await once(socket, 'secureConnect')
    return socket.getPeerX509Certificate()?.toString().trim()
  } finally {
    socket.destroy()
  }
}

/** The first certificate in a Secret, once it is another than `before`. */
async function changed(cluster: Cluster, secret: string, before: string): Promise<string> {
  const { data } = await whenObject<any>(
    cluster.client,
    `/api/v1/namespaces/${OWN}/secrets`,
    secret,
    (object) => object.data?.['tls.crt'] !== undefined && firstOf(object.data['tls.crt']) !== before,
    180_000,
  )
  return firstOf(data['tls.crt'])
}

/** The first certificate of a chain, in PEM; the chain is in base64. */
function firstOf(chain: string): string {
  return new X509Certificate(Buffer.from(chain, 'base64')).toString().trim()
}

async function certificateIn(cluster: Cluster, secret: string): Promise<string> {
  return firstOf(
    (await cluster.client.get<any>(`/api/v1/namespaces/${OWN}/secrets/${secret}`)).data['tls.crt'],
  )
}

/** As the operations page says, or as cert-manager's own command line does it. */
async function renew(cluster: Cluster, mode: string, secret: string): Promise<void> {
  if (mode === 'selfManaged') {
    await cluster.kubectl(['-n', OWN, 'annotate', 'secret', secret, 'credentials.run.ai/rotate=now'])
    return
  }
  await renewCertificate(cluster, OWN, secret)
}
