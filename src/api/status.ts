/**
 * The status of the three kinds, which the controller writes: the one source of its TypeScript types and of its part of
 * the CRDs. As with schema.ts only the types are used at run time. No value of a Secret belongs here: names and counts only.
 */
import { z } from 'zod'
import { MOST_KEY_CHARACTERS, MOST_KEYS } from './readiness.ts'

export { MOST_KEYS }

/** Why a credential is ready, or is not. */
export type ReadyReason = 'SecretFound' | 'SecretNotFound' | 'KeyMissing' | 'WrongSecretType' | 'Expired'

const count = (what: string) => z.int().min(0).meta({ description: what, format: 'int32' })
const time = (what: string) =>
  z.iso.datetime({ offset: true }).meta({ description: what, format: 'date-time' })
const generation = (what: string) => z.int().min(0).meta({ description: what, format: 'int64' })

/** meta/v1 Condition, with its own limits. */
const condition = z
  .strictObject({
    type: z
      .string()
      .max(316)
      .regex(/^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/)
      .meta({ description: 'What is stated, such as Ready or Healthy.' }),
    status: z
      .enum(['True', 'False', 'Unknown'])
      .meta({ description: 'Whether it holds: True, False or Unknown.' }),
    observedGeneration: generation('metadata.generation of the spec that the statement is about.').optional(),
    lastTransitionTime: time('When status changed last.'),
    reason: z
      .string()
      .min(1)
      .max(1024)
      .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
      .meta({ description: 'Why, as one word for programs, such as SecretNotFound.' }),
    message: z.string().max(32768).meta({ description: 'Why, as a sentence for people.' }),
  })
  .meta({ description: 'One statement about the object.' })

const conditions = (what: string) =>
  z
    .array(condition)
    .optional()
    .meta({
      description: what,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
    })

const observedGeneration = generation('metadata.generation of the spec that this status is about.').optional()

const usedBy = z
  .strictObject({
    pods: count('Pods that have it.'),
    workloads: count('Workloads whose pods have it.'),
    names: z
      .array(z.string().max(512))
      .max(20)
      .optional()
      .meta({ description: 'Who uses it, such as Deployment/notebook: the first 20 by name.' }),
  })
  .meta({ description: 'Who uses the credential at present.' })

const stale = z
  .strictObject({
    pods: count('Pods that run with variables from an older content of the Secret.'),
    names: z
      .array(z.string().max(512))
      .max(20)
      .optional()
      .meta({ description: 'Whose pods they are, such as Deployment/notebook: the first 20 by name.' }),
  })
  .meta({ description: 'Pods that were started before the last rotation; absent when there are none.' })

/** Without the rules that the policy's own selector has met already: a status is not the place to refuse it. */
const knownSelector = (what: string) =>
  z
    .strictObject({
      matchLabels: z
        .record(z.string(), z.string().max(63))
        .optional()
        .meta({ description: 'Labels that must have exactly these values.' }),
      matchExpressions: z
        .array(
          z
            .strictObject({
              key: z.string().max(317).meta({ description: 'Label key.' }),
              operator: z
                .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
                .meta({ description: 'How the label is compared with the values.' }),
              values: z
                .array(z.string().max(63))
                .max(64)
                .optional()
                .meta({ description: 'For In and NotIn.' }),
            })
            .meta({ description: 'One requirement.' }),
        )
        .max(64)
        .optional()
        .meta({ description: 'Requirements that must all hold.' }),
    })
    .meta({ description: what })

const enforcedBy = z
  .array(
    z
      .strictObject({
        policy: z.string().max(253).meta({ description: 'Name of the policy.' }),
        namespaceSelector: knownSelector('Its namespaces; all when absent.').optional(),
        podSelector: knownSelector('Its pods; all of those namespaces when absent.').optional(),
      })
      .meta({ description: 'A policy that gives this credential to pods, whether they want it or not.' }),
  )
  .max(64)
  .meta({
    description:
      'Policies with enforcement Enforce that name this credential. The API server checks finished pods by them.',
  })

/** More are counted and not listed: a status must stay small. */
export const MOST_LISTED = 100

const credentialFields = {
  observedGeneration,
  conditions: conditions(
    'Ready (SecretFound, SecretNotFound, KeyMissing, WrongSecretType, Expired) and Healthy (what looks wrong with the content).',
  ),
  keys: z
    .array(z.string().max(253))
    .max(MOST_KEYS)
    .optional()
    .meta({
      description: `Names of the keys of the Secret; absent while it does not exist. Never values. The first ${MOST_KEYS} by name: a list of ${MOST_KEYS} may be incomplete. Absent too where the names have more than ${MOST_KEY_CHARACTERS} characters together.`,
    }),
  revision: z.string().max(64).optional().meta({
    description:
      'Changes with the content of the Secret: a hash made with a key that only the controller knows.',
  }),
  usedBy: usedBy.optional(),
  lastUsed: time('When the number of pods that use it changed last, as far as was seen.').optional(),
  stale: stale.optional(),
  enforcedBy: enforcedBy.optional(),
  lastRotated: time('When the content of the Secret changed last, as far as was seen.').optional(),
}

const credentialStatus = z
  .strictObject(credentialFields)
  .meta({ description: 'What the controller found. Written by it alone.' })

const clusterCredentialStatus = z
  .strictObject({
    ...credentialFields,
    namespaces: count('Namespaces that have their copy of the Secret.').optional(),
    selectedNamespaces: count('Namespaces that should have it.').optional(),
    failedNamespaces: z
      .array(
        z
          .strictObject({
            namespace: z.string().max(63).meta({ description: 'Name of the namespace.' }),
            reason: z.string().max(1024).meta({ description: 'Why, as one word for programs.' }),
            message: z.string().max(32768).meta({ description: 'Why, as a sentence for people.' }),
          })
          .meta({ description: 'A namespace without its copy.' }),
      )
      .max(MOST_LISTED)
      .optional()
      .meta({
        description: `Selected namespaces that could not be given their copy, and why not: the first ${MOST_LISTED} by name.`,
      }),
  })
  .meta({ description: 'What the controller found. Written by it alone.' })

const policyStatus = z
  .strictObject({
    observedGeneration,
    conditions: conditions('Whether the policy is in effect, and what keeps it from that.'),
    namespaces: count('Namespaces that the policy selects.').optional(),
    injectedPods: count('Pods that have credentials for the sake of this policy.').optional(),
    conflicts: z
      .array(
        z
          .strictObject({
            policy: z.string().max(253).meta({ description: 'Name of the other policy.' }),
            message: z.string().max(32768).meta({ description: 'What both of them give, differently.' }),
          })
          .meta({ description: 'A policy that this one does not agree with.' }),
      )
      .max(MOST_LISTED)
      .optional()
      .meta({
        description: `Other policies that give the same pods something else at the same place: the first ${MOST_LISTED} by name.`,
      }),
  })
  .meta({ description: 'What the controller found. Written by it alone.' })

/** By kind, as `KINDS` in schema.ts. */
export const STATUSES = {
  Credential: credentialStatus,
  ClusterCredential: clusterCredentialStatus,
  CredentialPolicy: policyStatus,
} as const

export type Condition = z.infer<typeof condition>
export type CredentialStatus = z.infer<typeof credentialStatus>
export type ClusterCredentialStatus = z.infer<typeof clusterCredentialStatus>

export type PolicyStatus = z.infer<typeof policyStatus>
