import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { makeCertificates } from '../../../certs/make.ts'
import type { CredentialSpec } from '../../../src/api/schema.ts'
import { HEALTH_CHECKS, type HealthFault } from '../../../src/controller/status/health-checks.ts'
import { inspect } from '../../../src/controller/status/inspect.ts'
import { planStatus } from '../../../src/controller/status/plan.ts'
import { base64, CANARY, dockerConfig, encryptedPemKey, opensshKey, pemKey } from '../../support/secrets.ts'

const KEY = Buffer.alloc(32, 7)
const SECRET_REF = { secretRef: { name: 's' } }
const VARIABLES: CredentialSpec = { ...SECRET_REF, type: 'environment' }
const FILES: CredentialSpec = { ...SECRET_REF, type: 'file', mountPath: '/a' }
const LOGIN: CredentialSpec = { ...SECRET_REF, type: 'dockerRegistry' }

type Values = Record<string, string | Buffer>

function report(spec: CredentialSpec, values: Values, type?: string) {
  const content = new Map(Object.entries(values).map(([key, value]) => [key, Buffer.from(value as string)]))
  const usual = spec.type === 'dockerRegistry' ? 'kubernetes.io/dockerconfigjson' : 'Opaque'
  return inspect(spec, { namespace: 'team', name: 's', type: type ?? usual, content }, KEY)
}

/** `EmptyValue A` */
function faults(spec: CredentialSpec, values: Values, type?: string): string[] {
  return report(spec, values, type).faults.map(({ reason, keys }) => `${reason} ${keys.join(' ')}`)
}

const { cert, key: certKey } = await makeCertificates()
const DOCKER = '.dockerconfigjson'
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
})
const crlf = (text: string) => text.replaceAll('\n', '\r\n')

const CASES: [title: string, spec: CredentialSpec, values: Values, expected: string[]][] = [
  ['a good variable', VARIABLES, { A: 'b64c6f2e9d1f' }, []],
  ['an empty value', VARIABLES, { A: '', B: 'b' }, ['EmptyValue A']],
  ['only listed keys count', { ...VARIABLES, variables: [{ name: 'B' }] }, { A: '', B: 'b' }, []],
  ['a plain value is no key', { ...VARIABLES, variables: [{ name: 'A', value: '' }] }, { A: '' }, []],
  [
    'a variable under another name',
    { ...VARIABLES, variables: [{ name: 'X', key: 'A' }] },
    { A: '' },
    ['EmptyValue A'],
  ],

  ...[
    '<api-key>',
    '<your-wandb-api-key>',
    'hf_<token>',
    'your-actual-api-key',
    'YOUR_API_KEY',
    'changeme',
    'change-me',
    'CHANGE_IT',
    'xxxx',
    'hf_xxxxxxxx',
    'hf_xxxxxxxxxxxxxxxxxx',
    'sk-xxxxxxxx',
    'AKIA...',
    '********',
    'TODO',
    '\x24{TOKEN}',
    '{{ .Values.token }}',
    'insert-your-key-here',
    'AKIAIOSFODNN7EXAMPLE',
    '<password>\n',
    'replace_me',
    'postgres://ml:<password>@db:5432/ml',
    'postgres://<user>:<password>@db.company.com:5432/ml?sslmode=require',
    '<your-token>',
    '<REDACTED>',
    '<your-s3-key>',
    'Bearer <token>',
    'sk-ant-xxxxxxxxxxxx',
    'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx',
    'hf_****abcd',
    'yourtoken',
    '"YOUR_TOKEN_HERE"',
    'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  ].map((value): (typeof CASES)[number] => [`placeholder ${value}`, FILES, { A: value }, ['Placeholder A']]),
  ...[
    'admin',
    'test',
    'ml_user',
    'us-west-2',
    'https://mlflow.company.com',
    'hf_AbCdEfGhIjKlMnOpQr',
    'none-of-your-business',
    'your',
    'postgres://ml:p<ss>word@db',
    'example',
    'AKIA2E0A8F3B244C9986',
    '2f1a4e5b6c7d8e9f0a1b2c3d4e5f60718293a4b5',
    'wJalrXUtnFEMIK7MDENGbPxRfiCY',
    'Acme Support <support@keyworks.com>',
    'Acme <key@keyworks.com>',
    '<david@x.org>',
    'kP3<9zIdq>Lm',
    'P<id>x',
    '<9zIdq>',
    '(?<user>…)',
    '(?P<user>.)',
    '(?<user>[a-z]+)',
    '<https://api.company.com/v1/token>',
    'none',
    'null',
    'undefined',
    'Zm9vxxxxxxxxYmFyMTIzNDU2Nzg5MA',
    '0 **** cron',
    'THIS_IS_NO_EXAMPLE',
    'your-secret-garden-of-roses',
    `your${'a'.repeat(480)}`,
    `your-${'key-'.repeat(100)}!`,
    'a...b',
    '/workspace/.cache/huggingface',
    '5432',
    '<settings><user>a</user></settings>',
  ].map((value): (typeof CASES)[number] => [`no placeholder ${value}`, VARIABLES, { A: value }, []]),

  ['base64 twice', FILES, { a: base64(opensshKey()) }, ['EncodedTwice a']],
  ['a login in base64 twice', VARIABLES, { A: base64(dockerConfig('a.com')) }, ['EncodedTwice A']],
  ['what says that it is base64', VARIABLES, { GCP_KEY_B64: base64('{"private_key": "a"}') }, []],
  ['half of PEM in base64', VARIABLES, { A: base64(pemKey().slice(0, 100)) }, []],
  [
    'tokens that are base64 of text',
    VARIABLES,
    {
      ELASTICSEARCH: base64('VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw'),
      GRAFANA: base64('{"k":"T2hVaXhXelZDRTJuN0pKZ0x2UXQ","n":"ci","id":1}'),
      BASIC: base64('robot:correct horse battery'),
      JWT: `${base64('{"alg":"HS256"}')}.${base64('{"sub":"robot"}')}.c2lnbmF0dXJl`,
      OTHER: base64('hf_AbCdEfGhIjKlMnOp'),
    },
    [],
  ],
  [
    'base64 twice, with line breaks',
    FILES,
    { 'a.json': `${base64('{"type": "service_account", "a": 1}').replace(/.{20}/g, '$&\n')}\n` },
    ['EncodedTwice a.json'],
  ],
  [
    'a key that is base64 of bytes',
    VARIABLES,
    { A: Buffer.from('fb0c1ee2a19a7733c1f50e88aa10bbcd', 'hex').toString('base64') },
    [],
  ],
  [
    'keys of a service that are base64 of text',
    { ...VARIABLES, service: 'ngc' },
    { A: base64('bm9uZXN1Y2g6a2V5') },
    [],
  ],
  ['a word of letters', VARIABLES, { A: 'passwordpassword' }, []],

  ['a zero byte as variable', VARIABLES, { A: 'a\0b' }, ['NotText A']],
  ['other bytes as variable', VARIABLES, { A: Buffer.from([0xff, 0xfe, 0x41]) }, ['NotText A']],
  ['bytes as file', FILES, { A: Buffer.from([0xff, 0, 0x41]) }, []],
  ['text beyond ASCII', VARIABLES, { A: 'pässwörd' }, []],
  ['a byte order mark', FILES, { 'a.json': '\ufeff{}' }, ['ByteOrderMark a.json']],

  ['JSON', FILES, { 'a.json': '{"a": 1}\n' }, []],
  ['broken JSON', FILES, { 'a.json': '{"a": 1' }, ['InvalidJson a.json']],
  ['JSON by the service', { ...FILES, service: 'gcp' }, { key: 'no' }, ['InvalidJson key']],
  ['an empty file is said once', FILES, { 'a.json': '' }, ['EmptyValue a.json']],
  ['a placeholder is said once', FILES, { 'a.json': '<service-account-key>' }, ['Placeholder a.json']],

  ['an OpenSSH key', FILES, { id_rsa: opensshKey(), id_ed25519_sk: opensshKey() }, []],
  ['what only begins like one', FILES, { id_token: 'eyJhbGciOiJub25lIn0.e30.', id_deploy: 'a' }, []],
  ['a PEM key', FILES, { id_ecdsa: pemKey() }, []],
  ['ssh-privatekey', FILES, { 'ssh-privatekey': 'a' }, ['InvalidPrivateKey ssh-privatekey']],
  ['the public key in its place', FILES, { id_rsa: 'ssh-rsa AAAAB3Nza a@b\n' }, ['InvalidPrivateKey id_rsa']],
  ['half a key', FILES, { id_rsa: opensshKey().slice(0, 200) }, ['InvalidPrivateKey id_rsa']],
  [
    'a key with a hole',
    FILES,
    { id_rsa: opensshKey().replace(/\n.{70}\n/, '\n') },
    ['InvalidPrivateKey id_rsa'],
  ],
  ['a key as one line', FILES, { id_rsa: opensshKey().replaceAll('\n', ' ') }, ['InvalidPrivateKey id_rsa']],
  [
    'a PEM key of nonsense',
    FILES,
    { 'tls.key': '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n' },
    ['InvalidPrivateKey tls.key'],
  ],
  [
    'any name for git-ssh',
    { ...FILES, service: 'git-ssh' },
    {
      deploy: 'a',
      'deploy.pub': 'b',
      known_hosts: 'c',
      config: 'd',
      gitconfig: 'e',
      ssh_known_hosts: 'f',
      '.gitconfig': 'g',
    },
    ['InvalidPrivateKey deploy'],
  ],
  ['files beside a key', FILES, { 'id_rsa.pub': 'ssh-rsa AAAA a@b\n', known_hosts: 'h ssh-rsa A\n' }, []],
  [
    'a passphrase',
    FILES,
    { id_ed25519: opensshKey({ cipher: 'aes256-ctr' }) },
    ['EncryptedPrivateKey id_ed25519'],
  ],
  ['a passphrase in PEM', FILES, { 'a.pem': encryptedPemKey() }, ['EncryptedPrivateKey a.pem']],
  [
    'line ends of Windows',
    FILES,
    { id_rsa: crlf(opensshKey()), id_ecdsa: crlf(pemKey()) },
    ['WindowsLineEnds id_rsa'],
  ],
  [
    'line ends of Windows where nobody minds',
    FILES,
    {
      'tls.key': crlf(certKey),
      'tls.crt': crlf(cert),
      'key.json': crlf(JSON.stringify({ type: 'service_account', private_key: pemKey() }, null, 2)),
    },
    [],
  ],
  ['line ends of Windows elsewhere', FILES, { config: 'a\r\nb\r\n' }, []],
  [
    'no final line break',
    FILES,
    { id_rsa: opensshKey().trimEnd(), id_ecdsa: pemKey().trimEnd() },
    ['NoFinalLineBreak id_rsa'],
  ],

  ['a certificate', FILES, { 'tls.crt': cert, 'tls.key': certKey, 'ca.pem': cert }, []],
  ['no certificate', FILES, { 'tls.crt': 'a', 'a.pem': 'b' }, ['InvalidPem a.pem tls.crt']],
  ['a certificate cut off', FILES, { 'a.pem': cert.slice(0, -30) }, ['InvalidPem a.pem']],
  [
    'a key and a certificate of another',
    FILES,
    { 'tls.crt': cert, 'tls.key': other },
    ['KeyOfAnotherCertificate tls.key'],
  ],

  [
    'a login',
    { ...LOGIN, registry: 'registry.company.com' },
    { [DOCKER]: dockerConfig('registry.company.com') },
    [],
  ],
  ['a login without spec.registry', LOGIN, { [DOCKER]: dockerConfig('a') }, []],
  [
    'Docker Hub under another name',
    { ...LOGIN, registry: 'docker.io' },
    { [DOCKER]: dockerConfig('https://index.docker.io/v1/') },
    [],
  ],
  [
    'a login for all below',
    { ...LOGIN, registry: 'eu.company.com' },
    { [DOCKER]: dockerConfig('*.company.com') },
    [],
  ],
  [
    'a registry with its path',
    { ...LOGIN, registry: 'a.com/team' },
    { [DOCKER]: dockerConfig('https://a.com') },
    [],
  ],
  [
    'a registry with a path of several lines',
    { ...LOGIN, registry: 'a.com' },
    { [DOCKER]: dockerConfig(`a.com${'/'.repeat(50_000)}\n/`) },
    [],
  ],
  [
    'another registry',
    { ...LOGIN, registry: 'a.com' },
    { [DOCKER]: dockerConfig('b.com') },
    [`RegistryMissing ${DOCKER}`],
  ],
  ['user and password apart', LOGIN, { [DOCKER]: '{"auths":{"a":{"username":"u","password":"p"}}}' }, []],
  ['no JSON', LOGIN, { [DOCKER]: '{' }, [`InvalidRegistryLogin ${DOCKER}`]],
  ['no auths', { ...LOGIN, registry: 'a' }, { [DOCKER]: '{}' }, [`InvalidRegistryLogin ${DOCKER}`]],
  [
    'the old form in the new place',
    LOGIN,
    { [DOCKER]: '{"a":{"username":"u","password":"p"}}' },
    [`InvalidRegistryLogin ${DOCKER}`],
  ],
  [
    'auth without a password',
    LOGIN,
    { [DOCKER]: `{"auths":{"a":{"auth":"${base64('user')}"}}}` },
    [`InvalidRegistryLogin ${DOCKER}`],
  ],
  [
    'auth that is no base64',
    LOGIN,
    { [DOCKER]: '{"auths":{"a":{"auth":"user:password"}}}' },
    [`InvalidRegistryLogin ${DOCKER}`],
  ],
  [
    'a login with a placeholder',
    LOGIN,
    { [DOCKER]: dockerConfig('a', 'u', '<password>') },
    [`Placeholder ${DOCKER}`],
  ],

  ['echo', VARIABLES, { A: 'a\n', B: 'b\r\n', C: 'c' }, ['TrailingLineBreak A B']],
  [
    'several lines as variable',
    VARIABLES,
    {
      SSH: opensshKey(),
      SSH_TRIMMED: opensshKey().trimEnd(),
      PEM: pemKey(),
      JSON: '{\n  "a": 1\n}\n',
      BLANKS: '\n{\n  "a": 1\n}\n\n',
    },
    [],
  ],
  ['a line break in a file', FILES, { A: 'a\n' }, []],
  ['a variable that is a file too', { ...FILES, variables: [{ name: 'A' }] }, { A: 'a\n' }, []],
  [
    'a variable beside files',
    { ...FILES, files: [{ key: 'f' }], variables: [{ name: 'A' }] },
    { A: 'a\n', f: 'f\n' },
    ['TrailingLineBreak A'],
  ],
  ['blanks', VARIABLES, { A: ' a', B: 'b\t', C: 'c d' }, ['SurroundingBlanks A B']],
  ['a blank and a line break', VARIABLES, { A: 'a \n' }, ['TrailingLineBreak A', 'SurroundingBlanks A']],
]

test.each(CASES)('%s', (_title, spec, values, expected) => {
  expect(faults(spec, values)).toEqual(expected)
})

test('a login of the old type', () => {
  const old = '{"a.com":{"username":"u","password":"p"}}'
  expect(faults({ ...LOGIN, registry: 'a.com' }, { '.dockercfg': old }, 'kubernetes.io/dockercfg')).toEqual(
    [],
  )
  expect(faults(LOGIN, { '.dockercfg': dockerConfig('a') }, 'kubernetes.io/dockercfg')).toEqual([
    'InvalidRegistryLogin .dockercfg',
  ])
})

test('of a secret of the wrong type nothing else is said', () => {
  expect(faults(LOGIN, { A: '' }, 'Opaque')).toEqual([])
})

test('every check is found by one of the cases', () => {
  const found = new Set(CASES.flatMap(([, , , expected]) => expected.map((fault) => fault.split(' ')[0])))
  expect([...found].sort()).toEqual(Object.keys(HEALTH_CHECKS).sort())
})

describe('no part of a value is ever said', () => {
  const mark = CANARY
  const wrapped = fc.constantFrom<(text: string) => string>(
    (text) => text,
    (text) => ` ${text}\n`,
    (text) => `\ufeff${text}`,
    (text) => base64(text),
    (text) => `<${text}-key>`,
    (text) => `{"${text}": `,
    (text) => `{"auths":{"${text}.com":{"auth":"${base64(text)}"}}}`,
    (text) => `{"auths":{"${text}.com":{"auth":"${base64(`${text}:${text}`)}"}}}`,
    (text) => `-----BEGIN ${text}-----\n${text}\n-----END ${text}-----\n`,
    (text) => `-----BEGIN OPENSSH PRIVATE KEY-----\n${text}\n`,
  )
  const key = fc.constantFrom('A', 'a.json', 'id_rsa', 'tls.key', 'tls.crt', 'ca.pem', DOCKER)
  const values = fc.dictionary(
    key,
    fc.tuple(wrapped, fc.string()).map(([wrap, text]) => wrap(`${mark}${text}`)),
    { minKeys: 1 },
  )
  const spec = fc.constantFrom(VARIABLES, FILES, LOGIN, { ...LOGIN, registry: 'a.com' })

  test('by any spec for any content', () => {
    fc.assert(
      fc.property(spec, values, (itsSpec, its) => {
        const secret = report(itsSpec, its)
        const plan = planStatus({
          spec: itsSpec,
          generation: 1,
          namespace: 'team',
          before: undefined,
          secret,
          now: 0,
        })
        const text = JSON.stringify([secret, plan])
        expect(text).not.toContain(mark)
        expect(text).not.toContain(base64(mark).slice(0, 12))
      }),
      { numRuns: 500 },
    )
  })
})

describe('the revision', () => {
  const of = (values: Values, name = 's', key = KEY) =>
    inspect(
      VARIABLES,
      {
        namespace: 'team',
        name,
        type: 'Opaque',
        content: new Map(Object.entries(values).map(([k, v]) => [k, Buffer.from(v as string)])),
      },
      key,
    ).revision

  test('is the same for the same content in any order', () => {
    expect(of({ A: '1', B: '2' })).toBe(of({ B: '2', A: '1' }))
    expect(of({ A: '1' })).toMatch(/^[0-9a-f]{16}$/)
  })

  test.each<[string, string]>([
    ['another value', of({ A: '2' })],
    ['another key', of({ B: '1' })],
    ['one more key', of({ A: '1', B: '' })],
    ['parts that join to the same text', of({ A1: '' })],
    ['another secret', of({ A: '1' }, 'other')],
    ['another key of revisions', of({ A: '1' }, 's', Buffer.alloc(32, 8))],
  ])('is another one for %s', (_title, revision) => {
    expect(revision).not.toBe(of({ A: '1' }))
  })
})

test('the faults are in the order of their gravity, and their keys by name', () => {
  const found = report(VARIABLES, { Z: 'z\n', B: '', A: '', C: '<key>' }).faults
  expect(found).toEqual<{ reason: HealthFault; keys: string[] }[]>([
    { reason: 'EmptyValue', keys: ['A', 'B'] },
    { reason: 'Placeholder', keys: ['C'] },
    { reason: 'TrailingLineBreak', keys: ['Z'] },
  ])
})

describe('a secret with very many keys', () => {
  const many = (count: number, value = '') =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`K${String(index).padStart(5, '0')}`, value]),
    )

  test('is looked at in part, what the credential names first', () => {
    const found = report(VARIABLES, many(60_000))
    expect(found.faults).toMatchObject([{ reason: 'EmptyValue' }])
    expect(found.faults[0]?.keys).toHaveLength(2000)
    expect(found.unchecked).toBe(58_000)
    const variables = [{ name: 'A', key: 'K59999' }]
    const named = report({ ...FILES, variables }, { ...many(59_999, 'a'), K59999: '' })
    expect(named.faults).toEqual([{ reason: 'EmptyValue', keys: ['K59999'] }])
  })

  test('is not even read beyond that', () => {
    const reads = (count: number) => {
      let its = 0
      const content = new Map(Object.keys(many(count)).map((key) => [key, Buffer.alloc(0)]))
      content.get = (key) => {
        its++
        return Map.prototype.get.call(content, key)
      }
      inspect(VARIABLES, { namespace: 'team', name: 's', type: 'Opaque', content }, KEY)
      return its
    }
    expect([reads(3000), reads(30_000)]).toEqual([2000, 2000])
  })

  test('leaves few names behind, and those that readiness needs', () => {
    const spec = { ...VARIABLES, variables: [{ name: 'A', key: 'K59999' }, { name: 'B' }] }
    const secret = report(spec, many(60_000, 'a'))
    expect(secret.keys).toHaveLength(1001)
    const { status } = planStatus({
      spec,
      generation: 1,
      namespace: 'team',
      before: undefined,
      secret,
      now: 0,
    })
    expect(status?.conditions?.[0]?.message).toContain('Secret s lacks key B.')
    expect(status?.keys).toHaveLength(1000)
    expect(status?.keys?.at(-1)).toBe('K00999')
    expect(secret.unchecked).toBe(0)
  })

  test('leaves no names behind where they are long: every credential of the secret would hold them', () => {
    const keys = (count: number) => ({
      ...report(VARIABLES, {}),
      keys: Array.from({ length: count }, (_, index) => `K${index}`.padEnd(253, 'X')),
    })
    const given = { spec: VARIABLES, generation: 1, namespace: 'team', now: 0 }
    const short = planStatus({ ...given, before: undefined, secret: keys(64) }).status
    expect(short?.keys).toHaveLength(64)
    const long = planStatus({ ...given, before: short, secret: keys(65) }).status
    expect(long).not.toHaveProperty('keys')
    expect(long?.conditions?.[0]).toMatchObject({ type: 'Ready', status: 'True' })
  })
})

test('of a very long list of PEM blocks the first 500 are read', () => {
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  const list = (count: number) => ({ 'ca.pem': cert.repeat(count) + broken })
  expect(faults(FILES, list(499))).toEqual(['InvalidPem ca.pem'])
  expect(faults(FILES, list(500))).toEqual([])
})

test('a value of nothing but beginnings of PEM blocks is gone through once', () => {
  const value = '-----BEGIN A-----\n'.repeat(50_000)
  expect(faults(FILES, { 'a.pem': value })).toEqual(['InvalidPem a.pem'])
})
