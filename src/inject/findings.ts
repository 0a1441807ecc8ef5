import type { DenialReason, WarningReason } from '../api/reasons.ts'
import { WARNINGS } from '../api/reasons.ts'
import type { Problem, Warning } from './outcome.ts'

/** Collects everything there is to say about one pod; the same thing said twice counts once. */
export class Findings {
  readonly #problems = new Map<string, Problem>()
  readonly #warnings = new Map<string, Warning>()

  deny(reason: DenialReason, field: string, message: string): void {
    this.#problems.set(`${reason} ${field} ${message}`, { reason, field, message })
  }

  warn(reason: WarningReason, message: string): void {
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

const RANK = Object.keys(WARNINGS) as WarningReason[]
