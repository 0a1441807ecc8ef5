/** Manifests and what is to be said about them: by the folder catalogue (test/api) and by a real API server (test/cluster). */
import { SERVICE_NAMES } from '../../src/api/services.ts'

/** A manifest, as changed from a right one, and the sentences that the API server (v1.37) has for it. */
export type Row = [title: string, manifest: unknown, ...sentences: string[]]

const SUBDOMAIN = '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'
const IS_SUBDOMAIN = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`
const IS_LABEL =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
const IS_LABEL_NAME =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const IS_LABEL_VALUE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
const ONLY_FILE = 'goes with type file only'
const A_FILE_MODE = 'mode must be an octal string of permission bits, such as "0400"'
const A_PLAIN_PATH =
  'path must be a plain relative path without "..", "." or empty parts, such as keys/id_rsa'
const A_VARIABLE_NAME =
  'a variable name must consist of letters, digits, "_", "-" and ".", and not begin with a digit, such as WANDB_API_KEY'
const A_LABEL_KEY =
  'a label key is NAME or PREFIX/NAME: letters, digits, "-", "_" and ".", at most 63 characters in NAME, such as team or example.com/team'
const A_LABEL_VALUE =
  'a label value has at most 63 letters, digits, "-", "_" and ".", and begins and ends with a letter or digit'
const VALUES_FIT = 'In and NotIn take at least one value; Exists and DoesNotExist take none'

export function credential(spec: object, rest: object = {}): object {
  return {
    apiVersion: 'run.ai/v1',
    kind: 'Credential',
    metadata: { name: 'a', namespace: 'team' },
    spec: { secretRef: { name: 'secret' }, type: 'environment', ...spec },
    ...rest,
  }
}

export function file(spec: object): object {
  return credential({ type: 'file', mountPath: '/root/.ssh', ...spec })
}

export function clusterCredential(spec: object, name = 'shared'): object {
  return credential(spec, { kind: 'ClusterCredential', metadata: { name } })
}

export function policy(spec: object): object {
  return {
    apiVersion: 'run.ai/v1',
    kind: 'CredentialPolicy',
    metadata: { name: 'a' },
    spec: { namespaceSelector: {}, credentials: ['wandb-credentials'], enforcement: 'Enforce', ...spec },
  }
}

function named(metadata: unknown): object {
  return credential({}, { metadata })
}

const ABSENT = undefined
export const WRONG: Row[] = [
  // The object
  ['not an object', 'text', 'a manifest must have apiVersion, kind, metadata and spec'],
  [
    'no apiVersion',
    credential({}, { apiVersion: ABSENT }),
    'apiVersion: Required value: write apiVersion: run.ai/v1',
  ],
  [
    'no kind',
    credential({}, { kind: ABSENT }),
    'kind: Required value: write one of Credential, ClusterCredential, CredentialPolicy',
  ],
  [
    'a kind that is no text',
    credential({}, { kind: 5 }),
    'kind: Invalid value: "integer": kind in body must be of type string: "integer"',
  ],
  [
    'another version',
    credential({}, { apiVersion: 'run.ai/v2' }),
    'no matches for kind "Credential" in version "run.ai/v2"; write apiVersion: run.ai/v1',
  ],
  [
    'a misspelt kind',
    credential({}, { kind: 'Credental' }),
    'no matches for kind "Credental" in version "run.ai/v1"; did you mean "Credential"?',
  ],
  [
    'a kind that every object inherits',
    credential({}, { kind: 'toString' }),
    'no matches for kind "toString" in version "run.ai/v1"',
  ],
  ['no spec', credential({}, { spec: ABSENT }), 'spec: Required value'],
  ['a spec that is null', credential({}, { spec: null }), 'spec: Required value'],
  [
    'a spec that is text',
    credential({}, { spec: 'x' }),
    'spec: Invalid value: "string": spec in body must be of type object: "string"',
  ],
  [
    'an unknown field of the object',
    credential({}, { sepc: {} }),
    'unknown field "sepc"; did you mean "spec"?',
  ],

  // Metadata
  ['no metadata', named(ABSENT), 'metadata.name: Required value: name or generateName is required'],
  [
    'metadata that is a list',
    named([]),
    'metadata: Invalid value: "array": metadata in body must be of type object: "array"',
  ],
  ['an empty name', named({ name: '' }), 'metadata.name: Required value: name or generateName is required'],
  [
    'a name with capitals',
    named({ name: 'My_Cred' }),
    `metadata.name: Invalid value: "My_Cred": ${IS_SUBDOMAIN}`,
  ],
  [
    'a name that is a number',
    named({ name: 5 }),
    'metadata.name: Invalid value: "integer": metadata.name in body must be of type string: "integer"',
  ],
  [
    'a name that is too long',
    named({ name: 'a'.repeat(254) }),
    `metadata.name: Invalid value: "${'a'.repeat(254)}": must be no more than 253 characters`,
  ],
  [
    'a namespace with a dot',
    named({ name: 'a', namespace: 'a.b' }),
    'metadata.namespace: Invalid value: "a.b": must not contain dots',
  ],
  [
    'a namespace with capitals',
    named({ name: 'a', namespace: 'Team' }),
    `metadata.namespace: Invalid value: "Team": ${IS_LABEL}`,
  ],
  [
    'a name that is still to be made',
    named({ generateName: 'a-' }),
    'metadata.name: Required value: write a name: only an API server can make one from generateName',
  ],
  [
    'a namespace that is too long',
    named({ name: 'a', namespace: 'n'.repeat(64) }),
    `metadata.namespace: Invalid value: "${'n'.repeat(64)}": must be no more than 63 characters`,
  ],
  [
    'an unknown field of the metadata',
    named({ name: 'a', label: {} }),
    'unknown field "metadata.label"; did you mean "labels"?',
  ],
  [
    'a label that is no text',
    named({ name: 'a', labels: { gpu: true } }),
    'metadata.labels.gpu: Invalid value: "boolean": metadata.labels.gpu in body must be of type string: "boolean"',
  ],
  [
    'labels that are a list',
    named({ name: 'a', labels: [] }),
    'metadata.labels: Invalid value: "array": metadata.labels in body must be of type object: "array"',
  ],
  [
    'a label with blanks in key and value',
    named({ name: 'a', labels: { 'a b': 'c d' } }),
    `metadata.labels: Invalid value: "a b": name part ${IS_LABEL_NAME}`,
    `metadata.labels: Invalid value: "c d": ${IS_LABEL_VALUE}`,
  ],
  [
    'a label with two slashes',
    named({ name: 'a', labels: { 'a/b/c': 'd' } }),
    `metadata.labels: Invalid value: "a/b/c": a valid label key ${IS_LABEL_NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
  ],
  [
    'a label without name and with a wrong prefix',
    named({ name: 'a', labels: { 'A/': 'd' } }),
    `metadata.labels: Invalid value: "A/": prefix part ${IS_SUBDOMAIN}`,
    'metadata.labels: Invalid value: "A/": name part must be non-empty',
    `metadata.labels: Invalid value: "A/": name part ${IS_LABEL_NAME}`,
  ],
  [
    'a label that is too long',
    named({ name: 'a', labels: { ['k'.repeat(64)]: 'v'.repeat(64) } }),
    `metadata.labels: Invalid value: "${'k'.repeat(64)}": name part must be no more than 63 bytes`,
    `metadata.labels: Invalid value: "${'v'.repeat(64)}": must be no more than 63 bytes`,
  ],
  [
    'annotations with wrong prefixes',
    named({ name: 'a', annotations: { '/a': 'x y', [`${'p'.repeat(254)}/a`]: '' } }),
    'metadata.annotations: Invalid value: "/a": prefix part must be non-empty',
    `metadata.annotations: Invalid value: "${'p'.repeat(254)}/a": prefix part must be no more than 253 bytes`,
  ],
  [
    'a ClusterCredential whose copies could not be named',
    clusterCredential({}, 'a'.repeat(243)),
    'metadata.name: Invalid value: the name must have at most 242 characters: copies of the secret are called credential-NAME',
  ],

  // Required and unknown fields
  ['no secretRef', credential({ secretRef: ABSENT }), 'spec.secretRef: Required value'],
  ['no type', credential({ type: ABSENT }), 'spec.type: Required value'],
  ['a type that is null', credential({ type: null }), 'spec.type: Required value'],
  ['no name in secretRef', credential({ secretRef: {} }), 'spec.secretRef.name: Required value'],
  [
    'a namespace in secretRef',
    credential({ secretRef: { name: 'a', namespace: 'b' } }),
    'unknown field "spec.secretRef.namespace"',
  ],
  ['an unknown field', credential({ foo: 1 }), 'unknown field "spec.foo"'],
  ['an unknown field that is null', credential({ foo: null }), 'unknown field "spec.foo"'],
  [
    'a misspelt field',
    credential({ varibles: [] }),
    'unknown field "spec.varibles"; did you mean "variables"?',
  ],
  [
    'an unknown field in a list',
    file({ files: [{ key: 'a', name: 'b' }] }),
    'unknown field "spec.files[0].name"',
  ],
  [
    'a ClusterCredential’s field on a Credential',
    credential({ namespaceSelector: {} }),
    'unknown field "spec.namespaceSelector"',
  ],

  // Types
  [
    'a number for text',
    credential({ description: 5 }),
    'spec.description: Invalid value: "integer": spec.description in body must be of type string: "integer"',
  ],
  [
    'a fraction for text',
    credential({ description: 1.5 }),
    'spec.description: Invalid value: "number": spec.description in body must be of type string: "number"',
  ],
  [
    'an object for a list',
    file({ files: {} }),
    'spec.files: Invalid value: "object": spec.files in body must be of type array: "object"',
  ],
  [
    'null in a list',
    file({ files: [null] }),
    'spec.files[0]: Invalid value: "null": spec.files[0] in body must be of type object: "null"',
  ],
  [
    'a number for an enumeration',
    credential({ type: 5 }),
    'spec.type: Invalid value: "integer": spec.type in body must be of type string: "integer"',
    'spec.type: Unsupported value: 5: supported values: "environment", "file", "dockerRegistry"',
  ],
  [
    'a mode that YAML reads as a number',
    file({ mode: 256 }),
    'spec.mode: Invalid value: "integer": spec.mode in body must be of type string: "integer"',
  ],

  [
    'a number for a date',
    credential({ expiresAt: 5 }),
    'spec.expiresAt: Invalid value: "int64": spec.expiresAt in body must be of type date-time: "int64"',
  ],
  [
    'texts for variables',
    credential({ variables: ['A'] }),
    'spec.variables[0]: Invalid value: "string": spec.variables[0] in body must be of type object: "string"',
    'spec.variables[0]: Invalid value: "A": must be an object for an array of list-type map',
  ],
  [
    'a number for a plain value',
    credential({ variables: [{ name: 'A', value: 5 }] }),
    'spec.variables[0].value: Invalid value: "integer": spec.variables[0].value in body must be of type string: "integer"',
  ],
  [
    'text for secretRef',
    credential({ secretRef: 'wandb-secret' }),
    'spec.secretRef: Invalid value: "string": spec.secretRef in body must be of type object: "string"',
  ],
  [
    'text for rotation',
    credential({ rotation: 'Automatic' }),
    'spec.rotation: Invalid value: "string": spec.rotation in body must be of type object: "string"',
  ],

  // Enumerations, lengths, counts, patterns, formats
  [
    'an unknown type',
    credential({ type: 'env' }),
    'spec.type: Unsupported value: "env": supported values: "environment", "file", "dockerRegistry"',
  ],
  [
    'an unknown restart',
    credential({ rotation: { restart: 'Always' } }),
    'spec.rotation.restart: Unsupported value: "Always": supported values: "Never", "Automatic"',
  ],
  [
    'a description that is too long',
    credential({ description: 'ü'.repeat(1025) }),
    'spec.description: Too long: may not be more than 1024 bytes',
  ],
  [
    'a secret name with capitals',
    credential({ secretRef: { name: 'X' } }),
    `spec.secretRef.name: Invalid value: "X": spec.secretRef.name in body should match '^${SUBDOMAIN}$'`,
  ],
  [
    'an empty secret name',
    credential({ secretRef: { name: '' } }),
    'spec.secretRef.name: Invalid value: "": spec.secretRef.name in body should be at least 1 chars long',
  ],
  [
    'no files',
    file({ files: [] }),
    'spec.files: Invalid value: 0: spec.files in body should have at least 1 items',
  ],
  [
    'too many variables',
    credential({ variables: Array.from({ length: 65 }, (_, index) => ({ name: `V${index}` })) }),
    'spec.variables: Too many: 65: must have at most 64 items',
  ],
  [
    'a key that leads out of the folder',
    file({ files: [{ key: '..' }] }),
    `spec.files[0].key: Invalid value: "..": spec.files[0].key in body should match '^\\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$'`,
  ],
  [
    'a date in words',
    credential({ expiresAt: 'tomorrow' }),
    'spec.expiresAt: Invalid value: "tomorrow": spec.expiresAt in body must be of type date-time: "tomorrow"',
  ],
  [
    'a date that does not exist',
    credential({ expiresAt: '2027-02-29T00:00:00Z' }),
    'spec.expiresAt: Invalid value: "2027-02-29T00:00:00Z": spec.expiresAt in body must be of type date-time: "2027-02-29T00:00:00Z"',
  ],
  [
    'a date without time',
    credential({ expiresAt: '2027-01-01' }),
    'spec.expiresAt: Invalid value: "2027-01-01": spec.expiresAt in body must be of type date-time: "2027-01-01"',
  ],

  [
    'a date without offset',
    credential({ expiresAt: '2027-01-01T00:00:00' }),
    'spec.expiresAt: Invalid value: "2027-01-01T00:00:00": spec.expiresAt in body must be of type date-time: "2027-01-01T00:00:00"',
  ],
  [
    'an unknown service',
    credential({ service: 'weights&biases' }),
    `spec.service: Unsupported value: "weights&biases": supported values: ${SERVICE_NAMES.map((name) => `"${name}"`).join(', ')}`,
  ],
  [
    'a key that is too long',
    credential({ variables: [{ name: 'A', key: 'k'.repeat(254) }] }),
    'spec.variables[0].key: Too long: may not be more than 253 bytes',
  ],
  [
    'a mountPath that is too long',
    file({ mountPath: `/${'a'.repeat(1024)}` }),
    'spec.mountPath: Too long: may not be more than 1024 bytes',
  ],
  [
    'a mode with too many digits',
    file({ mode: '00400' }),
    'spec.mode: Too long: may not be more than 4 bytes',
  ],
  [
    'too many files',
    file({ files: Array.from({ length: 65 }, (_, index) => ({ key: `k${index}` })) }),
    'spec.files: Too many: 65: must have at most 64 items',
  ],
  [
    'an empty registry',
    credential({ type: 'dockerRegistry', registry: '' }),
    'spec.registry: Invalid value: "": spec.registry in body should be at least 1 chars long',
  ],

  // What goes with which type
  [
    'file without mountPath',
    credential({ type: 'file' }),
    'spec.mountPath: Required value: type file needs mountPath: the folder where the files appear, such as /root/.ssh',
  ],
  [
    'environment with mountPath',
    credential({ mountPath: '/a' }),
    `spec.mountPath: Forbidden: mountPath ${ONLY_FILE}`,
  ],
  [
    'environment with files and mode',
    credential({ files: [{ key: 'a' }], mode: '0400' }),
    `spec.files: Forbidden: files ${ONLY_FILE}`,
    `spec.mode: Forbidden: mode ${ONLY_FILE}`,
  ],
  [
    'dockerRegistry with variables',
    credential({ type: 'dockerRegistry', variables: [{ name: 'A' }] }),
    'spec.variables: Forbidden: variables goes with type environment or file only',
  ],
  [
    'file with registry',
    file({ registry: 'docker.io' }),
    'spec.registry: Forbidden: registry goes with type dockerRegistry only',
  ],
  [
    'dockerRegistry with rotation',
    credential({ type: 'dockerRegistry', rotation: {} }),
    'spec.rotation: Forbidden: rotation goes with type environment or file only',
  ],

  // Variables
  [
    'a variable twice',
    credential({ variables: [{ name: 'A' }, { name: 'B' }, { name: 'A', key: 'B' }, { name: 'A' }] }),
    'spec.variables[2]: Duplicate value: {"name":"A"}',
  ],
  [
    'a variable with key and value',
    credential({ variables: [{ name: 'A', key: 'a', value: 'b' }] }),
    'spec.variables[0]: Invalid value: a variable takes key or value, not both',
  ],
  [
    'a variable that begins with a digit',
    credential({ variables: [{ name: '1A' }] }),
    `spec.variables[0].name: Invalid value: "1A": ${A_VARIABLE_NAME}`,
  ],
  [
    'a variable without a name',
    credential({ variables: [{ key: 'a' }] }),
    'spec.variables[0].name: Required value',
  ],
  [
    'control characters, as Go shows them',
    credential({ variables: [{ name: 'A\u0001\u0007\u007f\n' }] }),
    `spec.variables[0].name: Invalid value: "A\\x01\\a\\x7f\\n": ${A_VARIABLE_NAME}`,
  ],

  [
    'a variable whose name is empty',
    credential({ variables: [{ name: '' }] }),
    'spec.variables[0].name: Invalid value: "": spec.variables[0].name in body should be at least 1 chars long',
    `spec.variables[0].name: Invalid value: "": ${A_VARIABLE_NAME}`,
  ],
  [
    'variables that are all empty',
    credential({ variables: [{}, {}] }),
    'spec.variables[0].name: Required value',
    'spec.variables[1].name: Required value',
    'spec.variables[1]: Duplicate value: {}',
  ],
  [
    'characters that cannot be printed, as Go shows them',
    file({ mountPath: 'a<b>&"é😀\u2028\u0085\u{e0001}' }),
    'spec.mountPath: Invalid value: "a<b>&\\"é😀\\u2028\\u0085\\U000e0001": mountPath must be absolute: write it from the root, such as /root/.ssh',
  ],

  // Files
  [
    'a path twice',
    file({ files: [{ key: 'a' }, { key: 'b', path: 'a' }] }),
    'spec.files: Invalid value: files must not use one path twice: give each its own path',
  ],
  [
    'a path as file and folder',
    file({ files: [{ key: 'a' }, { key: 'b', path: 'a/b' }] }),
    'spec.files: Invalid value: files must not use one path as a file and as a folder: move one of them',
  ],
  [
    'an absolute path',
    file({ files: [{ key: 'a', path: '/a' }] }),
    'spec.files[0].path: Invalid value: "/a": path must be relative to mountPath: leave the leading "/" out',
    `spec.files[0].path: Invalid value: "/a": ${A_PLAIN_PATH}`,
  ],
  [
    'a path that leads out of the folder',
    file({ files: [{ key: 'a', path: 'a/../../b' }] }),
    `spec.files[0].path: Invalid value: "a/../../b": ${A_PLAIN_PATH}`,
  ],
  [
    'a mode that is not octal',
    file({ files: [{ key: 'a', mode: '888' }] }),
    `spec.files[0].mode: Invalid value: "888": ${A_FILE_MODE}`,
  ],
  ['a mode in words', file({ mode: 'u=r' }), `spec.mode: Invalid value: "u=r": ${A_FILE_MODE}`],

  [
    'a path that begins at the folder itself',
    file({ files: [{ key: 'a', path: './a' }] }),
    `spec.files[0].path: Invalid value: "./a": ${A_PLAIN_PATH}`,
  ],
  [
    'a path that begins with two dots',
    file({ files: [{ key: 'a', path: '..a' }] }),
    `spec.files[0].path: Invalid value: "..a": ${A_PLAIN_PATH}`,
  ],

  // mountPath
  [
    'a relative mountPath',
    file({ mountPath: 'root/.ssh' }),
    'spec.mountPath: Invalid value: "root/.ssh": mountPath must be absolute: write it from the root, such as /root/.ssh',
  ],
  [
    'a mountPath with ..',
    file({ mountPath: '/a/../b' }),
    'spec.mountPath: Invalid value: "/a/../b": mountPath must not contain "..": write the folder it leads to',
  ],
  [
    'a mountPath that is the root',
    file({ mountPath: '//' }),
    'spec.mountPath: Invalid value: "//": mountPath must not be the root: write a folder, such as /root/.ssh',
  ],
  [
    'a mountPath under /proc',
    file({ mountPath: '/./proc/self' }),
    'spec.mountPath: Invalid value: "/./proc/self": mountPath must not be at or under /proc, /sys, /dev or /var/run/secrets/kubernetes.io: Kubernetes or the kernel uses that folder',
  ],
  [
    'a mountPath with a colon',
    file({ mountPath: '/a:b' }),
    'spec.mountPath: Invalid value: "/a:b": mountPath must not contain ":" or control characters',
  ],

  // Selectors and policies
  [
    'an operator without values',
    clusterCredential({ namespaceSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }),
    `spec.namespaceSelector.matchExpressions[0]: Invalid value: ${VALUES_FIT}`,
  ],
  [
    'an operator with values that takes none',
    clusterCredential({
      namespaceSelector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] },
    }),
    `spec.namespaceSelector.matchExpressions[0]: Invalid value: ${VALUES_FIT}`,
  ],
  [
    'a label of a selector that is no text',
    clusterCredential({ namespaceSelector: { matchLabels: { gpu: true } } }),
    'spec.namespaceSelector.matchLabels.gpu: Invalid value: "boolean": spec.namespaceSelector.matchLabels.gpu in body must be of type string: "boolean"',
  ],
  [
    'labels of a selector that no object can have',
    clusterCredential({ namespaceSelector: { matchLabels: { 'a b': 'c', d: 'e f' } } }),
    `spec.namespaceSelector.matchLabels: Invalid value: ${A_LABEL_KEY}`,
    `spec.namespaceSelector.matchLabels: Invalid value: ${A_LABEL_VALUE}`,
  ],
  [
    'requirements of a selector that no object can meet',
    policy({
      podSelector: {
        matchExpressions: [
          { key: 'Example.com/a', operator: 'Exists' },
          { key: 'a', operator: 'In', values: ['-'] },
        ],
      },
    }),
    `spec.podSelector.matchExpressions[0].key: Invalid value: "Example.com/a": ${A_LABEL_KEY}`,
    `spec.podSelector.matchExpressions[1].values[0]: Invalid value: "-": ${A_LABEL_VALUE}`,
  ],
  [
    'too many labels of a selector',
    clusterCredential({
      namespaceSelector: {
        matchLabels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ''])),
      },
    }),
    'spec.namespaceSelector.matchLabels: Too many: 65: must have at most 64 items',
  ],
  [
    'an unknown operator',
    clusterCredential({ namespaceSelector: { matchExpressions: [{ key: 'a', operator: 'Is' }] } }),
    'spec.namespaceSelector.matchExpressions[0].operator: Unsupported value: "Is": supported values: "In", "NotIn", "Exists", "DoesNotExist"',
  ],
  [
    'a selector as Services write it',
    policy({ podSelector: { app: 'train' } }),
    'unknown field "spec.podSelector.app"',
  ],
  [
    'a policy without selector',
    policy({ namespaceSelector: ABSENT }),
    'spec.namespaceSelector: Required value',
  ],
  [
    'a policy that names nothing',
    policy({ credentials: [] }),
    'spec.credentials: Invalid value: 0: spec.credentials in body should have at least 1 items',
  ],
  [
    'a policy that names what cannot exist',
    policy({ credentials: ['a', 'team/b'] }),
    'spec.credentials[1]: Invalid value: "team/b": write the credential as NAME or cluster/NAME',
  ],
  [
    'a policy that names what no object can be called',
    policy({ credentials: ['a..b', 'cluster/a.-b'] }),
    'spec.credentials[0]: Invalid value: "a..b": write the credential as NAME or cluster/NAME',
    'spec.credentials[1]: Invalid value: "cluster/a.-b": write the credential as NAME or cluster/NAME',
  ],
  [
    'a service account that no object can be called',
    credential({ allowedServiceAccounts: ['a..b'] }),
    'spec.allowedServiceAccounts[0]: Invalid value: "a..b": write only the NAME of the service account: it is of the same namespace',
  ],
  [
    'an unknown enforcement',
    policy({ enforcement: 'Always' }),
    'spec.enforcement: Unsupported value: "Always": supported values: "Enforce", "Default"',
  ],
  [
    'a service account of another namespace',
    credential({ allowedServiceAccounts: ['team/a'] }),
    'spec.allowedServiceAccounts[0]: Invalid value: "team/a": write only the NAME of the service account: it is of the same namespace',
  ],

  [
    'a service account with two slashes',
    clusterCredential({ allowedServiceAccounts: ['a/b/c'] }),
    'spec.allowedServiceAccounts[0]: Invalid value: "a/b/c": write the service account as NAME or NAMESPACE/NAME',
  ],
  [
    'an unknown failurePolicy',
    policy({ failurePolicy: 'Warn' }),
    'spec.failurePolicy: Unsupported value: "Warn": supported values: "Fail", "Ignore"',
  ],
  ['a policy without enforcement', policy({ enforcement: ABSENT }), 'spec.enforcement: Required value'],
  [
    'a policy that names one credential as text',
    policy({ credentials: 'wandb-credentials' }),
    'spec.credentials: Invalid value: "string": spec.credentials in body must be of type array: "string"',
  ],

  // Several at once
  [
    'unknown fields here and there',
    credential({ foo: 1, rotation: { restarts: 'Never' } }, { baz: 1 }),
    'unknown field "baz"',
    'unknown field "spec.foo"',
    'unknown field "spec.rotation.restarts"; did you mean "restart"?',
  ],
  [
    'everything that is wrong',
    credential({ type: 'env', foo: 1, secretRef: { name: 'X' } }),
    `spec.secretRef.name: Invalid value: "X": spec.secretRef.name in body should match '^${SUBDOMAIN}$'`,
    'spec.type: Unsupported value: "env": supported values: "environment", "file", "dockerRegistry"',
    'unknown field "spec.foo"',
  ],
  [
    'rules wait for the values that they read, not for others',
    file({ description: 5, mountPath: 'a' }),
    'spec.description: Invalid value: "integer": spec.description in body must be of type string: "integer"',
    'spec.mountPath: Invalid value: "a": mountPath must be absolute: write it from the root, such as /root/.ssh',
  ],
]

export const RIGHT: Row[] = [
  ['the smallest credential', credential({})],
  [
    'a status, which nobody reads',
    credential(
      {},
      { status: { observedGeneration: 1, keys: ['A'], usedBy: { pods: 1, workloads: 1, names: ['Job/a'] } } },
    ),
  ],
  ['null stands for absent', file({ description: null, files: [{ key: 'a', path: null }], mode: null })],
  ['null in a map stands for absent', clusterCredential({ namespaceSelector: { matchLabels: { a: null } } })],
  [
    'metadata of a stored object',
    named({ name: 'a', uid: 'x', managedFields: [], annotations: { a: 'b' }, labels: null }),
  ],
  ['a key with a leading dot', file({ files: [{ key: '.netrc' }] })],
  ['dates with an offset and fractions', credential({ expiresAt: '2027-01-01T00:00:00.5+02:00' })],
  ['length is counted in characters', credential({ description: '😀'.repeat(1024) })],
  [
    'a selector with every operator',
    clusterCredential({
      namespaceSelector: {
        matchLabels: { 'kubernetes.io/metadata.name': 'team', empty: '' },
        matchExpressions: [
          { key: 'example.com/A_b.c', operator: 'In', values: ['1', ''] },
          { key: 'a', operator: 'NotIn', values: ['x'] },
          { key: 'b', operator: 'Exists' },
          { key: 'c', operator: 'DoesNotExist', values: [] },
        ],
      },
    }),
  ],
  ['a Windows path', file({ mountPath: 'C:\\keys' })],
  ['a policy for all pods', policy({})],
  ['a name of 242 characters', clusterCredential({}, 'a'.repeat(242))],
  ['service accounts of other namespaces', clusterCredential({ allowedServiceAccounts: ['a', 'team/b'] })],
]
