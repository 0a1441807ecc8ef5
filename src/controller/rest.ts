/** Lets values that change in crowds rest: after one was shown it stays so for an interval, and then what has changed is told. */
export interface Rest<Value> {
  /** What is shown of it at present; undefined when it may be shown as it is. */
  shown(key: string): Value | undefined
  /** It is shown like this from now on, for the interval. */
  show(key: string, value: Value): void
  /** It is not what it was: told at once, or when the interval ends. */
  changed(key: string): void
}

/**
 * `interval` in milliseconds. To tell less often is not enough: whoever is told for another reason, as by the change that it has
 * just written, would find another value each time.
 */
export function createRest<Value>(tell: (key: string) => void, interval: number): Rest<Value> {
  const resting = new Map<string, { readonly value: Value; isDue: boolean }>()
  return {
    shown: (key) => resting.get(key)?.value,
    show(key, value) {
      if (resting.has(key)) return
      resting.set(key, { value, isDue: false })
      setTimeout(end, interval, key).unref()
    },
    changed(key) {
      const its = resting.get(key)
      if (its) its.isDue = true
      else tell(key)
    },
  }

  function end(key: string): void {
    const isDue = resting.get(key)?.isDue
    resting.delete(key)
    if (isDue) tell(key)
  }
}
