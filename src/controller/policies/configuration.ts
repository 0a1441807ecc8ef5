/*
 * Keeps the entries of the webhook configuration for policies as they should be. The object itself is the chart's: it is only
 * there or not. Nothing is written that is there already, whatever brought it.
 */
import { isDeepStrictEqual } from 'node:util'
import { isConflict, type KubeClient, KubeError } from '../../kube/client.ts'
import { type Reflector, startReflector, type Trouble } from '../../kube/reflector.ts'
import { mustLead } from '../duties.ts'
import {
  asSentBy,
  type EntriesInput,
  entriesFor,
  entryName,
  excludedBy,
  type StoredPolicy,
  type WebhookConfiguration,
  type WebhookEntry,
} from './entries.ts'
import type { EntryState } from './status.ts'

export interface ConfigurationNames {
  /** MutatingWebhookConfiguration with an entry for each policy. */
  readonly policies: string
  /** The one for annotated pods: what the entries are like. */
  readonly pods: string
}

export interface Configuration {
  /** Resolves when both objects have been read once. */
  readonly synced: Promise<unknown>
  /** The entry for annotated pods, as far as it is known. */
  template(): WebhookEntry | undefined
  /** Whether what there should be has been written already, so that only somebody else can have changed it. */
  hasWritten(policies: readonly StoredPolicy[]): boolean
  /** Makes it what it should be for these policies. Rejects if it must be tried again. */
  bring(policies: readonly StoredPolicy[]): Promise<BroughtBy>
  /** After the last `bring`, and what has been seen since. */
  stateOf(policy: StoredPolicy): EntryState
  /**
   * The policy as far as the API server sends its pods, which may be by an entry that is not yet, or no longer, as it should be:
   * those that this does not select are nobody's to inject. Undefined if there is no entry.
   */
  asSent(policy: StoredPolicy): StoredPolicy | undefined
  exists(): boolean
  stop(): Promise<void>
}

export type BroughtBy = 'nothing' | 'write'

interface ConfigurationSettings {
  readonly client: Pick<KubeClient, 'get' | 'stream' | 'patch'>
  readonly names: ConfigurationNames
  readonly ownNamespace: string
  /** Another duty of this process writes bundles into the configuration. */
  readonly managesBundles: boolean
  readonly isLeading: () => boolean
  readonly signal: AbortSignal
  /** One of the two objects is not what it was. */
  readonly onChange: () => void
  readonly onTrouble: (trouble: Trouble) => void
}

const COLLECTION = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
const TEMPLATE_NAME = 'pods.credentials.run.ai'
/** cert-manager's injector: it writes bundles, whatever they are injected from. */
const INJECTOR = 'cert-manager.io/inject-'

type Refusals = Map<string, { readonly entry: WebhookEntry; readonly message: string }>

export function followConfiguration(settings: ConfigurationSettings): Configuration {
  const { client, names, ownNamespace, managesBundles, isLeading, signal } = settings
  const policies = follow(names.policies)
  const pods = follow(names.pods)
  /** What the API server has refused, until it is something else. */
  const refusals: Refusals = new Map()
  /** What was asked for last, and what the API server made of that. */
  let settled:
    | { readonly wanted: readonly WebhookEntry[]; readonly stored: readonly WebhookEntry[] }
    | undefined
  let failure: string | undefined

  return {
    synced: Promise.all([policies.synced, pods.synced]),
    template,
    hasWritten,
    bring,
    stateOf,
    asSent,
    exists: () => policies.get(names.policies) !== undefined,
    async stop() {
      await Promise.all([policies.stop(), pods.stop()])
    },
  }

  function follow(name: string): Reflector<WebhookConfiguration, WebhookConfiguration> {
    return startReflector<WebhookConfiguration, WebhookConfiguration>({
      client,
      path: COLLECTION,
      query: `fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`,
      keep: kept,
      onPut: settings.onChange,
      onRemove: settings.onChange,
      onTrouble: settings.onTrouble,
    })
  }

  function template(): WebhookEntry | undefined {
    const { webhooks = [] } = pods.get(names.pods) ?? {}
    return webhooks.find(({ name }) => name === TEMPLATE_NAME) ?? webhooks[0]
  }

  function entriesNow(): readonly WebhookEntry[] {
    return policies.get(names.policies)?.webhooks ?? []
  }

  // ---- Plan ----

  /** Without its template nothing new can be made, but what is over can be taken away. */
  function wantedFor(all: readonly StoredPolicy[], target: WebhookConfiguration): WebhookEntry[] {
    const like = template()
    const present = entriesNow()
    if (like === undefined) {
      const known = new Set(all.map(({ name }) => entryName(name)))
      return present.filter(({ name }) => known.has(name))
    }
    const input: EntriesInput = {
      policies: all,
      template: like,
      present,
      bundlesAreOthers: managesBundles || hasInjector(target),
      ownNamespace,
    }
    const acceptable = entriesFor(input).filter((entry) => {
      const refused = refusals.get(entry.name)
      if (refused !== undefined && !isDeepStrictEqual(refused.entry, entry)) refusals.delete(entry.name)
      return !refusals.has(entry.name)
    })
    return acceptable
  }

  function isDone(wanted: readonly WebhookEntry[]): boolean {
    const present = entriesNow()
    if (isDeepStrictEqual(wanted, present)) return true
    // A later API server may add what this program does not know: asked for the same once more, it would give the same.
    return isDeepStrictEqual(wanted, settled?.wanted) && isDeepStrictEqual(present, settled?.stored)
  }

  function hasWritten(all: readonly StoredPolicy[]): boolean {
    const target = policies.get(names.policies)
    return target !== undefined && isDeepStrictEqual(wantedFor(all, target), settled?.wanted)
  }

  // ---- Apply ----

  async function bring(all: readonly StoredPolicy[]): Promise<BroughtBy> {
    try {
      const done = await bringOnce(all)
      failure = undefined
      return done
    } catch (error) {
      if (!isConflict(error)) failure = (error as Error).message
      throw error
    }
  }

  async function bringOnce(all: readonly StoredPolicy[]): Promise<BroughtBy> {
    const target = policies.get(names.policies)
    if (target === undefined) return 'nothing'
    const wanted = wantedFor(all, target)
    if (isDone(wanted)) return 'nothing'
    try {
      await write(target, wanted)
      return 'write'
    } catch (error) {
      if (!isRefused(error) || (await findRefused(wanted)) === 0) throw error
      // Fewer each time: what was refused is left out.
      return bringOnce(all)
    }
  }

  async function write({ metadata }: WebhookConfiguration, wanted: WebhookEntry[]): Promise<void> {
    mustLead(isLeading)
    const { uid, resourceVersion } = metadata
    const after = await patch({ metadata: { uid, resourceVersion }, webhooks: wanted })
    settled = { wanted, stored: after.webhooks ?? [] }
    policies.offer(after)
  }

  /** One faulty entry must not keep the others out: each that is not there already is tried by itself, without being stored. */
  async function findRefused(wanted: readonly WebhookEntry[]): Promise<number> {
    const present = entriesNow()
    let found = 0
    for (const entry of wanted) {
      if (present.some((known) => isDeepStrictEqual(known, entry))) continue
      try {
        await patch({ webhooks: [entry] }, '?dryRun=All')
      } catch (error) {
        if (!isRefused(error)) throw error
        refusals.set(entry.name, { entry, message: (error as Error).message })
        found++
      }
    }
    return found
  }

  function patch(body: object, query = ''): Promise<WebhookConfiguration> {
    const path = `${COLLECTION}/${names.policies}${query}`
    return client.patch<WebhookConfiguration>(path, 'application/merge-patch+json', body, { signal })
  }

  // ---- What has come of it ----

  function stateOf(policy: StoredPolicy): EntryState {
    const target = policies.get(names.policies)
    if (target === undefined) return notInEffect('ConfigurationMissing', missingSentence(names.policies))
    const like = template()
    if (like === undefined) return notInEffect('RegistrationMissing', missingSentence(names.pods))
    const name = entryName(policy.name)
    const refused = refusals.get(name)
    if (refused !== undefined)
      return notInEffect(
        'EntryRefused',
        `The API server refuses what the policy asks for: ${refused.message}`,
      )
    const present = entriesNow()
    const [wanted] = wantedFor([policy], target)
    if (
      isDeepStrictEqual(
        present.find((entry) => entry.name === name),
        wanted,
      ) ||
      isAsAsked(name, wanted)
    )
      return { kind: 'InEffect' }
    return failure === undefined
      ? { kind: 'Pending' }
      : notInEffect(
          'NotWritten',
          `The MutatingWebhookConfiguration ${names.policies} cannot be written, which is tried again: ${failure}`,
        )
  }

  function asSent(policy: StoredPolicy): StoredPolicy | undefined {
    const entry = entriesNow().find(({ name }) => name === entryName(policy.name))
    return entry && asSentBy(entry, policy, excludedBy(template(), ownNamespace))
  }

  function isAsAsked(name: string, wanted: WebhookEntry | undefined): boolean {
    const asked = settled?.wanted.find((entry) => entry.name === name)
    return (
      asked !== undefined &&
      isDeepStrictEqual(asked, wanted) &&
      isDeepStrictEqual(entriesNow(), settled?.stored)
    )
  }
}

function notInEffect(
  reason: Extract<EntryState, { kind: 'NotInEffect' }>['reason'],
  message: string,
): EntryState {
  return { kind: 'NotInEffect', reason, message }
}

function missingSentence(name: string): string {
  return `There is no MutatingWebhookConfiguration ${name}, or nothing in it: the chart makes it, so run helm upgrade once more, or apply the manifests again.`
}

function kept({ metadata, webhooks }: WebhookConfiguration): WebhookConfiguration {
  const { name, uid, resourceVersion, annotations } = metadata
  return { metadata: { name, uid, resourceVersion, annotations }, webhooks }
}

function hasInjector({ metadata: { annotations = {} } }: WebhookConfiguration): boolean {
  return Object.keys(annotations).some((key) => key.startsWith(INJECTOR))
}

/** For what it is, so that the same would be refused again. */
function isRefused(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 422 || error.status === 400)
}
