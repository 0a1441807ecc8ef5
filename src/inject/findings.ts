import type { DenialReason, WarningReason } from '../api/reasons.ts'
import { WARNINGS } from '../api/reasons.ts'
import type { Problem, Warning } from './outcome.ts'

/**
 * Collects everything there is to say about one pod; the same thing said twice counts once. A pod can have a conflict for each
 * variable in each container: what nobody would read is not kept.
 */
export class Findings {
  readonly #problems = new Map<string, Problem>()
  readonly #warnings = new Map<string, Warning>()

  deny(reason: DenialReason, field: string, sentence: string): void {
    if (this.#problems.size >= MOST_FINDINGS) return
    const message = bounded(sentence)
    this.#problems.set(`${reason} ${field} ${message}`, { reason, field, message })
  }

  warn(reason: WarningReason, sentence: string): void {
    if (this.#warnings.size >= MOST_FINDINGS) return
    const message = bounded(sentence)
    this.#warnings.set(`${reason} ${message}`, { reason, message })
  }

  get denied(): boolean {
    return this.#problems.size > 0
  }

  problems(): Problem[] {
    return [...this.#problems.values()]
  }

  /** The most important first, as the catalogue orders them. */
  warnings(): Warning[] {
    if (this.#warnings.size < 2) return [...this.#warnings.values()]
    return [...this.#warnings.values()].sort((a, b) => RANK.indexOf(a.reason) - RANK.indexOf(b.reason))
  }
}

/** Of problems, and of warnings. Of so many, the count that is shown says that there may be more. */
export const MOST_FINDINGS = 1000

/**
 * The API server looks at a pod's names only after the webhooks, so a name in a sentence may have a megabyte. A part of a
 * text keeps the whole alive, so the part is copied.
 */
function bounded(sentence: string): string {
  if (sentence.length <= MOST_CHARACTERS) return sentence
  return JSON.parse(JSON.stringify(`${sentence.slice(0, MOST_CHARACTERS)}…`))
}

/** Longer than any sentence whose names are as long as names can be. */
const MOST_CHARACTERS = 2000

const RANK = Object.keys(WARNINGS) as WarningReason[]
