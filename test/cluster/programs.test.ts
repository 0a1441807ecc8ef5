import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'credential-injector-programs-'))
  vi.resetModules()
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

test('programs of KUBEBUILDER_ASSETS are taken before any is built', async () => {
  writeFileSync(join(folder, 'etcd'), '')
  vi.stubEnv('KUBEBUILDER_ASSETS', folder)
  const { program } = await import('./kit/programs.ts')

  expect(await program('etcd')).toBe(join(folder, 'etcd'))
})

test('without Go and without anything built, it says what to install', async () => {
  vi.stubEnv('XDG_CACHE_HOME', folder)
  vi.stubEnv('PATH', folder)
  const { program } = await import('./kit/programs.ts')

  await expect(program('etcd')).rejects.toThrow(
    'The test cluster is built with Go, which is not installed. Install Go 1.26 or later',
  )
})
