import { type Command, CommanderError, InvalidArgumentError, Option } from 'commander'

/* What the command lines of both programs have in common. */

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** The command line ends here: `message` goes to stderr (empty if commander has printed already), then exit with `exitCode`. */
export class CommandLineEnd extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

export const WRONG_USAGE = 2

export function mistake(sentence: string): CommandLineEnd {
  return new CommandLineEnd(sentence, WRONG_USAGE)
}

/** Throws `CommandLineEnd`: exit code 0 after `--help`, 2 for what is not understood. */
export function parseArguments(program: Command, argv: readonly string[]): void {
  try {
    program.parse(argv, { from: 'user' })
  } catch (error) {
    // Commander has printed its sentence, or the help, by itself.
    if (error instanceof CommanderError) throw new CommandLineEnd('', error.exitCode === 0 ? 0 : WRONG_USAGE)
    throw error
  }
}

// ---- Flags ----------------------------------------------------------------------------------------------------------

/** A flag that may also be given as a variable, CREDENTIAL_INJECTOR_NAME. */
export function variable(flags: string, name: string, description: string): Option {
  return new Option(flags, description).env(`CREDENTIAL_INJECTOR_${name}`)
}

export interface CommonFlags {
  kubeconfig?: string
  context?: string
  namespace: string
  host: string
  metricsPort: number
  logLevel: LogLevel
}

/** The flags that every program has. `metricsPort` describes the default of `--metrics-port`. */
export function addCommonFlags(command: Command, metricsPort?: string): Command {
  return command
    .addOption(
      variable(
        '--kubeconfig <file>',
        'KUBECONFIG',
        'how to reach the cluster; the pod’s own service account when absent',
      ),
    )
    .addOption(
      variable('--context <name>', 'CONTEXT', 'context of the kubeconfig; its current one when absent'),
    )
    .addOption(
      variable(
        '--namespace <name>',
        'NAMESPACE',
        'the injector’s own namespace, which holds the secrets of ClusterCredentials',
      )
        .argParser(namespaceName)
        .default('credential-injector'),
    )
    .addOption(
      variable(
        '--host <address>',
        'HOST',
        'address to listen on; this machine only by default, "::" means every address',
      ).default('127.0.0.1'),
    )
    .addOption(
      variable(
        '--metrics-port <number>',
        'METRICS_PORT',
        'port of /metrics, /healthz and /readyz, without TLS; 0 takes a free one',
      )
        .argParser(portNumber)
        .default(9090, metricsPort),
    )
    .addOption(
      variable('--log-level <level>', 'LOG_LEVEL', 'least important log line to write')
        .choices(LOG_LEVELS)
        .default('info'),
    )
}

/** Which cluster: an empty variable is none. Throws `CommandLineEnd` for a context of nothing. */
export function clusterOf({ kubeconfig, context }: CommonFlags): {
  kubeconfig: string | undefined
  context: string | undefined
} {
  if (context && !kubeconfig)
    throw mistake('--context names a context of a kubeconfig: give --kubeconfig FILE too.')
  return { kubeconfig: kubeconfig || undefined, context: context || undefined }
}

// ---- Values ---------------------------------------------------------------------------------------------------------

export function portNumber(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65535)
    throw new InvalidArgumentError('A port is a number from 0 to 65535.')
  return port
}

export function seconds(text: string): number {
  const value = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || value > 3600)
    throw new InvalidArgumentError('Write seconds from 0 to 3600, such as 5 or 0.5.')
  return value
}

export function trueOrFalse(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('Write true or false.')
  return text === 'true'
}

export function namespaceName(text: string): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) {
    throw new InvalidArgumentError(
      'A namespace has lower-case letters, digits and "-", such as credential-injector.',
    )
  }
  return text
}
