/** How the demo looks: 80 to 100 columns, colours only on a terminal. */
import { styleText } from 'node:util'
import { apply_patch as applyPatch } from 'jsonpatch'
import { stringify } from 'yaml'
import type { Pod } from '../../src/api/pod.ts'
import { type DiffLine, diffLines } from './line-diff.ts'
import { essence } from './reviews.ts'
import type { Answer } from './webhook.ts'

export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string

const WIDTH = 92

/** Lines shown around a change. */
const CONTEXT = 3

/** Colours on a terminal unless NO_COLOR is set, or always. */
export function paintFor(always: boolean): Paint {
  return (format, text) =>
    styleText(format, text, always ? { validateStream: false } : { stream: process.stdout })
}

export function title(text: string, paint: Paint): string[] {
  return ['', paint('bold', text), paint('dim', '─'.repeat(WIDTH))]
}

/** Rows as lines, in columns. */
export function table(rows: readonly (readonly string[])[], rightAligned: ReadonlySet<number>): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  const cell = (text: string, column: number) =>
    rightAligned.has(column) ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0)
  return rows.map((row) => row.map(cell).join('  ').trimEnd())
}

/** The pod before and after as a diff, without what nobody wants to read. */
export function podDiff(pod: Pod, { response }: Answer, paint: Paint): string[] {
  const patch = JSON.parse(Buffer.from(response.patch ?? 'W10=', 'base64').toString())
  const lines = diffLines(yamlLines(pod), yamlLines(applyPatch(pod, patch)))
  return withContext(lines).map(({ sign, text }) => paint(COLOURS[sign], `  ${sign} ${text}`))
}

const COLOURS = { ' ': 'dim', '+': 'green', '-': 'red' } as const

function yamlLines(pod: Pod): string[] {
  return stringify(essence(pod), { lineWidth: 0, aliasDuplicateObjects: false }).trimEnd().split('\n')
}

function withContext(lines: readonly DiffLine[]): DiffLine[] {
  const near = (index: number) =>
    lines.slice(Math.max(0, index - CONTEXT), index + CONTEXT + 1).some(({ sign }) => sign !== ' ')
  // A mark that stands for one line would save nothing.
  const shown = (index: number) => near(index) || (near(index - 1) && near(index + 1))
  return lines.flatMap((line, index) => {
    if (shown(index)) return [line]
    return index > 0 && shown(index - 1) ? [{ sign: ' ', text: '⋮' } as const] : []
  })
}

/** The pod as it is. */
export function podLines(pod: Pod, paint: Paint): string[] {
  return yamlLines(pod).map((line) => paint('dim', `    ${line}`))
}

/** Text of several lines, broken at blanks; what follows the first line of a paragraph is indented by `hanging` more. */
export function wrap(text: string, indent: string, hanging = ''): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = []
    let line = indent
    for (const word of paragraph.split(' ')) {
      if (line.length + word.length > WIDTH && line.trim() !== '') {
        lines.push(line.trimEnd())
        line = indent + hanging
      }
      line += `${word} `
    }
    return [...lines, line.trimEnd()]
  })
}
