/** What holds for every pod, catalogue and annotation. Random worlds come from support/worlds.ts. */
import fc from 'fast-check'
import { apply_patch as applyPatch } from 'jsonpatch'
import { describe, expect, test } from 'vitest'
import type { PatchOperation, Pod } from '../src/api/pod.ts'
import { DENIALS, LEFT_ALONE, WARNINGS } from '../src/api/reasons.ts'
import { validateManifest } from '../src/api/validate.ts'
import { denialMessage, inject, type Outcome, podShapeProblem, presentWarnings } from '../src/inject/index.ts'
import { excludedNamespaces } from '../src/store/memory.ts'
import { validatePod, withDefaults } from './support/apiserver.ts'
import { everyContainer, observe, type PodObject } from './support/kubelet.ts'
import { whatWasLost } from './support/preserved.ts'
import { promisesBroken, requestOf } from './support/promises.ts'
import { NAMESPACE, storeOf, type World, world } from './support/worlds.ts'

const NOW = Date.parse('2026-11-23T12:00:00Z')

/** The seed is fixed by FC_SEED, to repeat a failure; each failure prints the one that it was found with. */
const RUNS: fc.Parameters<unknown> = {
  numRuns: 500,
  ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }),
}
const always = <T>(arbitrary: fc.Arbitrary<T>, check: (value: T) => void, numRuns = RUNS.numRuns) =>
  fc.assert(
    fc.property(arbitrary, (value) => void check(value)),
    { ...RUNS, numRuns } as fc.Parameters<[T]>,
  )

function run(given: World, pod: PodObject = given.pod): Outcome {
  expect(podShapeProblem(pod)).toBeUndefined()
  return inject({
    pod: pod as Pod,
    view: storeOf(given).view(NAMESPACE),
    excludedNamespaces: excludedNamespaces('credential-injector'),
    now: NOW,
  })
}

const resultOf = (outcome: Outcome, pod: PodObject): PodObject =>
  outcome.kind === 'Injected' ? applyPatch(structuredClone(pod), outcome.patch) : pod
const changes = (outcome: Outcome) =>
  outcome.kind === 'Injected' ? outcome.patch : outcome.kind === 'Denied' ? outcome.problems : []

const WHERE_PATCHES_GO =
  /^(\/metadata(\/annotations(\/credentials\.run\.ai~1injected)?)?|\/spec\/(volumes|imagePullSecrets)(\/(\d+|-))?|\/spec\/(initContainers|containers)\/\d+\/(env|envFrom|volumeMounts)(\/(\d+|-))?(\/(value|valueFrom))?)$/
/** What is added to the pod's volumes. */
function volumesIn(patch: readonly PatchOperation[]): any[] {
  return patch.flatMap((operation) =>
    operation.path.startsWith('/spec/volumes') && operation.op !== 'remove' ? operation.value : [],
  )
}

describe('for every world', () => {
  test('the worlds are ones that a cluster would take', () => {
    always(
      world,
      ({ credentials, clusterCredentials, pod }) => {
        const manifests = [
          ...Object.entries(credentials).map(([name, spec]) => ({
            kind: 'Credential',
            metadata: { name, namespace: NAMESPACE },
            spec,
          })),
          ...Object.entries(clusterCredentials).map(([name, spec]) => ({
            kind: 'ClusterCredential',
            metadata: { name },
            spec,
          })),
        ]
        for (const manifest of manifests)
          expect(
            validateManifest(JSON.parse(JSON.stringify({ apiVersion: 'run.ai/v1', ...manifest }))),
          ).toEqual([])
        expect(validatePod(pod)).toEqual([])
      },
      200,
    )
  })

  test('the pod is only read, its result is valid, and nothing of it is lost', () => {
    always(world, (given) => {
      const before = structuredClone(given.pod)
      const outcome = run(given)
      expect(given.pod).toEqual(before)
      const result = resultOf(outcome, given.pod)
      expect(validatePod(result)).toEqual([])
      const wins = given.pod.metadata?.annotations?.['credentials.run.ai/on-conflict'] === 'CredentialWins'
      expect(whatWasLost(before, result, () => wins)).toEqual([])
    })
  })

  test('a patch reaches variables, mounts, volumes, pull secrets and our record, and nothing that gives a container rights', () => {
    let patches = 0
    always(world, (given) => {
      const outcome = run(given)
      if (outcome.kind !== 'Injected') return
      patches += outcome.patch.length
      for (const { op, path } of outcome.patch) {
        expect(path).toMatch(WHERE_PATCHES_GO)
        // With CredentialWins another source takes its place.
        if (op === 'remove') expect(path).toMatch(/\/env\/\d+\/(value|valueFrom)$/)
      }
      for (const volume of volumesIn(outcome.patch)) {
        expect(Object.keys(volume).sort()).toEqual(['name', 'projected'])
        for (const source of volume.projected.sources) expect(Object.keys(source)).toEqual(['secret'])
      }
    })
    expect(patches).toBeGreaterThan(100)
  })

  test('twice is once, also with defaults and with what other webhooks add', () => {
    always(world, (given) => {
      const outcome = run(given)
      if (outcome.kind === 'Denied') return
      const result = resultOf(outcome, given.pod)
      for (const next of [
        result,
        withDefaults(result),
        withOthers(given, result),
        withOthers(given, withDefaults(result)),
      ])
        expect(run(given, next)).toMatchObject({ kind: 'LeftAlone', credentials: outcome.credentials })
    })
  })

  test('the name of the pod does not matter', () => {
    always(world, (given) => {
      const named = {
        ...given.pod,
        metadata: { ...given.pod.metadata, name: undefined, generateName: 'other-' },
      }
      expect(changes(run(given, named))).toEqual(changes(run(given)))
    })
  })

  test('it does not matter whether other webhooks come before or after', () => {
    always(world, (given) => {
      const first = run(given)
      const last = run(given, withOthers(given, given.pod))
      expect(last.kind).toBe(first.kind)
      const see = (pod: PodObject) => observe(pod, given.content)
      if (first.kind === 'Injected')
        expect(see(resultOf(last, withOthers(given, given.pod)))).toEqual(
          see(withOthers(given, resultOf(first, given.pod))),
        )
    })
  })

  test('defaults of the API server change nothing', () => {
    always(world, (given) => {
      const first = run(given)
      const last = run(given, withDefaults(given.pod))
      expect(last.kind).toBe(first.kind)
      const see = (pod: PodObject) => observe(pod, given.content)
      if (first.kind === 'Injected')
        expect(see(resultOf(last, withDefaults(given.pod)))).toEqual(see(resultOf(first, given.pod)))
    })
  })

  test('every promise is kept: own values, named credentials, policies', () => {
    always(
      world,
      (given) => {
        const outcome = run(given)
        if (
          outcome.kind === 'Denied' ||
          (outcome.kind === 'LeftAlone' && outcome.reason !== 'AlreadyInjected')
        )
          return
        expect(promisesBroken(given, resultOf(outcome, given.pod), outcome)).toEqual([])
      },
      2000,
    )
  })

  test('a denial has its ground', () => {
    always(
      world,
      (given) => {
        const outcome = run(given)
        const { named, enforced, mode } = requestOf(given)
        const files = named.filter(({ spec }) => spec.type === 'file')
        const mounts = everyContainer(given.pod).flatMap(({ volumeMounts }) => volumeMounts ?? [])
        const grounds: Partial<Record<string, boolean>> = {
          EnvConflict: named.length > 1 || (named.length > 0 && mode === 'Reject'),
          EnvFromConflict: named.length > 0 && mode === 'Reject',
          FileConflict: files.length > 1,
          MountPathConflict: files.length > 0 && mounts.length > 0,
          PolicyConflict: enforced.length > 0,
        }
        const reasons = outcome.kind === 'Denied' ? outcome.problems.map(({ reason }) => reason) : []
        expect(reasons.filter((reason) => grounds[reason] === false)).toEqual([])
      },
      1000,
    )
  })

  test('what is said is short, comes from the catalogue of reasons, and holds no value of a secret', () => {
    always(world, (given) => {
      const outcome = run(given)
      const shown = presentWarnings(outcome.warnings)
      for (const text of shown) expect([...text].length).toBeLessThanOrEqual(120)
      expect(shown.join('').length).toBeLessThanOrEqual(4096)
      for (const { reason } of outcome.warnings) expect(Object.keys(WARNINGS)).toContain(reason)
      if (outcome.kind === 'LeftAlone') expect(Object.keys(LEFT_ALONE)).toContain(outcome.reason)
      if (outcome.kind === 'Denied') {
        expect(outcome.problems.length).toBeGreaterThan(0)
        for (const { reason } of outcome.problems) expect(Object.keys(DENIALS)).toContain(reason)
        expect(Buffer.byteLength(denialMessage(outcome.problems))).toBeLessThan(8192)
      }
      expect(JSON.stringify([outcome, outcome.kind === 'Denied' || outcome.grants()])).not.toContain(
        'secret value of',
      )
    })
  })
})

describe('for every JSON value as a pod', () => {
  const parts = [
    'metadata',
    'annotations',
    'spec',
    'containers',
    'initContainers',
    'env',
    'envFrom',
    'volumes',
    'volumeMounts',
    'name',
    'mountPath',
    'valueFrom',
    'secretRef',
    'projected',
    'sources',
    'securityContext',
    'imagePullSecrets',
    'credentials.run.ai/inject',
  ]
  const odd = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'medium' },
      fc.jsonValue({ maxDepth: 0 }),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...parts), tie('value'), { maxKeys: 5 }),
    ),
  })).value

  test('the answer is a sentence or an outcome, never a throw', () => {
    always(fc.tuple(odd, world), ([pod, given]) => shaped(given, pod))
  })

  test('a pod with one odd part is answered too', () => {
    always(fc.tuple(odd, world, fc.nat()), ([value, given, seed]) => {
      const pod = structuredClone(given.pod)
      replaceSomewhere(pod, value, seed)
      shaped(given, pod)
    })
  })

  function shaped(given: World, pod: unknown): void {
    const problem = podShapeProblem(pod)
    if (problem !== undefined) {
      expect(problem).toMatch(/\w+ \w+/)
      return
    }
    const outcome = inject({
      pod: pod as Pod,
      view: storeOf(given).view(NAMESPACE),
      excludedNamespaces: new Set(),
      now: NOW,
    })
    expect(['Injected', 'Denied', 'LeftAlone']).toContain(outcome.kind)
    if (outcome.kind === 'Injected') applyPatch(structuredClone(pod), outcome.patch)
  }
})

/** Puts the value in the place of one of the parts of an object, chosen by the number. */
function replaceSomewhere(root: object, value: unknown, seed: number): void {
  const places: [Record<string, unknown>, string][] = []
  const collect = (object: Record<string, unknown>): void => {
    for (const [key, item] of Object.entries(object)) {
      places.push([object, key])
      if (typeof item === 'object' && item !== null) collect(item as Record<string, unknown>)
    }
  }
  collect(root as Record<string, unknown>)
  const place = places[seed % places.length]
  if (place) place[0][place[1]] = value
}

/** What other webhooks may add. A source of variables at the end would win over an enforced policy, so not where there is one. */
function withOthers(given: World, pod: PodObject): PodObject {
  const mayAddSource = requestOf(given).enforced.length === 0
  const other = structuredClone(pod)
  other.metadata = {
    ...other.metadata,
    labels: { ...other.metadata?.labels, other: 'yes' },
    annotations: { ...other.metadata?.annotations, 'example.com/other': 'yes' },
  }
  other.spec.volumes = [...(other.spec.volumes ?? []), { name: 'other', emptyDir: {} }]
  for (const container of everyContainer(other)) {
    container.env = [...(container.env ?? []), { name: 'ANOTHER', value: 'x' }]
    const source = { configMapRef: { name: 'other', optional: true } }
    if (mayAddSource) container.envFrom = [...(container.envFrom ?? []), source]
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name: 'other', mountPath: '/of-another-webhook' },
    ]
  }
  return other
}
