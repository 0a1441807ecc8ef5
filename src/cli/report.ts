/**
 * What `kubectl credential inject` has to say: one model, as text for people and as JSON for programs. The fields of
 * the JSON document are listed in docs/cli.md; they are only ever added to.
 */
import type { styleText } from 'node:util'
import { LEFT_ALONE, type LeftAloneReason } from '../api/reasons.ts'
import type { Grant, InjectedCredential, Problem, Warning } from '../inject/index.ts'

export interface Report {
  outcome: 'Done' | 'Refused' | 'Failed'
  pods: PodReport[]
  /** Documents and items of Lists without a pod: they are passed on as they are. */
  otherObjects: number
  /** Objects that name credentials where they do not reach a pod. */
  unreached: Finding[]
  /** What kept the command from doing its work. */
  errors: Finding[]
  /** Manifests of the catalogue that cannot be used. */
  catalogProblems: Finding[]
}

/** Something about a file. */
export interface Finding {
  file: string
  /** From 1; absent where the whole file is meant. */
  line?: number
  message: string
}

export interface PodReport {
  kind: string
  name: string
  namespace: string
  file: string
  /** Where the object begins, from 1. */
  line: number
  outcome: 'Injected' | 'LeftAlone' | 'Denied'
  /** Why it is left alone. */
  reason?: LeftAloneReason
  credentials: InjectedCredential[]
  grants: Grant[]
  warnings: (Warning & { remedy: string })[]
  conflicts: (Problem & { remedy: string })[]
}

/** 0: all is well. 1: the work could not be done. 3: some pod would be refused. 2, a wrong command line, ends elsewhere. */
export function exitCodeOf({ outcome }: Report): 0 | 1 | 3 {
  return outcome === 'Failed' ? 1 : outcome === 'Refused' ? 3 : 0
}

export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string

interface TextOptions {
  paint: Paint
  /** Only conflicts and errors. */
  quiet: boolean
}

export function reportAsText(original: Report, { paint, quiet }: TextOptions): string {
  const report = printable(original)
  const shown = quiet ? report.pods.filter(({ conflicts }) => conflicts.length > 0) : report.pods
  const blocks = [
    ...shown.map((pod) => podLines(pod, { paint, quiet })),
    quiet
      ? []
      : report.unreached.map((note) => `${paint('yellow', 'not reached')} ${at(note)}: ${note.message}`),
    quiet
      ? []
      : report.catalogProblems.map(
          (problem) => `${paint('yellow', 'catalogue')} ${at(problem)}: ${problem.message}`,
        ),
    report.errors.map((error) => `${paint('red', 'error')} ${at(error)}: ${error.message}`),
    quiet ? [] : [summary(report, paint)],
  ]
  return blocks
    .flat()
    .map((line) => `${line}\n`)
    .join('')
}

export function reportAsJson(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`
}

function podLines(pod: PodReport, { paint, quiet }: TextOptions): string[] {
  const title = `${paint('bold', `${pod.kind} ${pod.namespace}/${pod.name || '(no name)'}`)} (${at(pod)})`
  return [
    `${title}: ${verdict(pod, paint)}`,
    ...(quiet ? [] : grantLines(pod.grants)),
    ...(quiet
      ? []
      : pod.warnings.flatMap((warning) =>
          detail(paint('yellow', `warning ${warning.reason}`), warning.message, warning.remedy),
        )),
    ...pod.conflicts.flatMap(({ reason, field, message, remedy }) =>
      detail(`${paint('red', reason)} at ${field}`, message, remedy),
    ),
  ]
}

function verdict({ outcome, reason, conflicts }: PodReport, paint: Paint): string {
  if (outcome === 'Injected') return paint('green', 'injected')
  if (reason) return `left alone (${reason}): ${LEFT_ALONE[reason].title}`
  return `${paint('red', 'refused')}, ${count(conflicts.length, 'conflict')}`
}

/** One line each, in columns: where, how, from which credential and policy, what. */
function grantLines(grants: readonly Grant[]): string[] {
  const rows = grants.map(({ container, form, credential, policy, detail: what }) => {
    const name = credential.replace(/^Credential\//, '').replace(/^ClusterCredential\//, 'cluster/')
    return [container ?? '(pod)', FORMS[form], policy ? `${name} (policy ${policy})` : name, what]
  })
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  )
}

const FORMS: Readonly<Record<Grant['form'], string>> = {
  envFrom: 'variables',
  env: 'variables',
  files: 'files',
  imagePullSecret: 'registry login',
}

function detail(head: string, message: string, remedy: string): string[] {
  return [`  ${head}`, `    ${message}`, `    → ${remedy}`]
}

function summary({ pods, otherObjects, outcome, errors }: Report, paint: Paint): string {
  const number = (wanted: PodReport['outcome']) => pods.filter((pod) => pod.outcome === wanted).length
  const parts = [
    `${number('Injected')} injected`,
    `${number('LeftAlone')} left alone`,
    `${number('Denied')} refused`,
    `${count(otherObjects, 'other object')} passed on`,
  ]
  const nothing =
    outcome === 'Refused' ? '. Nothing is printed: resolve the conflicts first.' : '. Nothing is printed.'
  const text = `${count(pods.length, 'pod')}: ${parts.join(', ')}${outcome === 'Done' ? '.' : nothing}`
  return errors.length > 0 ? `${count(errors.length, 'error')}. Nothing is printed.` : paint('bold', text)
}

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`

const at = ({ file, line }: { file: string; line?: number }) =>
  line === undefined ? file : `${file}:${line}`

/** Names come from files of other people: none of their control characters reaches the terminal. */
function printable(report: Report): Report {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const clean = (text: string) => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
  return JSON.parse(JSON.stringify(report), (_key, value) =>
    typeof value === 'string' ? clean(value) : value,
  )
}
