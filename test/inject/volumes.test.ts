import { describe, expect, test } from 'vitest'
import type { Volume } from '../../src/api/pod.ts'
import { isInjected, sameContent, volumeName, volumeOf } from '../../src/inject/volumes.ts'

const projection = {
  sources: [{ name: 'git-ssh-secret', items: [{ key: 'id_rsa', path: 'id_rsa', mode: 0o400 }] }],
  defaultMode: 0o444,
}
const name = volumeName(projection)
const volume = volumeOf(name, projection)
const mount = { name, mountPath: '/root/.ssh', readOnly: true }
const changed = (change: (volume: any) => void): Volume[] => {
  const copy = structuredClone(volume)
  change(copy)
  return [copy]
}

const named = (...volumes: Volume[]) => new Map(volumes.map((one) => [one.name, one]))

describe('a volume is known by its content', () => {
  test('the same content has the same name, other content another', () => {
    expect(volumeName(structuredClone(projection))).toBe(name)
    expect(volumeName({ ...projection, defaultMode: 0o400 })).not.toBe(name)
    expect(volumeName(projection, 1)).not.toBe(name)
    expect(name).toMatch(/^credential-[0-9a-f]{16}$/)
  })

  test('an earlier round’s mount is recognised, also under a later attempt’s name', () => {
    expect(isInjected(mount, named(volume))).toBe(true)
    const second = volumeName(projection, 1)
    expect(isInjected({ ...mount, name: second }, named(volumeOf(second, projection)))).toBe(true)
  })

  test('the mode that Kubernetes fills in counts as no mode', () => {
    const windows = { sources: [{ name: 'git-ssh-secret' }] }
    const defaulted = volumeOf(volumeName(windows), { ...windows, defaultMode: 420 })
    expect(sameContent(defaulted, windows)).toBe(true)
    expect(isInjected({ ...mount, name: defaulted.name }, named(defaulted))).toBe(true)
  })

  test.each<[string, Volume[]]>([
    ['another secret', changed((v) => (v.projected.sources[0].secret.name = 'other'))],
    ['an optional secret', changed((v) => (v.projected.sources[0].secret.optional = true))],
    ['another kind of source', changed((v) => v.projected.sources.push({ configMap: { name: 'x' } }))],
    ['a second source in one entry', changed((v) => (v.projected.sources[0].configMap = { name: 'x' }))],
    ['another mode', changed((v) => (v.projected.defaultMode = 0o777))],
    ['another kind of volume besides', changed((v) => (v.emptyDir = {}))],
    ['no projected volume', [{ name }]],
    ['no such volume', []],
  ])('a forged one is not: %s', (_, volumes) => expect(isInjected(mount, named(...volumes))).toBe(false))

  test.each([{ readOnly: false }, { subPath: 'x' }, { subPathExpr: '$(X)' }, { name: 'work' }])(
    'nor is a mount with %j',
    (change) => {
      expect(isInjected({ ...mount, ...change }, named(volume, { name: 'work' }))).toBe(false)
    },
  )
})
