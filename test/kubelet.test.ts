import { describe, expect, test } from 'vitest'
import { validatePod, withDefaults } from './support/apiserver.ts'
import {
  type ContainerObject,
  canRead,
  expand,
  type NamespaceContent,
  observe,
  type PodObject,
  processUser,
} from './support/kubelet.ts'

const content: NamespaceContent = {
  secrets: {
    s: { A: 'a-of-s', B: 'b-of-s' },
    t: { A: 'a-of-t', 'x.y': 'dotted' },
    keys: { id: 'key', pub: 'public' },
  },
  configMaps: { c: { A: 'a-of-c', C: 'c-of-c' } },
}

const pod = (container: Partial<ContainerObject>, spec: Partial<PodObject['spec']> = {}): PodObject => ({
  spec: { containers: [{ name: 'main', ...container }], ...spec },
})
const see = (container: Partial<ContainerObject>, spec: Partial<PodObject['spec']> = {}) => {
  const view = observe(pod(container, spec), content).containers.main
  if (view === undefined) throw new Error('the container is not in the view')
  return view
}

describe('the environment', () => {
  test('later envFrom wins over earlier, with prefixes, and env over both', () => {
    const { env, waits } = see({
      envFrom: [
        { secretRef: { name: 's' } },
        { secretRef: { name: 't' } },
        { prefix: 'P_', configMapRef: { name: 'c' } },
      ],
      env: [{ name: 'B', value: 'own' }],
    })
    expect(env).toEqual({ A: 'a-of-t', B: 'own', 'x.y': 'dotted', P_A: 'a-of-c', P_C: 'c-of-c' })
    expect(waits).toEqual([])
  })

  test('the last of several entries of one name wins, and a valueless entry is an empty text', () => {
    const env = [{ name: 'X', value: '1' }, { name: 'E' }, { name: 'X', value: '$(X)2' }]
    expect(see({ env }).env).toEqual({ X: '12', E: '' })
  })

  test('$(NAME) sees envFrom and earlier entries only', () => {
    const env = [
      { name: 'EARLY', value: '$(A)-$(LATE)-$(NOWHERE)-$$(A)-$A-$(' },
      { name: 'LATE', value: 'late' },
      { name: 'AFTER', value: '$(LATE)' },
    ]
    expect(see({ env, envFrom: [{ secretRef: { name: 's' } }] }).env).toMatchObject({
      EARLY: 'a-of-s-$(LATE)-$(NOWHERE)-$(A)-$A-$(',
      AFTER: 'late',
    })
  })

  test('the values of secrets are not expanded', () => {
    const tricky: NamespaceContent = { secrets: { s: { A: '$(B)$$' } }, configMaps: {} }
    const view = observe(
      pod({ env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 's', key: 'A' } } }] }),
      tricky,
    )
    expect(view.containers.main?.env.X).toBe('$(B)$$')
  })

  test.each([
    ['$$$$(A)', '$$(A)'],
    ['$$$(A)', '$1'],
    ['$($(A))', '$($(A))'],
    ['cost: 5$', 'cost: 5$'],
    ['$()', '$()'],
  ])('%s expands to %s', (text, result) => {
    expect(expand(text, new Map([['A', '1']]))).toBe(result)
  })

  test('a missing reference holds the container up, unless it is optional', () => {
    const missing = see({
      envFrom: [{ secretRef: { name: 'none' } }, { configMapRef: { name: 'none', optional: true } }],
      env: [
        { name: 'K', valueFrom: { secretKeyRef: { name: 's', key: 'none' } } },
        { name: 'O', valueFrom: { configMapKeyRef: { name: 'c', key: 'none', optional: true } } },
      ],
    })
    expect(missing.waits).toEqual(['secret none not found', 'secret s has no key none'])
    expect(missing.env).toEqual({})
  })

  test('an optional reference that is missing leaves an earlier value', () => {
    const optional = { name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'none', optional: true } } }
    expect(see({ envFrom: [{ secretRef: { name: 's' } }], env: [optional] }).env.A).toBe('a-of-s')
  })
})

describe('files', () => {
  const volumes = [
    { name: 'all', secret: { secretName: 'keys', defaultMode: 0o400 } },
    {
      name: 'both',
      projected: {
        sources: [
          { secret: { name: 'keys', items: [{ key: 'id', path: 'sub/id', mode: 0o400 }] } },
          { configMap: { name: 'c', items: [{ key: 'A', path: 'a' }] } },
        ],
      },
    },
    { name: 'empty', emptyDir: {} },
  ]

  test('secret and projected volumes with items and modes', () => {
    const volumeMounts = [
      { name: 'all', mountPath: '/all/', readOnly: true },
      { name: 'both', mountPath: '/both' },
    ]
    const view = see({ volumeMounts }, { volumes })
    expect(view.files).toEqual({
      '/all/id': { content: 'key', mode: '0400 root:root' },
      '/all/pub': { content: 'public', mode: '0400 root:root' },
      '/both/sub/id': { content: 'key', mode: '0400 root:root' },
      '/both/a': { content: 'a-of-c', mode: '0644 root:root' },
    })
    expect(view.readOnly).toEqual({ '/all/': true, '/both': false })
  })

  test('fsGroup adds the group and its right to read; Windows has no modes', () => {
    const volumeMounts = [{ name: 'all', mountPath: '/k' }]
    expect(see({ volumeMounts }, { volumes, securityContext: { fsGroup: 200 } }).files['/k/id']?.mode).toBe(
      '0440 root:200',
    )
    const windows = see(
      { volumeMounts: [{ name: 'all', mountPath: 'C:\\k/' }] },
      { volumes, os: { name: 'windows' } },
    )
    expect(windows.files['C:\\k\\id']).toEqual({ content: 'key' })
  })

  test('a mount hides what lies at and below its path, whatever the order of the list', () => {
    const volumeMounts = [
      { name: 'empty', mountPath: '/k/sub' },
      { name: 'both', mountPath: '/k' },
    ]
    expect(Object.keys(see({ volumeMounts }, { volumes }).files)).toEqual(['/k/a'])
    const upsideDown = [
      { name: 'empty', mountPath: '/k' },
      { name: 'both', mountPath: '/k/inner' },
    ]
    expect(Object.keys(see({ volumeMounts: upsideDown }, { volumes }).files)).toEqual([
      '/k/inner/sub/id',
      '/k/inner/a',
    ])
  })

  test('a mount at `..data` takes the files that are links through it, and no others', () => {
    const mounts = (mountPath: string) => [
      { name: 'both', mountPath: '/k' },
      { name: 'all', mountPath: '/k/more', subPath: 'id' },
      { name: 'empty', mountPath },
    ]
    for (const mountPath of ['/k/..data', '/k/..data/a'])
      expect(Object.keys(see({ volumeMounts: mounts(mountPath) }, { volumes }).files)).toEqual(['/k/more'])
  })

  test('a sub-path is one file or one folder of the volume', () => {
    const volumeMounts = [
      { name: 'all', mountPath: '/etc/id', subPath: 'id' },
      { name: 'both', mountPath: '/keys', subPathExpr: '$(DIR)' },
    ]
    const view = see({ volumeMounts, env: [{ name: 'DIR', value: 'sub' }] }, { volumes })
    expect(Object.keys(view.files).sort()).toEqual(['/etc/id', '/keys/id'])
  })

  test('a missing secret or key of any mounted volume holds all containers up', () => {
    const broken = [
      { name: 'v', secret: { secretName: 'none' } },
      {
        name: 'w',
        projected: { sources: [{ secret: { name: 'keys', items: [{ key: 'none', path: 'n' }] } }] },
      },
      { name: 'unused', secret: { secretName: 'also-none' } },
    ]
    const view = observe(
      {
        spec: {
          volumes: broken,
          containers: [
            { name: 'a', volumeMounts: ['v', 'w', 'x'].map((name) => ({ name, mountPath: `/${name}` })) },
            { name: 'b' },
          ],
        },
      },
      content,
    )
    const why = ['secret none not found', 'secret keys has no key none', 'volume x does not exist']
    expect(view.containers.a?.waits).toEqual(why)
    expect(view.containers.b?.waits).toEqual(why)
  })

  test('one path cannot be a file and a folder', () => {
    const items = [
      { key: 'id', path: 'a' },
      { key: 'pub', path: 'a/b' },
    ]
    const clash = [{ name: 'v', secret: { secretName: 'keys', items } }]
    expect(see({ volumeMounts: [{ name: 'v', mountPath: '/k' }] }, { volumes: clash }).waits).toEqual([
      'volume v: a is a file, and a folder for a/b',
    ])
  })

  test.each([
    ['the container before the pod', { runAsUser: 0 }, { runAsUser: 1000 }, 'root'],
    ['the pod when the container is silent', {}, { runAsUser: 1000 }, 'non-root'],
    ['runAsNonRoot', { runAsNonRoot: true }, {}, 'non-root'],
    [
      'runAsNonRoot false takes the pod’s true back',
      { runAsNonRoot: false },
      { runAsNonRoot: true },
      'unknown',
    ],
    ['nothing', {}, {}, 'unknown'],
  ])('who runs the process: %s', (_, own, ofPod, user) => {
    const given = pod({ securityContext: own }, { securityContext: ofPod })
    expect(processUser(given, given.spec.containers[0] as ContainerObject)).toBe(user)
  })

  test.each([
    ['0400 root:root', 'root', true],
    ['0400 root:root', 'non-root', false],
    ['0440 root:root', 'non-root', false],
    ['0440 root:200', 'non-root', true],
    ['0444 root:root', 'non-root', true],
  ] as const)('a file %s is readable for %s: %s', (mode, user, readable) => {
    expect(canRead(user, { content: '', mode })).toBe(readable)
  })
})

test('init containers are containers, and pull secrets are listed by name', () => {
  const view = observe(
    {
      spec: {
        initContainers: [{ name: 'init' }],
        containers: [{ name: 'main' }],
        imagePullSecrets: [{ name: 'p' }],
      },
    },
    content,
  )
  expect(Object.keys(view.containers)).toEqual(['init', 'main'])
  expect(view.imagePullSecrets).toEqual(['p'])
})

describe('the API server', () => {
  test('adds its defaults and leaves empty values out', () => {
    const before = pod(
      { env: [{ name: 'A', value: '' }], envFrom: null, volumeMounts: [] },
      { volumes: [{ name: 'v', projected: { sources: [] } }, { name: 'w' }], nodeSelector: null },
    )
    const copy = structuredClone(before)
    const { spec } = withDefaults(before)
    expect(before).toEqual(copy)
    expect(spec.volumes).toEqual([
      { name: 'v', projected: { defaultMode: 420 } },
      { name: 'w', emptyDir: {} },
    ])
    expect(spec.containers[0]).toMatchObject({ env: [{ name: 'A' }], terminationMessagePolicy: 'File' })
    expect(Object.keys(spec.containers[0] ?? {})).not.toContain('envFrom')
    expect(withDefaults(withDefaults(before))).toEqual(withDefaults(before))
  })

  test('takes a valid pod', () => {
    const valid = pod(
      {
        env: [{ name: 'any name but equals' }],
        envFrom: [{ prefix: 'P_', secretRef: { name: 's' } }],
        volumeMounts: [{ name: 'v', mountPath: '/v' }],
      },
      {
        volumes: [{ name: 'v', secret: { secretName: 's', items: [{ key: 'A', path: 'x/a', mode: 256 }] } }],
      },
    )
    expect(validatePod(valid)).toEqual([])
  })

  const projected = (...paths: string[]) => ({
    volumes: [
      {
        name: 'v',
        projected: { sources: paths.map((path) => ({ secret: { name: 's', items: [{ key: 'A', path }] } })) },
      },
    ],
  })
  test.each<[string, PodObject, string]>([
    [
      'a mount path twice',
      pod(
        { volumeMounts: ['/m', '/m'].map((mountPath) => ({ name: 'v', mountPath })) },
        { volumes: [{ name: 'v' }] },
      ),
      'mountPath /m is used twice',
    ],
    [
      'a volume name twice',
      pod({}, { volumes: [{ name: 'v' }, { name: 'v' }] }),
      'volume name v is used twice',
    ],
    ['a mount of no volume', pod({ volumeMounts: [{ name: 'v', mountPath: '/m' }] }), 'there is no volume v'],
    ['one path in two sources', pod({}, projected('a', 'a')), 'path a is used twice'],
    ['a path with dots', pod({}, projected('..data')), 'path "..data" has ".."'],
    ['an absolute path', pod({}, projected('/a')), 'path "/a" is not relative'],
    ['a long volume name', pod({}, { volumes: [{ name: 'v'.repeat(64) }] }), 'not a DNS label'],
    [
      'two sources in a volume',
      pod({}, { volumes: [{ name: 'v', emptyDir: {}, secret: { secretName: 's' } }] }),
      'more than one source',
    ],
    ['a variable with "="', pod({ env: [{ name: 'A=B' }] }), 'variable name "A=B" is not valid'],
    [
      'value and valueFrom',
      pod({ env: [{ name: 'A', value: 'x', valueFrom: { secretKeyRef: { name: 's', key: 'A' } } }] }),
      'has value and valueFrom',
    ],
    [
      'a reference without key',
      pod({ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's' } } }] }),
      'without a valid name and key',
    ],
    ['an envFrom without source', pod({ envFrom: [{ prefix: 'x' }] }), 'must have one source'],
    [
      'a mode beyond 0777',
      pod({}, { volumes: [{ name: 'v', secret: { secretName: 's', defaultMode: 600 } }] }),
      'mode 600 is not within',
    ],
    [
      'an annotation that is no text',
      { metadata: { annotations: { a: 1 as unknown as string } }, spec: { containers: [] } },
      'annotation a is not text',
    ],
  ])('refuses %s', (_, invalid, sentence) => {
    expect(validatePod(invalid)).toEqual([expect.stringContaining(sentence)])
  })
})
