/**
 * What the controller does while it leads; a folder for each. They know nothing of each other and share only the client and
 * what is watched.
 */
export interface Duty {
  /** For the log. */
  readonly name: string
  /** Goes on until the signal is aborted, and writes nothing after that. A rejection ends the process: it cannot do its duty. */
  run(signal: AbortSignal): Promise<void>
}
