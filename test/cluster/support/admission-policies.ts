/** ValidatingAdmissionPolicies of the chart, on their own. */
import type { Cluster } from '../kit/cluster.ts'
import { render, type Values } from './helm.ts'

const KINDS = ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding']

/**
 * Installs those whose names begin like that, as if the chart were installed in `namespace`. The API server goes by them a moment
 * later. Returns what takes them away.
 */
export async function installAdmissionPolicies(
  { kubectl }: Cluster,
  namespace: string,
  prefix: string,
  values: Values,
): Promise<() => Promise<unknown>> {
  const { objects } = await render(values, { namespace })
  const its = objects.filter(({ kind, metadata }) => KINDS.includes(kind) && metadata.name.startsWith(prefix))
  if (its.length === 0) throw new Error(`the chart has no policy ${prefix}…`)
  await kubectl(['apply', '-f', '-'], its.map((object) => JSON.stringify(object)).join('\n---\n'))
  const names = its.map(({ kind, metadata }) => `${kind}/${metadata.name}`)
  return () => kubectl(['delete', '--ignore-not-found', ...names])
}
