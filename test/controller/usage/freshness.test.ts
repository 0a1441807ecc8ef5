import { describe, expect, test } from 'vitest'
import type { ClusterCredentialStatus } from '../../../src/api/status.ts'
import { COPIES_COME_MS, isStale, MARGIN_MS } from '../../../src/controller/usage/freshness.ts'
import { clusterCredential, credential, pod, ROTATED, seconds, variables } from './objects.ts'

const STATUS: ClusterCredentialStatus = { revision: 'new', lastRotated: ROTATED }
const recorded = (kind: string, revision?: string) => [{ kind, name: 'wandb', revision }]
const MARGIN = MARGIN_MS / 1000

describe('a Credential', () => {
  test.each<[title: string, since: number, record: string | undefined, isStale: boolean]>([
    ['started before the rotation', -10, 'old', true],
    ['started after it', MARGIN + 1, 'old', false],
    ['started right after it, as far as two clocks can say', MARGIN, 'old', true],
    ['made after it, and started at once', 1, 'new', false],
    ['started before it by a clock that is behind, and made after it', -1, 'new', false],
    ['started before it, made by hand', -10, undefined, true],
    ['started after it, made by hand', MARGIN + 1, undefined, false],
  ])('%s', (_, since, record, expected) => {
    const its = pod('p', { injected: record ? recorded('Credential', record) : [] })
    expect(isStale(variables('s', seconds(since)), its, credential('wandb', 's', STATUS), undefined)).toBe(
      expected,
    )
  })

  test.each<[title: string, status: ClusterCredentialStatus | undefined]>([
    ['was never looked at', undefined],
    ['was never rotated', { revision: 'new' }],
    ['has no Secret', { lastRotated: ROTATED }],
  ])('that %s has no stale pods', (_, status) => {
    expect(isStale(variables('s', seconds(-10)), pod('p'), credential('wandb', 's', status), undefined)).toBe(
      false,
    )
  })

  test.each(['files', 'login'] as const)('%s are never stale: the kubelet reads them again', (as) => {
    const use = { secret: 's', as, since: seconds(-10) }
    expect(isStale(use, pod('p'), credential('wandb', 's', STATUS), undefined)).toBe(false)
  })

  test('what has not started is fresh: it will read what there is then', () => {
    expect(isStale(variables('s'), pod('p'), credential('wandb', 's', STATUS), undefined)).toBe(false)
  })

  test('another credential of the same name says nothing of this one', () => {
    const its = pod('p', { injected: recorded('ClusterCredential', 'new') })
    expect(isStale(variables('s', seconds(-10)), its, credential('wandb', 's', STATUS), undefined)).toBe(true)
  })
})

describe('a ClusterCredential, whose copy was written later', () => {
  test.each<[title: string, made: number, since: number, copied: number | undefined, isStale: boolean]>([
    ['started before the rotation', -100, -10, 20, true],
    ['started after the rotation, before the copy', -100, 15, 20, true],
    ['made after the rotation, before the copy, which its record cannot know', 10, 15, 20, true],
    ['made and started just when the copy was written', 20, 20, 20, true],
    ['made after the copy, by a kubelet whose clock is behind', 21, 19, 20, false],
    ['started long after the copy', -100, 20 + MARGIN + 1, 20, false],
    ['started after the rotation, with a copy that was not touched by it', -100, MARGIN + 1, -50, false],
    ['started before the rotation, with a copy that was not touched by it', -100, -10, -50, true],
    ['started after the rotation, where nothing is known of the copy', -100, MARGIN + 1, undefined, false],
  ])('%s', (_, made, since, copied, expected) => {
    const its = pod('p', { createdAt: seconds(made), injected: recorded('ClusterCredential', 'new') })
    const copiedAt = copied === undefined ? undefined : seconds(copied)
    const use = variables('credential-wandb', seconds(since))
    expect(isStale(use, its, clusterCredential('wandb', STATUS), copiedAt)).toBe(expected)
  })

  const COPIED = 30 * 24 * 3600
  const COME = COPIES_COME_MS / 1000
  test.each<[title: string, made: number, revision: string | undefined, isStale: boolean]>([
    ['made when copies had long come', COME + 1, 'new', false],
    ['made when the copy may have been on its way', COME, 'new', true],
    ['made with an older content', COME + 1, 'old', true],
    ['made by hand', COME + 1, undefined, true],
  ])('whose copy was made again long after the rotation, with a pod %s', (_, made, revision, expected) => {
    const injected = revision ? recorded('ClusterCredential', revision) : []
    const its = pod('p', { createdAt: seconds(made), injected })
    const use = variables('credential-wandb', seconds(made + 1))
    expect(isStale(use, its, clusterCredential('wandb', STATUS), seconds(COPIED))).toBe(expected)
  })
})
