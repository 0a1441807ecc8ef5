import { rmSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { type Injected, injectManifests } from '../../src/cli/inject-manifests.ts'
import { readYaml } from '../../src/cli/kubernetes-yaml.ts'
import { reportAsText } from '../../src/cli/report.ts'
import { openFolder } from '../../src/store/folder.ts'
import { excludedNamespaces } from '../../src/store/memory.ts'
import { CATALOG, temporaryFolder } from './catalog.ts'

const folder = temporaryFolder(CATALOG)
afterAll(() => rmSync(folder, { recursive: true }))
const { store } = openFolder(folder, { watch: false })

function run(...texts: string[]): Injected {
  const manifests = texts.map((text, index) => ({ file: `${index}.yaml`, text }))
  const settings = {
    store,
    namespace: 'runai-team-a',
    excludedNamespaces: excludedNamespaces('credential-injector'),
    now: 0,
  }
  return injectManifests(manifests, settings)
}

const ALL = 'wandb-listed, git-ssh-credentials, dockerhub-credentials'

/** Manifests as people and programs write them. */
const STYLES: Record<string, string> = {
  'as kubectl prints it': `apiVersion: v1
kind: Pod
metadata:
  annotations:
    credentials.run.ai/inject: ${ALL}
  creationTimestamp: null
  name: train
spec:
  containers:
  - env:
    - name: A
      value: "1"
    image: busybox
    name: main
    resources: {}
  dnsPolicy: ClusterFirst
status: {}
`,
  'lists indented by two': `apiVersion: v1
kind: Pod
metadata:
  name: train
  annotations:
    credentials.run.ai/inject: ${ALL}
spec:
  containers:
    - name: main
      image: busybox
      env:
        - name: A
          value: "1"
      volumeMounts:
        - name: data
          mountPath: /data
  volumes:
    - name: data
      emptyDir: {}
`,
  'indented by four, with wide dashes': `apiVersion: v1
kind: Pod
metadata:
    name: train
    annotations:
        credentials.run.ai/inject: ${ALL}
spec:
    containers:
    -   name: main
        image: busybox
        env:
        -   name: A
            value: "1"
    imagePullSecrets:
    -   name: mine
`,
  'commented everywhere': `# A pod.

# It trains.
apiVersion: v1    # core
kind: Pod         # bare
metadata:
  # its name
  name: train     # not unique
  annotations:    # for people
    # what it needs
    credentials.run.ai/inject: ${ALL} # from the catalogue
    # end of annotations
# what runs
spec:
  # one container
  containers:
  # the main one
  - name: main    # name
    # its image
    image: busybox   # small
    # variables
    env:
    # the first
    - name: A     # A
      value: "1"  # one
      # - name: B
      #   value: "2"
    # end of main
  # end of containers
  restartPolicy: Never
# the end
`,
  'odd spacing, quotes and folds': `---
apiVersion:   'v1'
"kind":   "Pod"
metadata: {name: 'train', annotations: {
  "credentials.run.ai/inject": "${ALL}",
  }, labels:   { a: b }}
spec:


  containers:

  - name:    main

    image: >-
      busybox
    command: ["sh",   '-c', "a
      b"]
    args:
    - |
      set -e   # no comment

      # neither
      run
    - plain text
      over two lines
    number: 1_000
    octal: 0400
    nothing: ~
    yes: no


...
`,
  'mixed list styles': `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      annotations:
        credentials.run.ai/inject: ${ALL}
    spec:
      initContainers:
        - name: init
      containers:
      - name: main
        ports:
          - containerPort: 80
        env:
          - name: A
            value: "1"
`,
  'Windows line ends':
    'apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: train\r\n  annotations:\r\n    credentials.run.ai/inject: wandb-listed\r\nspec:\r\n  containers:\r\n  - name: main # c\r\n',
  'without a line break at the end': `kind: Pod
apiVersion: v1
metadata:
  annotations:
    credentials.run.ai/inject: wandb-credentials
spec:
  containers:
  - name: main
    args:
    - x`,
  'a template engine’s blank lines and separators': `

---
# Source: chart/templates/empty.yaml

---
# Source: chart/templates/job.yaml
apiVersion: batch/v1
kind: Job
metadata:
  name: "job"
spec:
  template:

    metadata:

      annotations:

        credentials.run.ai/inject: "wandb-credentials"

    spec:

      containers:

        - name: "main"

          image: "busybox:latest"


---
# Source: chart/templates/service.yaml
apiVersion: v1
kind:  Service
metadata: {name:   x}

`,
  'a List': `apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: cron}
  spec:
    schedule: "*/5 * * * *"
    jobTemplate:
      spec:
        template:
          metadata:
            annotations:
              credentials.run.ai/inject: wandb-credentials
          spec:
            containers:
            - name: main
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: x}
  data:
    a: |
      kind: Pod
- apiVersion: v1
  kind: Pod
  metadata:
    name: train
    annotations:
      credentials.run.ai/inject: wandb-credentials
  spec:
    containers:
    - name: main
`,
  'an Argo Rollout between directives': `%YAML 1.1
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: web
spec:
  strategy: {canary: {steps: [{setWeight: 20}]}}
  template:
    metadata:
      annotations:
        credentials.run.ai/inject: wandb-credentials
    spec:
      containers:
      - name: main
...
%TAG ! tag:example.com,2000:
---
a: !b c
`,
  'block scalars at the end': `apiVersion: v1
kind: Pod
metadata:
  annotations:
    credentials.run.ai/inject: |
      wandb-credentials,
      git-ssh-credentials
  name: train
spec:
  containers:
  - name: main
    args:
    - |+
      text

    - >-
      folded
      text
`,
  'anchors and merges that no change touches': `x-common: &common
  image: busybox
  resources: &res {limits: {cpu: 1}}
apiVersion: v1
kind: Pod
metadata:
  name: train
  annotations: &notes
    credentials.run.ai/inject: wandb-credentials
spec:
  containers:
  - <<: *common
    name: main
  - name: side
    resources: *res
    <<: *common
`,
}

describe('a diff shows additions only', () => {
  test.each(Object.entries(STYLES))('%s', (_title, text) => {
    const { output, report } = run(text)
    expect(report.errors).toEqual([])
    expect(report.pods.map(({ outcome }) => outcome)).toContain('Injected')
    expect(missingIn(linesOf(text), linesOf(output ?? ''))).toEqual([])
    expect(run(output ?? '').output).toBe(output)
  })
})

/** Lines that do not occur again, in this order. */
function missingIn(before: string[], after: string[]): string[] {
  let next = 0
  return before.filter((line) => {
    const index = after.indexOf(line, next)
    if (index >= 0) next = index + 1
    return index < 0
  })
}

const linesOf = (text: string) => text.split('\n')

const pod = (annotations: string, rest = '') => `apiVersion: v1
kind: Pod
metadata:
  name: train
  annotations:
    credentials.run.ai/inject: ${annotations}
spec:
  containers:
  - name: main
${rest}`

test('shared containers get what each of them should, and no more', () => {
  const text = pod(
    'wandb-credentials',
    '    env: &env\n    - {name: A, value: "1"}\n  - name: side\n    env: *env\n',
  ).replace('inject: wandb-credentials', 'inject: wandb-listed\n    credentials.run.ai/containers: side')
  const { output } = run(text)
  const value = readYaml(output ?? '').documents[0]?.value as {
    spec: { containers: { env: { name: string }[] }[] }
  }
  const names = value.spec.containers.map(({ env }) => env.map(({ name }) => name))
  expect(names).toEqual([['A'], ['WANDB_API_KEY', 'WANDB_MODE', 'A']])
})

test('what no pod is in passes through byte for byte', () => {
  const text = '%YAML 1.1\n---\na:   {b: &x 1}   # c\r\n...\n---\n\n--- |\n text\n---\n{"a": [1, ]}\n'
  expect(run(text)).toMatchObject({ output: text, report: { outcome: 'Done', pods: [], otherObjects: 2 } })
  expect(run('').output).toBe('')
})

test('several files become one stream', () => {
  const texts = ['a: 1', '---\nb: 2\n', '{"c": 3}\n', '', '%YAML 1.1\n---\nd: 4\n', pod('wandb-credentials')]
  const { output } = run(...texts)
  expect(output).toContain('a: 1\n---\nb: 2\n---\n{"c": 3}\n...\n%YAML 1.1\n---\nd: 4\n---\napiVersion: v1\n')
  expect(readYaml(output ?? '').documents.map(({ value }) => Object.keys(value as object)[0])).toEqual([
    'a',
    'b',
    'c',
    'd',
    'apiVersion',
  ])
})

test('one refused pod holds back everything, and the report names every conflict of every pod', () => {
  const { output, report } = run(pod('nope'), pod('wandb-credentials'), pod('neither, nor'))
  expect(output).toBeUndefined()
  expect(report.outcome).toBe('Refused')
  expect(
    report.pods.map(({ file, line, outcome, conflicts }) => [
      file,
      line,
      outcome,
      conflicts.map(({ reason }) => reason),
    ]),
  ).toEqual([
    ['0.yaml', 1, 'Denied', ['CredentialNotFound']],
    ['1.yaml', 1, 'Injected', []],
    ['2.yaml', 1, 'Denied', ['CredentialNotFound', 'CredentialNotFound']],
  ])
})

test('conflicts name the field in the object, with a remedy', () => {
  const template = {
    metadata: { annotations: { 'credentials.run.ai/inject': 'nope' } },
    spec: { containers: [{ name: 'main' }] },
  }
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: { template },
  }
  const { report } = run(`\n# c\n${JSON.stringify(deployment)}`)
  expect(report.pods[0]).toMatchObject({
    kind: 'Deployment',
    name: 'web',
    namespace: 'runai-team-a',
    line: 3,
  })
  expect(report.pods[0]?.conflicts[0]).toMatchObject({
    field: 'spec.template.metadata.annotations[credentials.run.ai/inject]',
    remedy: expect.stringContaining('Correct the name'),
  })
})

test('pods of the cluster’s own namespaces are left alone', () => {
  const { report } = run(pod('nope').replace('name: train', 'name: train\n  namespace: kube-system'))
  expect(report.pods[0]).toMatchObject({ outcome: 'LeftAlone', reason: 'ExcludedNamespace' })
})

test('the items of a List have their own lines', () => {
  const { report } = run(STYLES['a List'] as string)
  expect(report.pods.map(({ line }) => line)).toEqual([4, 24])
})

test.each([
  [
    'a wrong shape',
    pod('wandb-credentials', '    env: hunter2\n'),
    1,
    'Pod train: spec.containers[0].env is not a list',
  ],
  ['no YAML', `${pod('wandb-credentials')}---\na: [hunter2\n`, 12, 'this is not valid YAML: '],
])('%s fails with its line, and quotes nothing', (_title, text, line, message) => {
  const { output, report } = run(pod('wandb-credentials'), text)
  expect(output).toBeUndefined()
  expect(report).toMatchObject({
    outcome: 'Failed',
    errors: [{ file: '1.yaml', line, message: expect.stringContaining(message) }],
  })
  expect(JSON.stringify(report)).not.toContain('hunter2')
})

test('what names credentials in an unknown place is passed on, and the report says so', () => {
  const text = `kind: ConfigMap
apiVersion: v1
---
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: { name: train }
spec:
  pytorchReplicaSpecs:
    Worker: { template: { metadata: { annotations: { credentials.run.ai/inject: wandb-listed } } } }
`
  const { output, report } = run(text)
  expect(output).toBe(text)
  expect(report.unreached).toEqual([
    { file: '0.yaml', line: 4, message: expect.stringContaining('PyTorchJob train names credentials where') },
  ])
  const shown = reportAsText(report, { paint: (_, part) => part, quiet: false })
  expect(shown).toContain('not reached 0.yaml:4: PyTorchJob train')
})
