import { statSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'

/** What the process was asked to do: flags first, then the environment, then defaults. Read once, never changed. */
export interface Config {
  /** Folder with the manifests that serve as the catalogue; undefined for the objects of a cluster. */
  readonly catalog: string | undefined
  /** Of the cluster; undefined for the one that this process is a pod of. */
  readonly kubeconfig: string | undefined
  readonly context: string | undefined
  /** Address that both servers listen on. */
  readonly host: string
  /** Port of the webhook (HTTPS); 0 asks for a free one. */
  readonly port: number
  /** PEM files of the serving certificate; undefined asks for a self-signed one. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined
  readonly metricsPort: number
  /** True if another port will do for metrics when this one is taken. */
  readonly metricsPortIsFlexible: boolean
  /** The injector's own namespace: pods in it are never touched, and it owns the secrets of ClusterCredentials. */
  readonly namespace: string
  /** How long requests are still answered after SIGTERM, in milliseconds. */
  readonly shutdownDelay: number
  readonly logLevel: LogLevel
}

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

interface Flags {
  catalog?: string
  kubeconfig?: string
  context?: string
  host: string
  port: number
  tlsCert?: string
  tlsKey?: string
  metricsPort: number
  namespace: string
  shutdownDelay: number
  logLevel: LogLevel
}

/**
 * Reads `credential-injector serve …` and the CREDENTIAL_INJECTOR_* variables.
 * Throws `CommandLineEnd`: exit code 0 after `--help`, 2 with a sentence for a mistake.
 */
export function readConfig(argv: readonly string[]): Config {
  let config: Config | undefined
  const program = commandLine((serve) => {
    config = configOf(serve)
  })
  try {
    program.parse(argv, { from: 'user' })
  } catch (error) {
    // Commander has printed its sentence, or the help, by itself.
    if (error instanceof CommanderError) throw new CommandLineEnd('', error.exitCode === 0 ? 0 : WRONG_USAGE)
    throw error
  }
  if (config === undefined)
    throw new CommandLineEnd('Say what to do: credential-injector serve --catalog DIR', WRONG_USAGE)
  return config
}

function commandLine(serveAction: (serve: Command) => void): Command {
  const program = new Command('credential-injector')
    .description('Injects credentials into Kubernetes pods by name.')
    .exitOverride()
    .showHelpAfterError('(credential-injector serve --help explains every flag)')
  program.addHelpText('after', OTHER_COMMANDS)
  program
    .command('serve')
    .description('Answer admission reviews over HTTPS at POST /mutate/pods.')
    .addOption(
      variable(
        '--catalog <dir>',
        'CATALOG',
        'folder of YAML manifests with the credentials on offer, instead of a cluster',
      ),
    )
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
      variable('--port <number>', 'PORT', 'port of the webhook; 0 takes a free one')
        .argParser(portNumber)
        .default(8443),
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
        '--tls-cert <file>',
        'TLS_CERT',
        'PEM file of the certificate chain; read again when it changes',
      ),
    )
    .addOption(variable('--tls-key <file>', 'TLS_KEY', 'PEM file of its private key'))
    .addOption(
      variable(
        '--metrics-port <number>',
        'METRICS_PORT',
        'port of /metrics, /healthz and /readyz, without TLS; 0 takes a free one',
      )
        .argParser(portNumber)
        .default(9090, '9090, or a free one if that is taken or --port is 0'),
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
      variable('--shutdown-delay <seconds>', 'SHUTDOWN_DELAY', 'how long to go on answering after SIGTERM')
        .argParser(seconds)
        .default(5),
    )
    .addOption(
      variable('--log-level <level>', 'LOG_LEVEL', 'least important log line to write')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .addHelpText('after', EXAMPLES)
    .allowExcessArguments(false)
    .action((_flags: Flags, serve: Command) => serveAction(serve))
  return program
}

const EXAMPLES = `
Credentials come from the folder of --catalog, or else from a cluster: that of --kubeconfig, or else the one it is a pod of.
Without --tls-cert and --tls-key it makes itself a certificate that is valid for a day.

Examples:
  credential-injector serve --catalog examples/catalog
  credential-injector serve --catalog examples/catalog --port 0 --tls-cert certs/tls.crt --tls-key certs/tls.key
  credential-injector serve --kubeconfig ~/.kube/config`

const OTHER_COMMANDS = `
  controller [options]  Keep the status of credentials up to date; see credential-injector controller --help.`

export function variable(flags: string, name: string, description: string): Option {
  return new Option(flags, description).env(`CREDENTIAL_INJECTOR_${name}`)
}

function configOf(serve: Command): Config {
  const flags = serve.opts<Flags>()
  return Object.freeze({
    ...source(flags),
    host: flags.host,
    port: flags.port,
    tls: tlsFiles(flags),
    // Several instances on one machine must not need a second flag each; whoever names a port means that port.
    metricsPort: isDefault(serve, 'metricsPort') && flags.port === 0 ? 0 : flags.metricsPort,
    metricsPortIsFlexible: isDefault(serve, 'metricsPort'),
    namespace: flags.namespace,
    shutdownDelay: flags.shutdownDelay * 1000,
    logLevel: flags.logLevel,
  })
}

/** Where the credentials come from. An empty variable is none. */
function source({ catalog, kubeconfig, context }: Flags): Pick<Config, 'catalog' | 'kubeconfig' | 'context'> {
  if (catalog && kubeconfig)
    throw mistake(
      'Credentials come from a folder or from a cluster: give --catalog or --kubeconfig, not both.',
    )
  if (context && !kubeconfig)
    throw mistake('--context names a context of a kubeconfig: give --kubeconfig FILE too.')
  if (catalog && !statSync(catalog, { throwIfNoEntry: false })?.isDirectory())
    throw mistake(`The catalogue ${catalog} is not a folder: give --catalog a folder with YAML manifests.`)
  return { catalog: catalog || undefined, kubeconfig: kubeconfig || undefined, context: context || undefined }
}

function tlsFiles({ tlsCert, tlsKey }: Flags): Config['tls'] {
  if (tlsCert && tlsKey) return Object.freeze({ certFile: tlsCert, keyFile: tlsKey })
  if (!tlsCert && !tlsKey) return undefined
  const [given, missing] = tlsCert ? ['--tls-cert', '--tls-key'] : ['--tls-key', '--tls-cert']
  throw mistake(`${given} needs ${missing} too: give both, or neither for a self-signed certificate.`)
}

function isDefault(serve: Command, flag: keyof Flags): boolean {
  return serve.getOptionValueSource(flag) === 'default'
}

export function mistake(sentence: string): CommandLineEnd {
  return new CommandLineEnd(sentence, WRONG_USAGE)
}

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

export function namespaceName(text: string): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) {
    throw new InvalidArgumentError(
      'A namespace has lower-case letters, digits and "-", such as credential-injector.',
    )
  }
  return text
}
