/** The real helm on the chart of this checkout. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { program } from '../kit/programs.ts'

export const CHART = fileURLToPath(new URL('../../../charts/credential-injector', import.meta.url))

export interface HelmOutcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export type Values = Record<string, unknown>

/** Values are given to it as a file on standard input (`--values -`). */
export async function tryHelm(args: readonly string[], values: Values = {}): Promise<HelmOutcome> {
  const child = spawn(await program('helm'), [...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify(values))
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve(status ?? -1))
  })
  return { code, stdout, stderr }
}

/** What helm prints. Rejects with what it complains of if it fails. */
export async function helm(args: readonly string[], values?: Values): Promise<string> {
  const { code, stdout, stderr } = await tryHelm(args, values)
  if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${stderr}`)
  return stdout
}

export interface Rendering {
  readonly release?: string
  readonly namespace?: string
  /** API groups that the cluster is said to have. */
  readonly apis?: readonly string[]
}

export const ALL_APIS = ['cert-manager.io/v1', 'monitoring.coreos.com/v1']

function templateArgs({
  release = 'credential-injector',
  namespace = 'credential-injector',
  apis = ALL_APIS,
}: Rendering) {
  return [
    'template',
    release,
    CHART,
    '--namespace',
    namespace,
    '--values',
    '-',
    ...apis.flatMap((api) => ['--api-versions', api]),
  ]
}

/** The text that the chart makes of these values, comments included; no cluster is asked. */
export function renderText(values: Values = {}, rendering: Rendering = {}): Promise<string> {
  return helm(templateArgs(rendering), values)
}

/** The objects that the chart makes of these values; no cluster is asked. */
export async function render(values: Values = {}, rendering: Rendering = {}): Promise<Rendered> {
  return new Rendered(parseObjects(await renderText(values, rendering)))
}

/** What helm complains of, for values that it must refuse. */
export async function refusal(values: Values, rendering: Rendering = {}): Promise<string> {
  const { code, stderr } = await tryHelm(templateArgs(rendering), values)
  if (code === 0) throw new Error(`the chart accepts ${JSON.stringify(values)}`)
  return stderr
}

export function parseObjects(text: string): any[] {
  // Helm reads and writes YAML 1.1, where 0440 is a number in octal.
  return parseAllDocuments(text, { version: '1.1' })
    .map((document) => {
      if (document.errors[0]) throw document.errors[0]
      return document.toJSON()
    })
    .filter((object) => object !== null)
}

export class Rendered {
  readonly objects: readonly any[]
  constructor(objects: readonly any[]) {
    this.objects = objects
  }

  of(kind: string): any[] {
    return this.objects.filter((object) => object.kind === kind)
  }

  /** Throws if there is none, or more than one. */
  one(kind: string, name?: string): any {
    const found = this.of(kind).filter(({ metadata }) => name === undefined || metadata.name === name)
    if (found.length !== 1) throw new Error(`there are ${found.length} objects ${kind} ${name ?? ''}`)
    return found[0]
  }

  /** `Deployment/credential-injector-webhook`, … */
  names(): string[] {
    return this.objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`).sort()
  }
}
