/*
 * The webhook's certificates, in clusters that have nobody else for it: an authority, a serving certificate from it, and the
 * authority's certificate in the webhook configurations, so that API servers trust the webhook. All three are renewed, with an
 * overlap that no pod creation falls into. `plan.ts` has the picture.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type KubeClient, KubeError } from '../../kube/client.ts'
import { applyStep } from './apply.ts'
import type { CertificateMetrics } from './metrics.ts'
import {
  DEFAULT_AUTHORITY_VALIDITY_MS,
  DEFAULT_OVERLAP_MS,
  DEFAULT_SERVING_VALIDITY_MS,
  DEFAULT_SETTLE_MS,
  OWNER,
  OWNER_LABEL,
} from './names.ts'
import { nudgeOnChange } from './nudge.ts'
import { planNext, type Step } from './plan.ts'
import { type State, stateOf } from './state.ts'
import { everyPath, type ObjectNames, readObjects } from './store.ts'

export interface CertificateDutyOptions extends ObjectNames {
  readonly client: KubeClient
  /** Name of the webhook's Service. */
  readonly service: string
  /** DNS names that the webhook is reached by besides its Service's. */
  readonly extraNames?: readonly string[]
  /** Milliseconds, all four; see names.ts for what they are by default. */
  readonly authorityValidity?: number
  readonly servingValidity?: number
  readonly overlap?: number
  readonly settle?: number
  readonly log: DutyLog
  readonly metrics: CertificateMetrics
  /** Told of what people may want to see in the cluster; what is thrown is the caller's concern. */
  readonly onEvent?: (event: CertificateEvent) => void
  readonly now?: () => number
  /** 0 to 1. */
  readonly random?: () => number
}

interface DutyLog {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface CertificateEvent {
  readonly type: 'Normal'
  readonly reason: 'CertificateAuthorityMade' | 'ServingCertificateIssued'
  readonly message: string
  /** The Secret that it is about. */
  readonly secret: { readonly namespace: string; readonly name: string; readonly uid: string | undefined }
}

export interface CertificateDuty {
  readonly name: string
  /** Until the signal; only while this process leads. Never rejects: what fails is logged and tried again. */
  run(signal: AbortSignal): Promise<void>
  /** Takes every step that is due and returns when the next may be, in milliseconds since 1970. Rejects with what failed. */
  reconcile(signal: AbortSignal): Promise<number>
}

/** Reads everything at least so often, whatever watches say; a part of it is left to chance. */
const LOOK_EVERY_MS = 60_000
const FIRST_RETRY_MS = 500
/** To be overtaken is normal, to be overtaken again and again is not. */
const MOST_OVERTAKEN = 3
/** A rotation takes six; more than this in one go means that somebody undoes what we do. */
const MOST_STEPS = 12

export function createCertificateDuty(options: CertificateDutyOptions): CertificateDuty {
  const { client, log, metrics, now = Date.now, random = Math.random } = options
  const policy = {
    names: dnsNames(options),
    overlap: options.overlap ?? DEFAULT_OVERLAP_MS,
    settle: options.settle ?? DEFAULT_SETTLE_MS,
  }
  const tellProblem = onceEach((problem) => log.error({ problem }, 'the certificates cannot be looked after'))

  const reconcile = async (signal: AbortSignal): Promise<number> => {
    for (let taken = 0; taken < MOST_STEPS; taken += 1) {
      const state = stateOf(await readObjects(client, options, signal))
      metrics.expires('ca', state.authority.certificate?.notAfter)
      metrics.expires('serving', state.serving.certificate?.notAfter)
      const { step, lookAgain, foreign } = planNext(state, policy, now())
      if (foreign.length > 0) throw new Error(foreign.map((which) => foreignSecret(which, options)).join(' '))
      if (!step) return lookAgain
      await applyStep(step, state, {
        client,
        names: options,
        dnsNames: policy.names,
        authorityValidity: options.authorityValidity ?? DEFAULT_AUTHORITY_VALIDITY_MS,
        servingValidity: options.servingValidity ?? DEFAULT_SERVING_VALIDITY_MS,
        now,
        signal,
      })
      report(step, state, options)
    }
    throw new Error(
      `${MOST_STEPS} steps did not bring the certificates in order: somebody else seems to write the same Secrets or ` +
        'webhook configurations. Let one of the two do it.',
    )
  }

  const lookAfter = async (wake: Wake, signal: AbortSignal): Promise<void> => {
    for (let failures = 0; !signal.aborted; ) {
      let wait = LOOK_EVERY_MS * (0.75 + random() / 4)
      wake.reset()
      try {
        wait = Math.min(wait, (await reconcile(signal)) - now())
        failures = 0
        metrics.healthy(true)
        tellProblem(undefined)
      } catch (error) {
        if (signal.aborted) return
        wait = Math.min(wait, FIRST_RETRY_MS * 2 ** Math.min(failures, 10) * (0.5 + random()))
        failures += 1
        if (!isOvertaken(error) || failures > MOST_OVERTAKEN) {
          metrics.healthy(false)
          tellProblem(sentenceOf(error))
        }
      }
      await wake.wait(Math.max(wait, 0), signal)
      // A failure keeps its distance, however often it is nudged.
      if (failures > 0) await pause(FIRST_RETRY_MS * random(), signal)
    }
  }

  return {
    name: 'certificates',
    reconcile,
    async run(signal) {
      const wake = createWake()
      await Promise.all([
        lookAfter(wake, signal),
        ...everyPath(options).map((path) =>
          nudgeOnChange({ client, ...path, signal, random, onChange: wake.now }),
        ),
      ])
    },
  }
}

/** The names under which API servers (the first) and others in the cluster reach a Service. */
function dnsNames({ service, namespace, extraNames = [] }: CertificateDutyOptions): string[] {
  return [
    ...new Set([`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`, ...extraNames]),
  ]
}

// ---- What is told ----------------------------------------------------------------------------------------------------

function report(step: Step, { authority, serving }: State, options: CertificateDutyOptions): void {
  const { log, metrics, onEvent, namespace, authoritySecret, servingSecret } = options
  switch (step.kind) {
    case 'MakeAuthority': {
      metrics.rotated('ca')
      log.info({ secret: authoritySecret, reason: step.reason }, 'made a certificate authority')
      onEvent?.({
        type: 'Normal',
        reason: 'CertificateAuthorityMade',
        message: `Made a certificate authority for the webhook: ${step.reason}.`,
        secret: { namespace, name: authoritySecret, uid: authority.secret?.metadata.uid },
      })
      return
    }
    case 'IssueServing': {
      metrics.rotated('serving')
      log.info({ secret: servingSecret, reason: step.reason }, 'issued a serving certificate')
      onEvent?.({
        type: 'Normal',
        reason: 'ServingCertificateIssued',
        message: `Issued a serving certificate for the webhook: ${step.reason}.`,
        secret: { namespace, name: servingSecret, uid: serving.secret?.metadata.uid },
      })
      return
    }
    case 'Trust': {
      metrics.bundleWritten()
      log.info(
        { configurations: step.configurations.map(({ kind, name }) => `${kind}/${name}`) },
        'wrote the authorities into webhook configurations',
      )
      return
    }
    case 'NoteTrust': {
      if (step.since !== undefined)
        log.info({ secret: authoritySecret }, 'every webhook configuration trusts the new authority')
      return
    }
    case 'Tidy':
      log.info({ secret: authoritySecret }, 'earlier authorities are no longer trusted')
  }
}

function foreignSecret(
  which: 'authority' | 'serving',
  { namespace, authoritySecret, servingSecret }: CertificateDutyOptions,
): string {
  const [name, flag] =
    which === 'authority' ? [authoritySecret, '--ca-secret'] : [servingSecret, '--certificate-secret']
  return (
    `The Secret ${name} in the namespace ${namespace} is not the injector's (it has no label ${OWNER_LABEL}=${OWNER}) and ` +
    `is left alone: delete it, or name another with ${flag}.`
  )
}

/** Somebody else wrote first, or this was read from before it: no problem, read again. */
function isOvertaken(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 409 || error.status === 422 || error.status === 404)
}

/** The API server repeats what it was sent when it cannot read it (400, 422): that may be a key. */
function sentenceOf(error: unknown): string {
  if (error instanceof KubeError && (error.status === 400 || error.status === 422))
    return `The API server refused a write: ${error.status} ${error.reason}.`
  return (error as Error).message
}

/** The same problem is told once until it changes or is over. */
function onceEach(tell: (problem: string) => void): (problem: string | undefined) => void {
  let last: string | undefined
  return (problem) => {
    if (problem !== undefined && problem !== last) tell(problem)
    last = problem
  }
}

// ---- Waiting ---------------------------------------------------------------------------------------------------------

interface Wake {
  readonly now: () => void
  /** Forgets earlier calls: what they were about is going to be read. */
  readonly reset: () => void
  /** Until `now` is called (also since the last `reset`), the time is over, or the signal. */
  readonly wait: (milliseconds: number, signal: AbortSignal) => Promise<void>
}

function createWake(): Wake {
  let controller = new AbortController()
  return {
    now: () => controller.abort(),
    reset: () => {
      controller = new AbortController()
    },
    wait: (milliseconds, signal) => pause(milliseconds, AbortSignal.any([signal, controller.signal])),
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return sleep(milliseconds, undefined, { signal }).catch(() => {})
}
