/** Every folder of fixtures/inject through every door, judged by its effect. See fixtures/README.md. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import type { Store } from '../src/api/catalog.ts'
import { DENIALS, LEFT_ALONE, WARNINGS } from '../src/api/reasons.ts'
import { injectManifests } from '../src/cli/inject-manifests.ts'
import { denialMessage, type Outcome, presentWarnings } from '../src/inject/index.ts'
import { validatePod, withDefaults } from './support/apiserver.ts'
import { type ApiServerClient, apiServerClient, reviewOf } from './support/client.ts'
import {
  type Case,
  caseNames,
  catalogOf,
  type Door,
  EXCLUDED,
  type Expectation,
  effectOf,
  expectedEffect,
  golden,
  loadCase,
  openCatalog,
  patched,
  renderPod,
  renderReport,
  runEngine,
  secretValues,
  UPDATE_COMMAND,
  writeCatalog,
} from './support/fixtures.ts'
import { everyContainer, type PodObject } from './support/kubelet.ts'
import { whatWasLost } from './support/preserved.ts'
import { type RunningServer, startServer, writeFolder } from './support/server.ts'
import { type OpenWebhook, openWebhook } from './support/webhook.ts'

const root = mkdtempSync(join(tmpdir(), 'credential-injector-fixtures-'))
afterAll(() => rmSync(root, { recursive: true }))

const cases = caseNames().map((name) => loadCase(name))
const folders = new Map(cases.map((fixture) => [fixture.name, writeCatalog(fixture, root)]))
const stores = new Map(cases.map((fixture) => [fixture.name, openCatalog(folderOf(fixture))]))
const through = (door: Door) =>
  cases
    .filter(({ request }) => request.doors.includes(door))
    .map((fixture) => [fixture.name, fixture] as const)

function folderOf({ name }: Case): string {
  return folders.get(name) as string
}

function storeOf({ name }: Case): Store {
  return stores.get(name) as Store
}

describe.each(through('engine'))('engine: %s', (_, fixture) => {
  const { effect, pod } = fixture
  const original = structuredClone(pod)
  const outcome = runEngine(fixture, storeOf(fixture))
  const result = patched(pod, outcome)

  test('the outcome is as judged', () => {
    expect(titleOf(outcome), effect.about).toBe(effect.outcome)
    expect(pod).toEqual(original)
    matchExpectations(outcome.warnings, effect.warnings)
    matchExpectations(outcome.kind === 'Denied' ? outcome.problems : [], effect.problems)
    if (outcome.kind === 'Denied')
      for (const { field } of outcome.problems) expect(isIn(pod, field), field).toBe(true)
    if (effect.sameAnswer) expectSameAnswer(outcome, effect.sameAnswer)
  })

  test('the effect is as judged', () => {
    const actual = effectOf(result, fixture)
    if (effect.containers || outcome.kind === 'Injected')
      expect(actual).toEqual(expectedEffect(fixture, actual))
    if (effect.injected)
      expect(result.metadata?.annotations?.['credentials.run.ai/injected']).toBe(effect.injected)
    if (effect.noModes) expect(JSON.stringify(result.spec.volumes)).not.toMatch(/mode/i)
    if (fixture.request.apiValidation) expect(validatePod(result)).toEqual([])
    const volumes = addedVolumes(pod, result)
    expect(volumes).toHaveLength(effect.addedVolumes ?? volumes.length)
    for (const volume of volumes) {
      expect(Object.keys(volume)).toEqual(['name', 'projected'])
      expect(volume.name).toMatch(/^credential-[0-9a-f]+$/)
    }
    expect(JSON.stringify(patchOf(outcome))).not.toContain('"optional"')
    for (const mount of addedMounts(pod, result))
      expect(mount).toEqual({ name: mount.name, mountPath: mount.mountPath, readOnly: true })
  })

  test('nothing of the pod is lost, and no value of a secret shows', () => {
    expect(whatWasLost(pod, result, (_, variable) => wasReplaced(outcome, variable))).toEqual([])
    for (const { path } of patchOf(outcome))
      expect(filledLists(pod), 'written anew as a whole').not.toContain(path)
    expectNoSecret(
      fixture,
      outcome.kind === 'Denied' ? [outcome, denialMessage(outcome.problems)] : [outcome, outcome.grants()],
    )
  })

  test('a second round changes nothing', () => {
    const enforced = [...storeOf(fixture).view(fixture.request.namespace).policies].some(
      ({ spec }) => spec.enforcement === 'Enforce',
    )
    const inputs =
      outcome.kind === 'Denied'
        ? []
        : [
            result,
            withDefaults(result),
            withOthers(result, enforced),
            withOthers(withDefaults(result), enforced),
          ]
    for (const input of inputs) {
      const again = runEngine(fixture, storeOf(fixture), input)
      expect(again).toMatchObject({ kind: 'LeftAlone', credentials: outcome.credentials })
    }
  })

  test('the golden files are up to date', () => {
    const stale = `run \`${UPDATE_COMMAND}\`, and read the difference`
    expect(golden(fixture, 'report.txt'), stale).toBe(renderReport(outcome))
    expect(golden(fixture, 'expected.yaml'), stale).toBe(
      outcome.kind === 'Injected' ? renderPod(result) : undefined,
    )
  })
})

describe('https', () => {
  let current: Store
  let webhook: OpenWebhook

  beforeAll(async () => {
    webhook = await openWebhook({ store: { view: (namespace) => current.view(namespace) } })
  })
  afterEach(() => void vi.useRealTimers())
  afterAll(() => webhook.close())

  test.each(through('https'))('%s', async (_, fixture) => {
    const { pod, request } = fixture
    current = storeOf(fixture)
    vi.useFakeTimers({ toFake: ['Date'], now: new Date(request.now) })
    const review = reviewOf(pod, request.namespace)
    const { operation } = request
    const answer = await webhook.client.post(
      JSON.stringify({ ...review, request: { ...review.request, operation } }),
    )
    expect(answer.status).toBe(200)
    const { response } = answer.json()
    if (operation === 'CREATE') expectAnswerOf(runEngine(fixture, current), response)
    else
      expect(response).toMatchObject({ allowed: true, auditAnnotations: { outcome: fixture.effect.outcome } })
    if (operation !== 'CREATE') expect(response).not.toHaveProperty('patch')
    expectNoSecret(fixture, [answer.text, response, patchIn(response)])
  })
})

describe('command line', () => {
  test.each(through('cli'))('%s', (_, fixture) => {
    const { podText, pod, request } = fixture
    const { output, report } = injectManifests([{ file: 'pod.yaml', text: podText }], {
      store: storeOf(fixture),
      namespace: request.namespace,
      excludedNamespaces: EXCLUDED,
      now: Date.parse(request.now),
    })
    expectReportOf(runEngine(fixture, storeOf(fixture)), pod, output, report)
    expectNoSecret(fixture, report)
  })
})

/** The program itself, once: with all cases of the seed document in one folder, which one cluster could hold as well. */
describe('as processes', () => {
  const seeds = cases.filter(({ name }) => name.startsWith('seed-'))
  let server: RunningServer
  let client: ApiServerClient

  beforeAll(async () => {
    server = await startServer(writeFolder({ 'catalog.yaml': catalogOf(seeds) }))
    client = apiServerClient(server)
  })
  afterAll(async () => {
    client.close()
    await server.stop()
  })

  test.each(seeds.map((fixture) => [fixture.name, fixture] as const))('serve: %s', async (_, fixture) => {
    expectAnswerOf(
      runEngine(fixture, storeOf(fixture)),
      await client.createPod(fixture.pod, fixture.request.namespace),
    )
  })

  test.each(['seed-temporary-override', 'many-three-problems', 'left-not-annotated'])(
    'inject: %s',
    async (name) => {
      const fixture = loadCase(name)
      const program = fileURLToPath(new URL('../bin/kubectl-credential.js', import.meta.url))
      const pod = join(fixture.folder, 'pod.yaml')
      const args = [
        'inject',
        '-f',
        pod,
        '--catalog',
        folderOf(fixture),
        '-n',
        fixture.request.namespace,
        '--report',
        'json',
      ]
      const { stdout, stderr } = await run(process.execPath, [program, ...args])
      expectReportOf(
        runEngine(fixture, storeOf(fixture)),
        fixture.pod,
        stdout || undefined,
        JSON.parse(stderr),
      )
    },
  )
})

describe('the fixtures themselves', () => {
  test('every reason occurs in one of them', () => {
    const seen = new Set(
      cases.flatMap(({ effect }) => [
        effect.outcome,
        ...reasonsOf(effect.warnings),
        ...reasonsOf(effect.problems),
      ]),
    )
    const reasons = [DENIALS, WARNINGS, LEFT_ALONE].flatMap((table) => Object.keys(table))
    expect(reasons.filter((reason) => !seen.has(reason))).toEqual([])
  })

  test('a folder that is incomplete or has something that nothing reads is refused', () => {
    const files = { 'pod.yaml': 'kind: Pod', 'catalog.yaml': '', 'effect.yaml': 'outcome: Injected' }
    const write = (name: string, changed: Record<string, string | undefined>) => {
      mkdirSync(join(root, name))
      for (const [file, text] of Object.entries({ ...files, ...changed }))
        if (text !== undefined) writeFileSync(join(root, name, file), text)
      return () => loadCase(name, root)
    }
    expect(write('no-effect', { 'effect.yaml': undefined })).toThrow('no-effect has no effect.yaml')
    expect(write('other-file', { 'expcted.yaml': '' })).toThrow(
      'other-file/expcted.yaml is no file of a case',
    )
    expect(write('other-key', { 'effect.yaml': 'warning: []' })).toThrow('nothing reads the key warning')
    expect(write('complete', {})).not.toThrow()
  })
})

function patchOf(outcome: Outcome) {
  return outcome.kind === 'Injected' ? outcome.patch : []
}

function titleOf(outcome: Outcome): string {
  return outcome.kind === 'LeftAlone' ? outcome.reason : outcome.kind
}

// ---- The doors -------------------------------------------------------------------------------------------------------

type Answer = { patch?: string; warnings?: string[] } & Record<string, unknown>

/** The response of an AdmissionReview must say what the engine says. */
function expectAnswerOf(outcome: Outcome, response: Answer): void {
  expect(response.allowed).toBe(outcome.kind !== 'Denied')
  expect(patchIn(response)).toEqual(outcome.kind === 'Injected' ? outcome.patch : undefined)
  expect(response.warnings ?? []).toEqual(presentWarnings(outcome.warnings))
  expect(response.auditAnnotations).toMatchObject({
    outcome:
      outcome.credentials.length > 0
        ? titleOf(outcome).replace('AlreadyInjected', 'Injected')
        : titleOf(outcome),
  })
  if (outcome.kind !== 'Denied') return
  const causes = outcome.problems.map(({ reason, field, message }) => ({ reason, field, message }))
  expect(response.status).toMatchObject({
    code: 403,
    message: denialMessage(outcome.problems),
    details: { causes },
  })
}

function patchIn({ patch }: Answer): unknown {
  return patch === undefined ? undefined : JSON.parse(Buffer.from(patch, 'base64').toString())
}

/** What the command line prints and reports must be what the engine says. */
function expectReportOf(
  outcome: Outcome,
  pod: PodObject,
  output: string | undefined,
  report: ReturnType<typeof injectManifests>['report'],
): void {
  expect(report).toMatchObject({ errors: [], pods: [{ outcome: outcome.kind }] })
  const [{ reason, grants, warnings, conflicts }] = report.pods as [(typeof report.pods)[0]]
  const said = ({ reason, message }: { reason: string; message: string }) => ({ reason, message })
  expect(warnings.map(said)).toEqual(outcome.warnings.map(said))
  expect(conflicts.map(said)).toEqual(outcome.kind === 'Denied' ? outcome.problems.map(said) : [])
  expect(reason).toBe(outcome.kind === 'LeftAlone' ? outcome.reason : undefined)
  if (outcome.kind === 'Denied') {
    expect(output).toBeUndefined()
  } else {
    expect(JSON.parse(JSON.stringify(grants))).toEqual(JSON.parse(JSON.stringify(outcome.grants())))
    expect(parse(output as string)).toEqual(patched(pod, outcome))
  }
}

/** Whatever the exit code is. */
function run(program: string, args: string[]): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { env: { ...process.env, NO_COLOR: '1' } }, (_, stdout, stderr) =>
      resolve({ stdout, stderr }),
    )
  })
}

// ---- Single checks ---------------------------------------------------------------------------------------------------

/** Each finding must be expected, and each expectation be met, one by one and in any order. */
function matchExpectations(
  findings: { reason: string; message: string }[],
  expectations: Expectation[] = [],
): void {
  const missing = expectations.flatMap((expectation) => Object.entries(expectation))
  const unexpected = findings.filter(({ reason, message }) => {
    const met = missing.findIndex(
      ([wanted, texts]) => wanted === reason && [texts].flat().every((text) => message.includes(text)),
    )
    if (met >= 0) missing.splice(met, 1)
    return met < 0
  })
  expect({ unexpected, missing }).toEqual({ unexpected: [], missing: [] })
}

function reasonsOf(expectations: Expectation[] = []): string[] {
  return expectations.flatMap((expectation) => Object.keys(expectation))
}

function expectNoSecret(fixture: Case, shown: unknown): void {
  const text = JSON.stringify(shown)
  for (const value of secretValues(fixture)) expect(text).not.toContain(JSON.stringify(value).slice(1, -1))
}

/** The sentences for several names must be one sentence but for the name: nothing tells which of them exists. */
function expectSameAnswer(outcome: Outcome, names: string[]): void {
  const messages = outcome.kind === 'Denied' ? outcome.problems.map(({ message }) => message) : []
  const neutral = names.map((name) =>
    messages.find((message) => message.includes(name))?.replaceAll(name, 'NAME'),
  )
  expect(neutral[0]).toBeDefined()
  expect(new Set(neutral).size).toBe(1)
}

/** Whether a field such as `spec.containers[0].env[2]` or `metadata.annotations[a/b]` is in the pod. */
function isIn(pod: PodObject, field: string): boolean {
  let value: unknown = pod
  for (const [, name, key] of field.matchAll(/([A-Za-z]+)|\[([^\]]*)\]/g)) {
    if (typeof value !== 'object' || value === null) return false
    value = (value as Record<string, unknown>)[name ?? key ?? '']
  }
  return value !== undefined
}

/** JSON pointers of all lists and maps that the patch may only add to. */
function filledLists({ metadata, spec }: PodObject): string[] {
  const lists = (at: string, object: object, names: string[]) =>
    Object.entries(object)
      .filter(([name, value]) => names.includes(name) && Object.keys(value ?? {}).length > 0)
      .map(([name]) => `${at}/${name}`)
  return [
    ...lists('/metadata', metadata ?? {}, ['annotations', 'labels']),
    ...lists('/spec', spec, ['volumes', 'imagePullSecrets', 'containers', 'initContainers']),
    ...(['containers', 'initContainers'] as const).flatMap((list) =>
      (spec[list] ?? []).flatMap((container, index) =>
        lists(`/spec/${list}/${index}`, container, ['env', 'envFrom', 'volumeMounts']),
      ),
    ),
  ]
}

function wasReplaced({ warnings }: Outcome, variable: string): boolean {
  const replaced = warnings.filter(
    ({ reason }) => reason === 'CredentialOverrides' || reason === 'PolicyOverrides',
  )
  return replaced.some(({ message }) => message.includes(variable))
}

function addedVolumes(before: PodObject, after: PodObject) {
  const own = new Set((before.spec.volumes ?? []).map(({ name }) => name))
  return (after.spec.volumes ?? []).filter(({ name }) => !own.has(name))
}

function addedMounts(before: PodObject, after: PodObject) {
  const own = new Set((before.spec.volumes ?? []).map(({ name }) => name))
  return everyContainer(after).flatMap(({ volumeMounts }) =>
    (volumeMounts ?? []).filter(({ name }) => !own.has(name)),
  )
}

/** What other webhooks may add to a pod between two rounds. A source at the end may only be added where no policy must win. */
function withOthers(pod: PodObject, enforced: boolean): PodObject {
  const other = structuredClone(pod)
  other.metadata = { ...other.metadata, labels: { ...other.metadata?.labels, 'example.com/seen': 'yes' } }
  other.spec.volumes = [...(other.spec.volumes ?? []), { name: 'of-another-webhook', emptyDir: {} }]
  for (const container of everyContainer(other)) {
    container.env = [...(container.env ?? []), { name: 'OF_ANOTHER_WEBHOOK', value: 'x' }]
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name: 'of-another-webhook', mountPath: '/other' },
    ]
    if (!enforced)
      container.envFrom = [...(container.envFrom ?? []), { configMapRef: { name: 'of-another-webhook' } }]
  }
  return other
}
