import {
  type CredentialIdentity,
  type FoundSecret,
  isCopyOf,
  isRight,
  needsReplacing,
  type Original,
} from './copy.ts'

/**
 * What should be in one namespace. `open`: that cannot be said yet, since the source is not known, or has gone only a moment
 * ago and may come again.
 */
export type Wanted =
  | { readonly credential: CredentialIdentity; readonly original: Original }
  | 'nothing'
  | 'open'

/**
 * What is there under the copy's name. `unknown`: something that does not call itself a copy, and was not looked at; `foreign`:
 * it was, and it is somebody else's.
 */
export type Found = FoundSecret | 'none' | 'unknown' | 'foreign'

export type Step =
  /** Nothing to do: it is right, or right to have none. */
  | { readonly do: 'nothing'; readonly isRight: boolean }
  /** Nothing to do before something else happens, which will be heard of. */
  | { readonly do: 'wait' }
  /** Find out whose it is. */
  | { readonly do: 'look' }
  | { readonly do: 'create' }
  | { readonly do: 'update' | 'replace' | 'delete'; readonly found: FoundSecret }
  /** Somebody else's Secret has the name. */
  | { readonly do: 'yield' }

/**
 *                 | none    | ours, right | ours, other content | ours, other type | ours, ending | foreign | unknown
 *   --------------+---------+-------------+---------------------+------------------+--------------+---------+--------
 *   a copy wanted | create  | nothing     | update              | replace          | wait         | yield   | look
 *   nothing       | nothing | delete      | delete              | delete           | wait         | nothing | look
 *   open          | wait    | wait        | wait                | wait             | wait         | wait    | wait
 *
 * Depends on nothing else, so that every order of events ends in the same state, and a settled world has nothing to do.
 */
export function planCopy(name: string, wanted: Wanted, found: Found): Step {
  if (wanted === 'open') return { do: 'wait' }
  if (found === 'unknown') return { do: 'look' }
  if (found === 'none') return wanted === 'nothing' ? { do: 'nothing', isRight: false } : { do: 'create' }
  if (found === 'foreign' || !isCopyOf(found, name))
    return wanted === 'nothing' ? { do: 'nothing', isRight: false } : { do: 'yield' }
  if (found.isEnding) return { do: 'wait' }
  if (wanted === 'nothing') return { do: 'delete', found }
  const { credential, original } = wanted
  if (isRight(found, credential, original)) return { do: 'nothing', isRight: true }
  return { do: needsReplacing(found, original) ? 'replace' : 'update', found }
}
