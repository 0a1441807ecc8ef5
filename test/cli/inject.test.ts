/** The real program, as a process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/cli/report.ts'
import { CATALOG, temporaryFolder } from './catalog.ts'

const pod = (name: string, inject: string) => `# ${name}
apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  annotations:
    credentials.run.ai/inject: ${inject}
spec:
  containers:
  - name: main
    env:
    - name: WANDB_PROJECT
      value: hunter2
`

const folder = temporaryFolder({
  ...CATALOG,
  'good.yml.txt': pod('good', 'wandb-credentials, git-ssh-credentials'),
  'plain.yml.txt': 'apiVersion: v1\nkind: ConfigMap\nmetadata:   {name: x}\n',
  'bad.yml.txt': `${pod('bad', 'nope, wandb-credential')}---\n${pod('\u001b[31mred', 'none')}`,
  'broken.yml.txt': 'a: 1\na: hunter2\n',
})
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string) => join(folder, `${name}.yml.txt`)

async function credential(args: string[], { input = '', env = {} } = {}) {
  const child = spawn(process.execPath, ['bin/kubectl-credential.js', ...args], {
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
  })
  child.stdin.end(input)
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code, stdout, stderr }
}

const inject = (args: string[], options = {}) =>
  credential(['inject', '--catalog', folder, '-n', 'runai-team-a', ...args], options)

describe('kubectl credential inject', () => {
  test('prints the manifests on stdout and the report on stderr', async () => {
    const { code, stdout, stderr } = await inject(['-f', file('good'), '-f', file('plain')])
    expect(code).toBe(0)
    expect(stdout).toContain('      name: wandb-secret\n')
    expect(stdout.endsWith(`---\n${readFileSync(file('plain'), 'utf8')}`)).toBe(true)
    expect(stderr).toContain(`Pod runai-team-a/good (${file('good')}:2): injected\n`)
    expect(stderr).toMatch(/^ {2}main {2}files +git-ssh-credentials +\/root\/\.ssh: id_rsa$/m)
    expect(stderr).toContain('warning WorkloadOverrides\n')
    expect(stderr).toContain('1 pod: 1 injected, 0 left alone, 0 refused, 1 other object passed on.\n')
    expect(stderr).not.toContain('hunter2')
  })

  test('reads stdin, and its own output gives nothing more to do', async () => {
    const first = await inject(['-f', '-'], { input: pod('good', 'wandb-listed') })
    const second = await inject(['-f', '-'], { input: first.stdout })
    expect(second.stdout).toBe(first.stdout)
    expect(second.stderr).toContain('(stdin):2): left alone (AlreadyInjected): ')
  })

  test('prints nothing if a pod would be refused, and names every conflict', async () => {
    const { code, stdout, stderr } = await inject(['-f', file('good'), '-f', file('bad')])
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toContain('refused, 2 conflicts\n')
    expect(
      stderr.match(/CredentialNotFound at metadata\.annotations\[credentials\.run\.ai\/inject\]/g),
    ).toHaveLength(3)
    expect(stderr).toContain('did you mean "wandb-credentials"?')
    expect(stderr).toContain('→ Correct the name in the annotation')
    expect(stderr).not.toContain('\u001b')
  })

  test('-q reports conflicts and errors only', async () => {
    expect(await inject(['-q', '-f', file('good')])).toMatchObject({ code: 0, stderr: '' })
    const { stderr } = await inject(['-q', '-f', file('good'), '-f', file('bad')])
    expect(stderr).toMatch(/^Pod runai-team-a\/bad /)
    expect(stderr).not.toContain('good')
  })

  test('--report json is one document with the documented fields', async () => {
    const { stderr } = await inject(['--report', 'json', '-f', file('good'), '-f', file('bad')])
    const report = JSON.parse(stderr) as Report
    expect(Object.keys(report)).toEqual([
      'outcome',
      'pods',
      'otherObjects',
      'unreached',
      'errors',
      'catalogProblems',
    ])
    expect(report.outcome).toBe('Refused')
    const documented = readFileSync('docs/cli.md', 'utf8')
    for (const field of fieldsOf(report)) expect(documented).toContain(`\`${field}\``)
  })

  test('colours only where they are wanted', async () => {
    expect((await inject(['-f', file('good')], { env: { NO_COLOR: undefined } })).stderr).not.toContain(
      '\u001b',
    )
    const coloured = await inject(['-f', file('good')], { env: { NO_COLOR: undefined, FORCE_COLOR: '1' } })
    expect(coloured.stderr).toContain('\u001b[32minjected')
  })

  test('names the line of a broken manifest, and does not quote it', async () => {
    const { code, stdout, stderr } = await inject(['-f', file('good'), '-f', file('broken')])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(`error ${file('broken')}:2: this is not valid YAML: the key stands twice`)
    expect(stderr).not.toContain('hunter2')
  })

  test('names every file that cannot be read', async () => {
    const { code, stderr } = await inject(['-f', 'no-such-file', '-f', folder, '-f', '-'], { input: 'a: 1' })
    expect(code).toBe(1)
    expect(stderr).toContain('error no-such-file: there is no such file\n')
    expect(stderr).toContain(`error ${folder}: this is a folder: name the files in it\n`)
  })

  test('names a catalogue that cannot be read, and manifests of it that are broken', async () => {
    const missing = await credential(['inject', '--catalog', 'no-such-folder', '-f', file('good')])
    expect(missing).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('error no-such-folder: '),
    })

    const broken = temporaryFolder({
      'a.yaml': 'apiVersion: run.ai/v1\nkind: Credential\nmetadata: {name: x}\nspec: {type: file}\n',
    })
    const { code, stderr } = await inject(['--catalog', broken, '-f', file('plain')])
    rmSync(broken, { recursive: true })
    expect(code).toBe(0)
    expect(stderr).toContain(`catalogue ${join(broken, 'a.yaml')}:4: `)
  })
})

describe('usage', () => {
  test.each([
    [['inject', '--help'], 0, /Usage: kubectl credential inject .*Exit codes:/s],
    [['help', 'inject'], 0, /Usage: kubectl credential inject/],
  ])('%j is help', async (args, code, stdout) => {
    expect(await credential(args)).toEqual({ code, stdout: expect.stringMatching(stdout), stderr: '' })
  })

  test.each([
    [[], /Usage: kubectl credential/],
    [['injcet'], /unknown command 'injcet'/],
    [['inject', '-f', 'x'], /required option '--catalog/],
    [['inject', '-f', 'x', '--catalog', 'y', '--report', 'xml'], /json/],
  ])('%j is wrong usage', async (args, stderr) => {
    expect(await credential(args)).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(stderr) })
  })
})

function fieldsOf(value: unknown): Set<string> {
  if (typeof value !== 'object' || value === null) return new Set()
  const own = Array.isArray(value) ? [] : Object.keys(value)
  return new Set([...own, ...Object.values(value).flatMap((item) => [...fieldsOf(item)])])
}
