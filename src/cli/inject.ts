import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text as readStream } from 'node:stream/consumers'
import { styleText } from 'node:util'
import { type Command, Option } from 'commander'
import type { Store } from '../api/catalog.ts'
import { openFolder } from '../store/folder.ts'
import { DEFAULT_OWNER_NAMESPACE, excludedNamespaces } from '../store/memory.ts'
import { type Injected, injectManifests, type Manifest } from './inject-manifests.ts'
import { exitCodeOf, type Finding, type Paint, type Report, reportAsJson, reportAsText } from './report.ts'

interface Options {
  filename: string[]
  catalog: string
  namespace: string
  report: 'text' | 'json'
  quiet?: boolean
}

/** `kubectl credential inject`: what the webhook would do, without a cluster. Sets the process's exit code. */
export function configure(command: Command): void {
  command
    .description('Print manifests with the credentials that their pods ask for; the report goes to stderr')
    .requiredOption('-f, --filename <file>', 'manifests to read, "-" for stdin; may be repeated', collect)
    .requiredOption(
      '--catalog <folder>',
      'folder with Credentials, ClusterCredentials, CredentialPolicies, Namespaces and Secrets',
    )
    .option('-n, --namespace <name>', 'namespace of objects that name none', 'default')
    .addOption(new Option('--report <form>', 'form of the report').choices(['text', 'json']).default('text'))
    .option('-q, --quiet', 'print only conflicts and errors in the text report')
    .addHelpText('after', EXIT_CODES)
    .action(async (options: Options) => {
      const { output, report } = await run(options)
      process.stderr.write(
        options.report === 'json'
          ? reportAsJson(report)
          : reportAsText(report, { paint, quiet: options.quiet ?? false }),
      )
      if (output !== undefined) process.stdout.write(output)
      process.exitCode = exitCodeOf(report)
    })
}

const EXIT_CODES = `
Exit codes:
  0  all manifests are printed
  1  failed: a file cannot be read, is not valid YAML, or the catalogue folder is missing
  2  wrong usage
  3  conflicts: some pod would be refused
With 1 and 3 nothing is printed on stdout.

Example:
  kubectl credential inject -f job.yaml --catalog ./catalog | kubectl apply -f -
`

function collect(file: string, files: string[] = []): string[] {
  return [...files, file]
}

async function run(options: Options): Promise<Pick<Injected, 'report'> & Partial<Injected>> {
  const read = await Promise.all([...new Set(options.filename)].map(readManifest))
  const manifests = read.filter((result) => 'text' in result)
  const catalog = openCatalog(options.catalog)
  const errors = [...read, catalog].filter((result): result is Finding => 'message' in result)
  if (errors.length > 0 || !('store' in catalog)) return { report: { ...NOTHING, errors } }

  const { output, report } = injectManifests(manifests, {
    store: catalog.store,
    namespace: options.namespace,
    excludedNamespaces: excludedNamespaces(DEFAULT_OWNER_NAMESPACE),
    now: Date.now(),
  })
  return { output, report: { ...report, catalogProblems: catalog.problems } }
}

const NOTHING: Report = {
  outcome: 'Failed',
  pods: [],
  otherObjects: 0,
  unreached: [],
  errors: [],
  catalogProblems: [],
}

async function readManifest(file: string): Promise<Manifest | Finding> {
  try {
    if (file === '-') return { file: '(stdin)', text: await readStream(process.stdin) }
    return { file, text: readFileSync(file, 'utf8') }
  } catch (error) {
    return { file, message: reasonOf(error) }
  }
}

function openCatalog(folder: string): { store: Store; problems: Finding[] } | Finding {
  try {
    const { store, status } = openFolder(folder, { watch: false })
    return {
      store,
      problems: status().problems.map((problem) => ({ ...problem, file: join(folder, problem.file) })),
    }
  } catch (error) {
    return { file: folder, message: error instanceof Error ? error.message : String(error) }
  }
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return FILE_ERRORS[code] ?? `the file cannot be read (${code || 'unknown error'})`
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'the file cannot be read: permission denied',
  EISDIR: 'this is a folder: name the files in it',
}

/** Colours, unless stderr is no terminal or NO_COLOR is set. */
const paint: Paint = (format, text) => styleText(format, text, { stream: process.stderr })
