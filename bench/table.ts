/** A promise beside its figure. */
export interface Promised {
  readonly sentence: string
  readonly kept: boolean
}

/** Prints figures as they come, and remembers whether all promises were kept. */
export class Table {
  #broken = 0

  row(what: string, figure: string, promised?: Promised): void {
    if (promised && !promised.kept) this.#broken++
    const verdict = promised ? `${promised.sentence}${promised.kept ? '' : ': BROKEN'}` : ''
    process.stdout.write(`${what.padEnd(52)}${figure.padEnd(42)}${verdict}`.trimEnd().concat('\n'))
  }

  /** True if every promise was kept. */
  finish(): boolean {
    process.stdout.write(this.#broken === 0 ? 'All promises kept.\n' : `${this.#broken} broken.\n`)
    return this.#broken === 0
  }
}
