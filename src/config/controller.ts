import { Command, InvalidArgumentError } from 'commander'
import {
  addCertificateFlags,
  type CertificateFlags,
  type CertificateSettings,
  certificateSettings,
  objectName,
} from '../controller/certificates/settings.ts'
import {
  addRotationFlags,
  type RotationFlags,
  type RotationSettings,
  rotationSettings,
} from '../controller/rotation/settings.ts'
import {
  addCommonFlags,
  type CommonFlags,
  clusterOf,
  type LogLevel,
  mistake,
  parseArguments,
  seconds,
  trueOrFalse,
  variable,
} from './flags.ts'

/** What `credential-injector controller` was asked to do: flags first, then the environment, then defaults. */
export interface ControllerConfig {
  /** Of a cluster that it is not a pod of; undefined for the pod's own service account. */
  readonly kubeconfig: string | undefined
  readonly context: string | undefined
  /** The injector's own namespace: it holds the secrets of ClusterCredentials, the lease and the key of revisions. */
  readonly namespace: string
  /** Address and port of /metrics, /healthz and /readyz; port 0 asks for a free one. */
  readonly host: string
  readonly metricsPort: number
  /** False only for a single instance: whoever does not ask for the lease leads at once. */
  readonly leaderElect: boolean
  /** How long a lease holds that nobody renews, in milliseconds. */
  readonly leaseDuration: number
  readonly logLevel: LogLevel
  /** How to look after the webhook's certificates; undefined when somebody else does. */
  readonly certificates: CertificateSettings | undefined
  readonly rotation: RotationSettings
  /** Names of the webhook configurations for policies, and for annotated pods. */
  readonly configurations: { readonly policies: string; readonly pods: string }
}

interface Flags extends CommonFlags, CertificateFlags, RotationFlags {
  leaderElect: boolean
  leaseDuration: number
  policiesConfiguration: string
  podsConfiguration: string
}

/**
 * Reads `credential-injector controller …` and the CREDENTIAL_INJECTOR_* variables.
 * Throws `CommandLineEnd`: exit code 0 after `--help`, 2 with a sentence for a mistake.
 */
export function readControllerConfig(argv: readonly string[]): ControllerConfig {
  const program = commandLine()
  parseArguments(program, argv)
  const flags = program.opts<Flags>()
  const { namespace, host, metricsPort, leaderElect, leaseDuration, logLevel } = flags
  return Object.freeze({
    ...clusterOf(flags),
    namespace,
    host,
    metricsPort,
    leaderElect,
    leaseDuration: leaseDuration * 1000,
    logLevel,
    certificates: certificatesOf(flags),
    rotation: rotationSettings(flags),
    configurations: { policies: flags.policiesConfiguration, pods: flags.podsConfiguration },
  })
}

function certificatesOf(flags: Flags): CertificateSettings | undefined {
  try {
    return certificateSettings(flags)
  } catch (error) {
    throw mistake((error as Error).message)
  }
}

function commandLine(): Command {
  const command = new Command('credential-injector controller')
    .description(
      'Keep up to date what a cluster needs beside the webhook: status of credentials, copies of ClusterCredentials’ Secrets, webhook entries of policies, restarts after rotations, certificates.',
    )
    .exitOverride()
    .showHelpAfterError('(credential-injector controller --help explains every flag)')
    .addOption(
      variable(
        '--leader-elect <yes>',
        'LEADER_ELECT',
        'true: of several instances only the one that holds the Lease writes; false: this is the only one',
      )
        .argParser(trueOrFalse)
        .default(true),
    )
    .addOption(
      variable(
        '--lease-duration <seconds>',
        'LEASE_DURATION',
        'how long the Lease of an instance holds that has died without a word',
      )
        .argParser(leaseSeconds)
        .default(15),
    )
    .addOption(
      variable(
        '--policies-configuration <name>',
        'POLICIES_CONFIGURATION',
        'MutatingWebhookConfiguration that gets an entry for each CredentialPolicy',
      )
        .argParser(objectName)
        .default('credential-injector-policies'),
    )
    .addOption(
      variable(
        '--pods-configuration <name>',
        'PODS_CONFIGURATION',
        'MutatingWebhookConfiguration for annotated pods: how the entries of policies reach the webhook',
      )
        .argParser(objectName)
        .default('credential-injector'),
    )
    .allowExcessArguments(false)
  return addRotationFlags(addCertificateFlags(addCommonFlags(command)), trueOrFalse)
}

function leaseSeconds(text: string): number {
  const value = seconds(text)
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('Write whole seconds, from 1 to 3600, such as 15.')
  return value
}
