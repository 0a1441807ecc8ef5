/**
 * run.ai/v1: the one source of the TypeScript types, of the JSON Schema that the folder catalogue validates with,
 * and of the CRDs. `npm run generate` writes src/api/schemas.generated.json from it; only the types are used at run time.
 *
 * What a plain schema keyword would refuse with an unhelpful sentence is a CEL rule here, with a sentence that says
 * what to write instead.
 */
import { z } from 'zod'
import { SERVICE_NAMES } from './services.ts'

interface Rule {
  /** CEL over `self`, as the API server evaluates it. */
  rule: string
  message: string
  /** The field that is to blame, from the rule's own place: `.mountPath`. The place itself when absent. */
  fieldPath?: string
  reason?: 'FieldValueRequired' | 'FieldValueForbidden'
}

const rules = (...list: Rule[]) => ({ 'x-kubernetes-validations': list })

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
/** As for the keys of a Secret itself, which may be neither `.` nor begin with `..`: they become file names. */
const SECRET_KEY = /^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$/

/** The same inside a CEL rule. */
const NAME = '[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*'

const objectName = (what: string) => z.string().min(1).max(253).regex(SUBDOMAIN).meta({ description: what })
const secretKey = (what: string) => z.string().min(1).max(253).regex(SECRET_KEY).meta({ description: what })

const mode = (what: string) =>
  z
    .string()
    .max(4)
    .meta({
      description: what,
      ...rules({
        rule: "self.matches('^0?[0-7]{3}$')",
        message: 'mode must be an octal string of permission bits, such as "0400"',
      }),
    })

const mountPath = z
  .string()
  .min(1)
  .max(1024)
  .meta({
    description:
      'Folder in the container where the files appear. Absolute; a trailing slash means nothing. On Windows pods it may be a Windows path.',
    ...rules(
      {
        rule: "self.matches('^(/|[A-Za-z]:[\\\\\\\\/])')",
        message: 'mountPath must be absolute: write it from the root, such as /root/.ssh',
      },
      {
        rule: "!self.matches('(^|[\\\\\\\\/])\\\\.\\\\.([\\\\\\\\/]|$)')",
        message: 'mountPath must not contain "..": write the folder it leads to',
      },
      {
        rule: "!self.matches('^(/+(\\\\./+)*|[A-Za-z]:[\\\\\\\\/]+(\\\\.[\\\\\\\\/]+)*)\\\\.?$')",
        message: 'mountPath must not be the root: write a folder, such as /root/.ssh',
      },
      {
        rule: "!self.matches('^/+(\\\\./+)*(proc|sys|dev|var/+(\\\\./+)*run/+(\\\\./+)*secrets/+(\\\\./+)*kubernetes\\\\.io)(/|$)')",
        message:
          'mountPath must not be at or under /proc, /sys, /dev or /var/run/secrets/kubernetes.io: Kubernetes or the kernel uses that folder',
      },
      {
        rule: "self.matches('^([A-Za-z]:[\\\\\\\\/])?[^:\\\\x00-\\\\x1f\\\\x7f]*$')",
        message: 'mountPath must not contain ":" or control characters',
      },
    ),
  })

const filePath = z
  .string()
  .min(1)
  .max(512)
  .meta({
    description: 'Where the file appears, relative to mountPath; may have sub-folders. The key when absent.',
    ...rules(
      {
        rule: "!self.startsWith('/')",
        message: 'path must be relative to mountPath: leave the leading "/" out',
      },
      {
        rule: "self.matches('^[^/]+(/[^/]+)*$') && !self.matches('(^|/)\\\\.\\\\.?(/|$)') && !self.startsWith('..')",
        message: 'path must be a plain relative path without "..", "." or empty parts, such as keys/id_rsa',
      },
    ),
  })

const file = z
  .strictObject({
    key: secretKey('Key of the secret.'),
    path: filePath.optional(),
    mode: mode('Octal permission bits of this file, such as "0400".').optional(),
  })
  .meta({ description: 'One key of the secret as a file.' })

const FILE_PATH = (item: string) => `(has(${item}.path) ? ${item}.path : ${item}.key)`

const files = z
  .array(file)
  .min(1)
  .max(64)
  .meta({
    description: 'Which keys become files; every key under its own name when absent.',
    ...rules(
      {
        rule: `self.all(a, self.exists_one(b, ${FILE_PATH('a')} == ${FILE_PATH('b')}))`,
        message: 'files must not use one path twice: give each its own path',
      },
      {
        rule: `!self.exists(a, self.exists(b, ${FILE_PATH('b')}.startsWith(${FILE_PATH('a')} + '/')))`,
        message: 'files must not use one path as a file and as a folder: move one of them',
      },
    ),
  })

const variable = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(253)
      .meta({
        description: 'Name of the environment variable.',
        ...rules({
          rule: "self.matches('^[-._a-zA-Z][-._a-zA-Z0-9]*$')",
          message:
            'a variable name must consist of letters, digits, "_", "-" and ".", and not begin with a digit, such as WANDB_API_KEY',
        }),
      }),
    key: secretKey('Key of the secret; the name when absent.').optional(),
    value: z
      .string()
      .max(4096)
      .optional()
      .meta({ description: 'Plain text that is not secret, taken literally: no $(…) is expanded.' }),
  })
  .meta({
    description: 'One environment variable, from a key of the secret or with a plain value.',
    ...rules({
      rule: '!(has(self.key) && has(self.value))',
      message: 'a variable takes key or value, not both',
    }),
  })

const variables = z
  .array(variable)
  .min(1)
  .max(64)
  .meta({
    description:
      'On type environment: exactly these variables instead of every key of the secret. On type file: variables in addition to the files.',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
  })

/** As Kubernetes has it for labels. What selects nothing anywhere is refused here, not later where the selector is used. */
const LABEL_KEY = `matches('^(${NAME}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')`
const LABEL_VALUE = "matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')"
const LABEL_KEY_MESSAGE =
  'a label key is NAME or PREFIX/NAME: letters, digits, "-", "_" and ".", at most 63 characters in NAME, such as team or example.com/team'
const LABEL_VALUE_MESSAGE =
  'a label value has at most 63 letters, digits, "-", "_" and ".", and begins and ends with a letter or digit'

const labelSelector = (what: string) =>
  z
    .strictObject({
      matchLabels: z
        .record(z.string(), z.string().max(63))
        .optional()
        .meta({
          description: 'Labels that must have exactly these values.',
          maxProperties: 64,
          ...rules(
            { rule: `self.all(key, key.${LABEL_KEY})`, message: LABEL_KEY_MESSAGE },
            { rule: `self.all(key, self[key].${LABEL_VALUE})`, message: LABEL_VALUE_MESSAGE },
          ),
        }),
      matchExpressions: z
        .array(
          z
            .strictObject({
              key: z
                .string()
                .min(1)
                .max(317)
                .meta({
                  description: 'Label key.',
                  ...rules({ rule: `self.${LABEL_KEY}`, message: LABEL_KEY_MESSAGE }),
                }),
              operator: z
                .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
                .meta({ description: 'How the label is compared with the values.' }),
              values: z
                .array(
                  z
                    .string()
                    .max(63)
                    .meta({
                      description: 'Label value.',
                      ...rules({ rule: `self.${LABEL_VALUE}`, message: LABEL_VALUE_MESSAGE }),
                    }),
                )
                .max(64)
                .optional()
                .meta({ description: 'For In and NotIn.' }),
            })
            .meta({
              description: 'One requirement.',
              ...rules({
                rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
                message: 'In and NotIn take at least one value; Exists and DoesNotExist take none',
              }),
            }),
        )
        .max(64)
        .optional()
        .meta({ description: 'Requirements that must all hold.' }),
    })
    .meta({ description: what })

const serviceAccount = (slash: boolean) =>
  z
    .string()
    .min(1)
    .max(slash ? 317 : 253)
    .meta({
      description: slash ? 'NAME, or NAMESPACE/NAME.' : 'Name of a service account of the same namespace.',
      ...rules({
        rule: slash
          ? `self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?${NAME}$')`
          : `self.matches('^${NAME}$')`,
        message: slash
          ? 'write the service account as NAME or NAMESPACE/NAME'
          : 'write only the NAME of the service account: it is of the same namespace',
      }),
    })

const TYPES = ['environment', 'file', 'dockerRegistry'] as const

const only = (field: string, types: readonly string[], message: string): Rule => ({
  rule: `!has(self.${field}) || self.type in [${types.map((type) => `'${type}'`).join(', ')}]`,
  message,
  fieldPath: `.${field}`,
  reason: 'FieldValueForbidden',
})

const TYPE_RULES = rules(
  {
    rule: "self.type != 'file' || has(self.mountPath)",
    message: 'type file needs mountPath: the folder where the files appear, such as /root/.ssh',
    fieldPath: '.mountPath',
    reason: 'FieldValueRequired',
  },
  only('mountPath', ['file'], 'mountPath goes with type file only'),
  only('files', ['file'], 'files goes with type file only'),
  only('mode', ['file'], 'mode goes with type file only'),
  only('variables', ['environment', 'file'], 'variables goes with type environment or file only'),
  only('registry', ['dockerRegistry'], 'registry goes with type dockerRegistry only'),
  only('rotation', ['environment', 'file'], 'rotation goes with type environment or file only'),
)

const secretRef = (what: string) =>
  z.strictObject({ name: objectName('Name of the Secret.') }).meta({ description: what })

const commonSpec = {
  type: z.enum(TYPES).meta({ description: 'How the pod gets it: variables, files, or a registry login.' }),
  description: z.string().max(1024).optional().meta({ description: 'For people.' }),
  service: z
    .enum(SERVICE_NAMES)
    .optional()
    .meta({ description: 'A known service: turns on its format checks, its live check and its form.' }),
  variables: variables.optional(),
  mountPath: mountPath.optional(),
  files: files.optional(),
  mode: mode(
    'Octal permission bits of all files, such as "0400"; chosen for each container when absent.',
  ).optional(),
  registry: z
    .string()
    .min(1)
    .max(253)
    .optional()
    .meta({ description: 'Host of the registry, such as docker.io.' }),
  expiresAt: z.iso.datetime({ offset: true }).optional().meta({
    description: 'When the credential expires (RFC 3339). Injection warns from seven days before.',
    format: 'date-time',
  }),
  rotation: z
    .strictObject({
      restart: z.enum(['Never', 'Automatic']).optional().meta({
        description: 'Automatic: roll the workloads that use it when the content of the secret changes.',
        default: 'Never',
      }),
    })
    .optional()
    .meta({ description: 'What happens when the content of the secret changes.' }),
}

const credentialSpec = z
  .strictObject({
    secretRef: secretRef('The Secret that holds the values: of the same namespace, always.'),
    ...commonSpec,
    allowedServiceAccounts: z
      .array(serviceAccount(false))
      .max(64)
      .optional()
      .meta({ description: 'Only pods that run as one of these may use it.' }),
  })
  .meta({ description: 'What the credential gives to a pod, and where it comes from.', ...TYPE_RULES })

const clusterCredentialSpec = z
  .strictObject({
    secretRef: secretRef('The Secret that holds the values: of the namespace that the platform team owns.'),
    ...commonSpec,
    allowedServiceAccounts: z
      .array(serviceAccount(true))
      .max(64)
      .optional()
      .meta({ description: 'Only pods that run as one of these may use it.' }),
    namespaceSelector: labelSelector(
      'Which namespaces may use it; none when absent, all when {}.',
    ).optional(),
  })
  .meta({
    description: 'What the credential gives to a pod, where it comes from and who may use it.',
    ...TYPE_RULES,
  })

const policySpec = z
  .strictObject({
    namespaceSelector: labelSelector('Namespaces that the policy holds in; {} means all.'),
    podSelector: labelSelector(
      'Pods that the policy holds for; all of those namespaces when absent.',
    ).optional(),
    credentials: z
      .array(
        z
          .string()
          .min(1)
          .max(261)
          .meta({
            description:
              'NAME of the namespace’s Credential (or else of a ClusterCredential offered to it), or cluster/NAME.',
            ...rules({
              rule: `self.matches('^(cluster/)?${NAME}$')`,
              message: 'write the credential as NAME or cluster/NAME',
            }),
          }),
      )
      .min(1)
      .max(64)
      .meta({ description: 'What every selected pod gets.' }),
    enforcement: z.enum(['Enforce', 'Default']).meta({
      description:
        'Enforce: nobody can leave it out or override it. Default: a pod may opt out, and its own values win.',
    }),
    failurePolicy: z.enum(['Fail', 'Ignore']).optional().meta({
      description: 'What the API server does with selected pods when the webhook cannot be reached.',
      default: 'Fail',
    }),
  })
  .meta({ description: 'Which pods get which credentials.' })

const metadata = z
  .looseObject({ name: z.string(), namespace: z.string().optional() })
  .meta({ description: 'Standard object metadata.' })

const object = <Spec extends z.ZodType>(kind: string, description: string, spec: Spec, meta: object = {}) =>
  z
    .looseObject({ apiVersion: z.literal('run.ai/v1'), kind: z.literal(kind), metadata, spec })
    .meta({ description, ...meta })

/** The three kinds, in the order in which documents list them. */
export const KINDS = {
  Credential: object(
    'Credential',
    'A named credential of a namespace: a Secret, and how pods get it.',
    credentialSpec,
  ),
  ClusterCredential: object(
    'ClusterCredential',
    'A credential that the platform team offers to the namespaces it selects.',
    clusterCredentialSpec,
    rules({
      rule: 'size(self.metadata.name) <= 242',
      message: 'the name must have at most 242 characters: copies of the secret are called credential-NAME',
      fieldPath: '.metadata.name',
    }),
  ),
  CredentialPolicy: object(
    'CredentialPolicy',
    'Credentials that selected pods get without asking.',
    policySpec,
  ),
} as const

export type CredentialSpec = z.infer<typeof credentialSpec>
export type ClusterCredentialSpec = z.infer<typeof clusterCredentialSpec>
export type CredentialPolicySpec = z.infer<typeof policySpec>
export type LabelSelector = z.infer<ReturnType<typeof labelSelector>>
