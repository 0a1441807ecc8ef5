import type { DestinationStream } from 'pino'
import type { NamespaceView } from '../api/catalog.ts'
import type { LogLevel } from '../config/flags.ts'
import type { InjectedCredential, Outcome, Problem } from '../inject/index.ts'
import { type BaseLog, loggerOn, standardError } from '../process/log.ts'
import type { Decision } from './admission.ts'
import type { Review } from './review.ts'

/** The webhook's log. Of a pod it says its name, owner and credentials, and nothing else ever. */
export interface Log extends BaseLog {
  /** One line for each injection and each denial: who got what, or why not. */
  decided(review: Review, decision: Decision): void
  crashed(uid: string, error: unknown): void
}

export function createLog(level: LogLevel): Log {
  const { stream, flush } = standardError()
  return logTo(stream, level, flush)
}

/** A log that writes to any stream; for tests. */
export function logTo(stream: DestinationStream, level: LogLevel, flush: () => void = () => {}): Log {
  const logger = loggerOn({ stream, flush }, level)
  const tellsDecisions = logger.isLevelEnabled('info')
  return {
    ...logger,
    decided(review, { outcome, view, patchBug }) {
      if (patchBug !== undefined) {
        logger.error(
          { uid: shown(review.uid), namespace: shown(review.namespace), problem: messageOf(patchBug) },
          PATCH_BUG,
        )
        return
      }
      if (!tellsDecisions || view === undefined) return
      if (outcome?.kind === 'Injected')
        stream.write(line(review, 'injected', `"credentials":${credentialsIn(outcome, view)}`))
      if (outcome?.kind === 'Denied')
        stream.write(line(review, 'denied', `"reasons":${reasonsOf(outcome.problems)}`))
    },
    crashed: (uid, error) =>
      logger.error({ uid: shown(uid), problem: messageOf(error), stack: stackOf(error) }, ENGINE_BUG),
    flush,
  }
}

const PATCH_BUG = 'BUG: the patch did not apply; the pod starts without its credentials'
const ENGINE_BUG = 'BUG: the engine failed on a review'

/**
 * The line of a decision, in the logger's format but put together by hand: there is one for every pod, and the logger takes
 * three times as long. Nothing of the pod but what is named here can get into it.
 */
function line({ uid, namespace, name, dryRun, object }: Review, message: string, field: string): string {
  const { metadata } = object
  const owner = ownerOf(metadata?.ownerReferences)
  return (
    `{"level":"info","time":"${new Date().toISOString()}","uid":${quoted(uid)},"namespace":${quoted(namespace)}` +
    // The beginning of a name, ending in `-`, where the API server is still to make it up.
    `,"name":${quoted(name || metadata?.name || metadata?.generateName)}` +
    (owner ? `,"owner":${quoted(`${owner.kind}/${owner.name}`)}` : '') +
    (dryRun ? ',"dryRun":true' : '') +
    `,${field},"msg":"${message}"}\n`
  )
}

type OwnerReferences = NonNullable<Review['object']['metadata']>['ownerReferences']

function ownerOf(references: OwnerReferences) {
  if (!Array.isArray(references)) return undefined
  return references.find((reference) => reference?.controller === true) ?? references[0]
}

/** `["Credential/git-ssh: file"]`: who got what, in which form. */
function credentialsIn({ credentials }: Outcome, view: NamespaceView): string {
  return JSON.stringify(credentials.map(({ kind, name }) => `${kind}/${name}: ${formOf(kind, name, view)}`))
}

function formOf(kind: InjectedCredential['kind'], name: string, view: NamespaceView): string {
  const found = kind === 'Credential' ? view.credential(name) : view.clusterCredential(name)
  return found !== undefined && 'spec' in found ? found.spec.type : 'unknown'
}

function reasonsOf(problems: readonly Problem[]): string {
  return JSON.stringify([...new Set(problems.map(({ reason }) => reason))])
}

function quoted(value: unknown): string {
  return JSON.stringify(shown(value) ?? '')
}

/** A name, or whatever else may stand there in a request that no API server sent. */
function shown(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, MOST_NAME_CHARACTERS) : undefined
}

/** Kubernetes names have at most 253, and an owner has its kind in front. */
const MOST_NAME_CHARACTERS = 320

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The places only: the first line repeats the message. */
function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack?.split('\n').slice(1).join('\n') : undefined
}
