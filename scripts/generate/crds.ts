/** The CustomResourceDefinitions (apiextensions/v1) of the three kinds. Pure: the same sources give the same text. */
import { stringify } from 'yaml'
import { type Kind, kindSchema, statusSchema } from './structural-schema.ts'

const GROUP = 'run.ai'

interface Column {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date'
  readonly jsonPath: string
  readonly description: string
  /** 1: only with `-o wide`. */
  readonly priority?: 1
}

interface Definition {
  readonly scope: 'Namespaced' | 'Cluster'
  readonly plural: string
  readonly shortName: string
  /** After NAME, and for namespaced kinds NAMESPACE, which kubectl adds by itself. */
  readonly columns: readonly Column[]
}

const TYPE: Column = {
  name: 'Type',
  type: 'string',
  jsonPath: '.spec.type',
  description: 'How pods get it: environment, file or dockerRegistry.',
}
const SECRET: Column = {
  name: 'Secret',
  type: 'string',
  jsonPath: '.spec.secretRef.name',
  description: 'The Secret that holds the values.',
}
const READY: Column = {
  name: 'Ready',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Ready")].status',
  description: 'Whether the Secret exists and has what is needed.',
}
const USED_BY: Column = {
  name: 'Used By',
  type: 'integer',
  jsonPath: '.status.usedBy.pods',
  description: 'Pods that have it.',
}
const AGE: Column = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Time since its creation.',
}
const WIDE: readonly Column[] = [
  {
    name: 'Service',
    type: 'string',
    jsonPath: '.spec.service',
    description: 'The known service that it is for.',
    priority: 1,
  },
  {
    // A text: as a date kubectl would print the time since then, and `<invalid>` for what is still to come.
    name: 'Expires',
    type: 'string',
    jsonPath: '.spec.expiresAt',
    description: 'When it expires.',
    priority: 1,
  },
  {
    name: 'Description',
    type: 'string',
    jsonPath: '.spec.description',
    description: 'What its owner says about it.',
    priority: 1,
  },
]

const DEFINITIONS: Readonly<Record<Kind, Definition>> = {
  Credential: {
    scope: 'Namespaced',
    plural: 'credentials',
    shortName: 'cred',
    columns: [TYPE, SECRET, READY, USED_BY, AGE, ...WIDE],
  },
  ClusterCredential: {
    scope: 'Cluster',
    plural: 'clustercredentials',
    shortName: 'ccred',
    columns: [
      TYPE,
      SECRET,
      READY,
      USED_BY,
      {
        name: 'Namespaces',
        type: 'integer',
        jsonPath: '.status.namespaces',
        description: 'Namespaces that have their copy of the Secret.',
      },
      AGE,
      ...WIDE,
    ],
  },
  CredentialPolicy: {
    scope: 'Cluster',
    plural: 'credentialpolicies',
    shortName: 'credpol',
    columns: [
      {
        name: 'Enforcement',
        type: 'string',
        jsonPath: '.spec.enforcement',
        description: 'Enforce, or Default, which lets pods opt out.',
      },
      {
        name: 'Credentials',
        type: 'string',
        jsonPath: '.spec.credentials',
        description: 'What every selected pod gets.',
      },
      {
        name: 'Namespaces',
        type: 'integer',
        jsonPath: '.status.namespaces',
        description: 'Namespaces that it selects.',
      },
      {
        name: 'Pods',
        type: 'integer',
        jsonPath: '.status.injectedPods',
        description: 'Pods that have credentials for its sake.',
      },
      { ...READY, description: 'Whether the API server sends its pods to the webhook.' },
      AGE,
    ],
  },
}

/** By kind: the path of its file from the project's root. Whoever installs without Helm applies these files as they are. */
export const CRD_FILES = Object.fromEntries(
  Object.entries(DEFINITIONS).map(([kind, { plural }]) => [
    kind,
    `charts/credential-injector/files/crds/${plural}.${GROUP}.yaml`,
  ]),
) as Readonly<Record<Kind, string>>

/** The file's text. */
export function crdYaml(kind: Kind): string {
  const head = '# Made from src/api by `npm run generate`; change it there.\n'
  return head + stringify(definitionOf(kind), { aliasDuplicateObjects: false, lineWidth: 0 })
}

/** The object itself, as the API server takes it. */
function definitionOf(kind: Kind): object {
  const { scope, plural, shortName, columns } = DEFINITIONS[kind]
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        // No category: `kubectl get all` is for what runs.
        shortNames: [shortName],
      },
      scope,
      preserveUnknownFields: false,
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: withStatus(kind) },
          // The controller writes the status only there, and cannot touch the spec by it; users cannot forge it.
          subresources: { status: {} },
          additionalPrinterColumns: columns,
        },
      ],
    },
  }
}

function withStatus(kind: Kind): object {
  const { properties, ...schema } = kindSchema(kind)
  return { ...schema, properties: { ...(properties as object), status: statusSchema(kind) } }
}
