/** A program's service account with exactly the rights that the chart gives it. */
import type { Cluster } from '../kit/cluster.ts'
import { render, type Values } from './helm.ts'

const RIGHTS = ['ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding']

export interface ControllerAccount {
  readonly name: string
  readonly token: string
  /** Path of a kubeconfig for it. */
  readonly kubeconfig: string
  /** Takes away what belongs to the cluster; the rest goes with the namespace. */
  remove(): Promise<unknown>
}

/** Made in a namespace that exists, as if the chart were installed there with these values. */
export async function makeControllerAccount(
  cluster: Cluster,
  namespace: string,
  values: Values = {},
  program: 'controller' | 'webhook' = 'controller',
): Promise<ControllerAccount> {
  const name = `${values.fullnameOverride ?? 'credential-injector'}-${program}`
  const { objects } = await render(values, { namespace })
  const its = objects.filter(({ kind, metadata }) => RIGHTS.includes(kind) && metadata.name === name)
  await cluster.kubectl(['apply', '-f', '-'], its.map((object) => JSON.stringify(object)).join('\n---\n'))
  const token = await cluster.tokenFor(name, namespace)
  return {
    name,
    token,
    kubeconfig: cluster.kubeconfigFor(token),
    remove: () => cluster.kubectl(['delete', 'clusterrolebinding,clusterrole', name]),
  }
}
