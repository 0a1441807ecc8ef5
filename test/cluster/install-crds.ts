import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { CRD_FILES } from '../../scripts/generate/crds.ts'
import type { KubeClient, KubeObject } from '../../src/kube/client.ts'
import { whenObject } from './kit/watch.ts'

interface Crd extends KubeObject {
  readonly spec: { readonly names: { readonly plural: string } }
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[] | null
  }
}

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

/** Applies the three CRDs, as they are in the chart, and waits until the API server serves them. */
export async function installCrds(client: KubeClient): Promise<void> {
  await Promise.all(
    Object.values(CRD_FILES).map(async (file) => {
      const crd: Crd = parse(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8'))
      const path = `${CRDS}/${crd.metadata.name}`
      await client.patch(
        `${path}?fieldManager=test&force=true&fieldValidation=Strict`,
        'application/apply-patch+yaml',
        crd,
      )
      await whenServed(client, crd)
    }),
  )
}

async function whenServed(client: KubeClient, { metadata, spec }: Crd): Promise<void> {
  await whenObject<Crd>(client, CRDS, metadata.name, ({ status }) =>
    Boolean(status?.conditions?.some((each) => each.type === 'Established' && each.status === 'True')),
  )
  // Established means that it will be served in a moment.
  const signal = AbortSignal.timeout(60_000)
  while (!(await isServed(client, spec.names.plural))) signal.throwIfAborted()
}

async function isServed(client: KubeClient, plural: string): Promise<boolean> {
  return client.get(`/apis/run.ai/v1/${plural}?limit=1`).then(
    () => true,
    () => false,
  )
}
