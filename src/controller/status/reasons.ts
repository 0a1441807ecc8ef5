/** The reasons that conditions and events of credentials have, besides those of `HEALTH_CHECKS`; the source of docs/controller.md. */
import type { ReadyReason } from '../../api/status.ts'

interface ReasonText {
  readonly title: string
  readonly remedy: string
}

export const READY_REASONS = {
  SecretFound: {
    title: 'The Secret exists, has the right type and every key that is named.',
    remedy: 'Nothing.',
  },
  SecretNotFound: {
    title: 'The Secret does not exist. Pods that use the credential wait for it.',
    remedy: 'Create the Secret in the namespace that the message names, or correct spec.secretRef.',
  },
  WrongSecretType: {
    title:
      'A registry login needs a Secret of type kubernetes.io/dockerconfigjson, and this one has another.',
    remedy: 'Create it with kubectl create secret docker-registry; the type of a Secret cannot be changed.',
  },
  KeyMissing: {
    title: 'The Secret lacks keys that the credential names. Pods that use the credential wait for them.',
    remedy: 'Add the keys to the Secret, or correct their names in the credential.',
  },
  Expired: {
    title: 'spec.expiresAt has passed. Pods still get the credential, with a warning.',
    remedy: 'Rotate the Secret, then set spec.expiresAt.',
  },
} as const satisfies Record<ReadyReason, ReasonText>

/** Of the condition `Healthy`. */
export const HEALTHY_REASONS = {
  NothingFound: { title: 'Nothing looks wrong with the content.', remedy: 'Nothing.' },
  EmptySecret: { title: 'The Secret has no keys at all.', remedy: 'Put the values into the Secret.' },
  NotChecked: { title: 'There is no Secret whose content could be looked at.', remedy: 'As for Ready.' },
} as const satisfies Record<string, ReasonText>

/** Of events only. */
export const EVENT_REASONS = {
  ExpiresSoon: {
    title: 'spec.expiresAt is at most seven days away.',
    remedy: 'Rotate the Secret, then set spec.expiresAt.',
  },
  Recovered: { title: 'A condition that was False is True again.', remedy: 'Nothing.' },
} as const satisfies Record<string, ReasonText>
