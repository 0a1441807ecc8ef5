import { isNotFound, type KubeClient } from '../../kube/client.ts'
import type { ConfigurationKind, Secret, StoredObjects, WebhookConfiguration } from './state.ts'

/** The objects in the cluster that this is about. */
export interface ObjectNames {
  readonly namespace: string
  /** Secrets in `namespace`. */
  readonly authoritySecret: string
  readonly servingSecret: string
  readonly mutatingConfigurations: readonly string[]
  readonly validatingConfigurations: readonly string[]
}

interface ObjectPath {
  /** Path of the collection. */
  readonly collection: string
  readonly name: string
}

export function secretPath({ namespace }: ObjectNames, name: string): ObjectPath {
  return { collection: `/api/v1/namespaces/${namespace}/secrets`, name }
}

export function configurationPath(kind: ConfigurationKind, name: string): ObjectPath {
  return { collection: `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`, name }
}

export function pathOf({ collection, name }: ObjectPath): string {
  return `${collection}/${name}`
}

export function everyPath(names: ObjectNames): ObjectPath[] {
  return [
    secretPath(names, names.authoritySecret),
    secretPath(names, names.servingSecret),
    ...configurationNames(names).map(({ kind, name }) => configurationPath(kind, name)),
  ]
}

/** Reads everything afresh. Objects that are missing are left out: they may come later. */
export async function readObjects(
  client: KubeClient,
  names: ObjectNames,
  signal: AbortSignal,
): Promise<StoredObjects> {
  const read = <T>(path: ObjectPath) => readIfPresent<T>(client, pathOf(path), signal)
  const [authority, serving, ...configurations] = await Promise.all([
    read<Secret>(secretPath(names, names.authoritySecret)),
    read<Secret>(secretPath(names, names.servingSecret)),
    ...configurationNames(names).map(async ({ kind, name }) => ({
      kind,
      object: await read<WebhookConfiguration>(configurationPath(kind, name)),
    })),
  ])
  return {
    authority,
    serving,
    configurations: configurations.flatMap(({ kind, object }) => (object ? [{ kind, object }] : [])),
  }
}

function configurationNames({ mutatingConfigurations, validatingConfigurations }: ObjectNames) {
  const all = (kind: ConfigurationKind, names: readonly string[]) => names.map((name) => ({ kind, name }))
  return [
    ...all('MutatingWebhookConfiguration', mutatingConfigurations),
    ...all('ValidatingWebhookConfiguration', validatingConfigurations),
  ]
}

async function readIfPresent<T>(
  client: KubeClient,
  path: string,
  signal: AbortSignal,
): Promise<T | undefined> {
  try {
    return await client.get<T>(path, { signal })
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}
