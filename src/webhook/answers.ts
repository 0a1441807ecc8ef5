import type { Problem } from '../inject/index.ts'
import { denialMessage } from '../inject/index.ts'
import type { Review } from './review.ts'

/** What every answer may carry beside the decision. */
export interface Remarks {
  /** Each at most 120 characters, without a `Warning:` in front: kubectl writes that. */
  readonly warnings: readonly string[]
  /** For the audit log, where the API server prefixes the keys with the webhook's name. Must not change between two rounds on one pod. */
  readonly audit: { readonly outcome: string; readonly credentials: string }
}

/*
 * Bodies of AdmissionReview answers (admission.k8s.io/v1 and v1beta1), the only way to make one. They are put together as text:
 * most of an answer is the same every time, and only the parts that vary need to be escaped.
 */

export function allow(review: Review, remarks: Remarks): string {
  return answer(review, `"allowed":true${remarksOf(remarks)}`)
}

/** `patchJson` is a JSON array of operations that is known to apply; not empty. */
export function allowWithPatch(review: Review, patchJson: string, remarks: Remarks): string {
  const patch = Buffer.from(patchJson).toString('base64')
  return answer(review, `"allowed":true,"patchType":"JSONPatch","patch":"${patch}"${remarksOf(remarks)}`)
}

export function deny(review: Review, problems: readonly Problem[], remarks: Remarks): string {
  const causes = problems
    .slice(0, MOST_CAUSES)
    .map(({ reason, field, message }) => ({ reason, field, message }))
  const status = JSON.stringify({
    status: 'Failure',
    code: 403,
    reason: 'Forbidden',
    message: denialMessage([...problems]),
    details: { causes },
  })
  return answer(review, `"allowed":false,"status":${status}${remarksOf(remarks)}`)
}

/** A pod with thousands of containers can have thousands of problems; nobody reads more than these. */
const MOST_CAUSES = 256

function answer(review: Review, decision: string): string {
  return `{"kind":"AdmissionReview","apiVersion":"${review.apiVersion}","response":{"uid":${JSON.stringify(review.uid)},${decision}}}`
}

function remarksOf({ warnings, audit }: Remarks): string {
  const shown = warnings.length === 0 ? '' : `,"warnings":${JSON.stringify(warnings)}`
  const credentials = audit.credentials === '' ? '' : `"credentials":${JSON.stringify(audit.credentials)},`
  return `${shown},"auditAnnotations":{${credentials}"outcome":"${audit.outcome}"}`
}
