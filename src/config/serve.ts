import { statSync } from 'node:fs'
import { Command } from 'commander'
import {
  addCommonFlags,
  type CommonFlags,
  clusterOf,
  type LogLevel,
  mistake,
  parseArguments,
  portNumber,
  seconds,
  trueOrFalse,
  variable,
} from './flags.ts'

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
  /** On a cluster: whether owners of refused pods get an event. */
  readonly ownerEvents: boolean
  readonly logLevel: LogLevel
}

interface Flags extends CommonFlags {
  catalog?: string
  port: number
  tlsCert?: string
  tlsKey?: string
  shutdownDelay: number
  ownerEvents: boolean
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
  parseArguments(program, argv)
  if (config === undefined) throw mistake('Say what to do: credential-injector serve --catalog DIR')
  return config
}

function commandLine(serveAction: (serve: Command) => void): Command {
  const program = new Command('credential-injector')
    .description('Injects credentials into Kubernetes pods by name.')
    .exitOverride()
    .showHelpAfterError('(credential-injector serve --help explains every flag)')
  program.addHelpText('after', OTHER_COMMANDS)
  const serve = program
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
      variable('--port <number>', 'PORT', 'port of the webhook; 0 takes a free one')
        .argParser(portNumber)
        .default(8443),
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
      variable('--shutdown-delay <seconds>', 'SHUTDOWN_DELAY', 'how long to go on answering after SIGTERM')
        .argParser(seconds)
        .default(5),
    )
    .addOption(
      variable(
        '--owner-events <yes>',
        'OWNER_EVENTS',
        'true: on a cluster, owners of refused pods get an event; false: the webhook writes nothing',
      )
        .argParser(trueOrFalse)
        .default(true),
    )
  addCommonFlags(serve, '9090, or a free one if that is taken or --port is 0')
    .addHelpText('after', EXAMPLES)
    .allowExcessArguments(false)
    .action((_flags: Flags, command: Command) => serveAction(command))
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
  controller [options]  Keep status, copies, policies and certificates up to date; see credential-injector controller --help.`

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
    ownerEvents: flags.ownerEvents,
    logLevel: flags.logLevel,
  })
}

/** Where the credentials come from. */
function source(flags: Flags): Pick<Config, 'catalog' | 'kubeconfig' | 'context'> {
  const { catalog } = flags
  if (catalog && flags.kubeconfig)
    throw mistake(
      'Credentials come from a folder or from a cluster: give --catalog or --kubeconfig, not both.',
    )
  if (catalog && !statSync(catalog, { throwIfNoEntry: false })?.isDirectory())
    throw mistake(`The catalogue ${catalog} is not a folder: give --catalog a folder with YAML manifests.`)
  return { catalog: catalog || undefined, ...clusterOf(flags) }
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
