/** What the injector writes on Secrets, and how long things take elsewhere. */

/** Only a Secret with this label is the injector's to change. */
export const OWNER_LABEL = 'app.kubernetes.io/managed-by'
export const OWNER = 'credential-injector'

/** On either Secret, with any value: make it anew. The annotation goes with the old one. */
export const ROTATE_ANNOTATION = 'credentials.run.ai/rotate'

/** On the authority's Secret, while the old authority is still in use: since when every webhook configuration trusts the new one. */
export const TRUSTED_SINCE_ANNOTATION = 'credentials.run.ai/trusted-since'

const MINUTE_MS = 60 * 1000
const DAY_MS = 24 * 60 * MINUTE_MS

export const DEFAULT_AUTHORITY_VALIDITY_MS = 3650 * DAY_MS
export const DEFAULT_SERVING_VALIDITY_MS = 90 * DAY_MS

/**
 * How long a pod may go on with a certificate that is no longer in the Secret: the kubelet looks at a Secret every minute or two
 * and the webhook at its files every 30 seconds. Three times their sum.
 */
export const DEFAULT_OVERLAP_MS = 10 * MINUTE_MS

/** How long an API server may go on with a webhook configuration that has been changed: it watches them, so a moment; and reserve. */
export const DEFAULT_SETTLE_MS = 30 * 1000
