/**
 * The one catalogue of reasons: used in messages, warnings, metrics, events, the CLI and docs/reasons.md alike.
 * `title` says what the code means, `remedy` what a user does about it.
 */

interface ReasonText {
  readonly title: string
  readonly remedy: string
}

/** The pod is refused. */
export const DENIALS = {
  CredentialNotFound: {
    title: 'A named credential does not exist in this namespace, or is not offered to it.',
    remedy:
      'Correct the name in the annotation, or create the credential. Controllers try again by themselves.',
  },
  CredentialNotAllowed: {
    title: 'The credential may only be used by certain service accounts, and the pod runs as another.',
    remedy:
      'Run the pod as one of the service accounts that the message names, or ask the owner of the credential.',
  },
  UnknownContainer: {
    title: 'An annotation selects a container that the pod does not have.',
    remedy: 'Correct the container name; init containers count, ephemeral containers do not.',
  },
  InvalidAnnotation: {
    title: 'A credentials.run.ai annotation has a value that cannot be understood.',
    remedy: 'Write the value as the message says.',
  },
  EnvConflict: {
    title:
      'A variable would get two different values: from two credentials, or from the pod and a credential under Reject.',
    remedy: 'Remove one of the two, or choose another on-conflict mode if one of them is the pod’s own.',
  },
  EnvFromConflict: {
    title:
      'The container loads the same variable from the secret of another credential, and the pod asked for Reject.',
    remedy: 'Remove the envFrom entry, or choose another on-conflict mode.',
  },
  FileConflict: {
    title: 'Two file credentials put different content at one path.',
    remedy: 'Mount one of them elsewhere with NAME=/path, or leave one out.',
  },
  MountPathConflict: {
    title: 'A volume of the pod is mounted where the files of a credential belong, or hides one of them.',
    remedy: 'Move one of the two: the credential with NAME=/path, or the volume mount.',
  },
  PolicyConflict: {
    title: 'An enforced policy meets another source for the same variable or path.',
    remedy: 'Remove what the message names from the pod; if two policies disagree, tell the platform team.',
  },
} as const satisfies Record<string, ReasonText>

/** The pod starts, and its owner should know something. Ordered: the most important first. */
export const WARNINGS = {
  CredentialNotReady: {
    title: 'The credential’s Secret does not exist yet, lacks a named key or has the wrong type.',
    remedy: 'Create or correct the Secret: the pod waits and starts when it is right.',
  },
  CredentialExpired: {
    title: 'The credential has expired, or will within seven days.',
    remedy: 'Renew it: rotate its Secret and set spec.expiresAt.',
  },
  PolicyOverrides: {
    title: 'An enforced policy’s value replaces another.',
    remedy: 'Nothing, if that is wanted; else talk to the platform team.',
  },
  CredentialOverrides: {
    title: 'With CredentialWins, the credential’s value replaces one of the pod’s own.',
    remedy: 'Remove the pod’s own value, or the annotation on-conflict.',
  },
  WorkloadOverrides: {
    title: 'The pod’s own value stays; the credential’s is not used.',
    remedy: 'Nothing, if the override is wanted; else remove the pod’s own value.',
  },
  LeftOut: {
    title:
      'A credential, or a value of it, of a Default policy is left out because something else takes its place.',
    remedy: 'Nothing, if that is wanted; else remove what takes its place.',
  },
  FileNotReadable: {
    title: 'The process of the container cannot read or reach the file.',
    remedy:
      'Mount it elsewhere with NAME=/path, or change the mode or the pod’s fsGroup as the warning says.',
  },
  FileTooOpen: {
    title: 'fsGroup makes the key readable for its group, and ssh run by root refuses such a key.',
    remedy: 'Set runAsUser to the non-root user of the image, or remove fsGroup.',
  },
  ModeNotKept: {
    title:
      'The mode of a file credential is not kept for all of its files: another one shares its folder and decides.',
    remedy: 'List the files in the credential, or mount it elsewhere with NAME=/path.',
  },
  ReachesNothing: {
    title: 'The pod names a credential, and its annotations leave no container that could get it.',
    remedy: 'Correct the annotation containers or skip-containers, or remove the name.',
  },
  OptionalSource: {
    title: 'The pod already loads the credential’s secret, but as optional: it would start without it.',
    remedy: 'Remove the entry, or its optional: true.',
  },
  UnknownKeys: {
    title: 'The pod loads variables from a source whose keys cannot be compared with the credential’s.',
    remedy:
      'Check by hand that they do not overlap, or list the variables in the credential: listed ones always win.',
  },
  UnusualVariable: {
    title: 'Keys of the secret are not names that a shell can use.',
    remedy: 'Rename the keys, or list the wanted variables in the credential.',
  },
  UnknownAnnotation: {
    title: 'A credentials.run.ai annotation is one that nothing reads, or stands where nothing reads it.',
    remedy: 'Correct its key, move it to the pod template of the workload, or remove it.',
  },
} as const satisfies Record<string, ReasonText>

/** Nothing to do. */
export const LEFT_ALONE = {
  NotAnnotated: {
    title: 'The pod names no credential and no policy selects it.',
    remedy: 'Add credentials.run.ai/inject to the pod, or to the pod template.',
  },
  MirrorPod: { title: 'The pod is the mirror of a static pod.', remedy: 'Static pods cannot use Secrets.' },
  NotAPodCreate: {
    title: 'The request is not the creation of a pod.',
    remedy: 'Nothing: credentials are injected when pods are created.',
  },
  ExcludedNamespace: {
    title: 'The namespace belongs to the cluster or to the injector itself.',
    remedy: 'Use a namespace of your own.',
  },
  OptedOut: {
    title: 'Only Default policies select the pod, and it opted out of them.',
    remedy: 'Remove credentials.run.ai/opt-out to get them.',
  },
  AlreadyInjected: { title: 'The pod already has everything that its credentials give.', remedy: 'Nothing.' },
} as const satisfies Record<string, ReasonText>

export type DenialReason = keyof typeof DENIALS
export type WarningReason = keyof typeof WARNINGS
export type LeftAloneReason = keyof typeof LEFT_ALONE
