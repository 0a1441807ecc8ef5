import { describe, expect, test } from 'vitest'
import type { CredentialStatus } from '../../../src/api/status.ts'
import { STATUSES } from '../../../src/api/status.ts'
import { factsOf, isNews } from '../../../src/controller/usage/facts.ts'
import { newsOf } from '../../../src/controller/usage/news.ts'
import type { Usage } from '../../../src/controller/usage/usage-index.ts'
import { credential, ROTATED, seconds } from './objects.ts'

const NOBODY: Usage = { pods: 0, byHand: 0, workloads: 0, names: [], stale: { pods: 0, users: [] } }
const NOW = seconds(90)
const subject = (kind: string, name: string) => ({
  ...{ apiVersion: 'apps/v1', kind, name, namespace: 'team-a', uid: name },
})
const user = (kind: string, name: string) => ({ name: `${kind}/${name}`, subject: subject(kind, name) })
const USED: Usage = {
  pods: 3,
  byHand: 1,
  workloads: 1,
  names: ['Deployment/a', 'Pod/b (by hand)'],
  stale: { pods: 2, users: [user('Deployment', 'a'), user('Pod', 'b')] },
}
const STATUS: CredentialStatus = {
  usedBy: { pods: 3, workloads: 1, names: ['Deployment/a', 'Pod/b (by hand)'] },
  lastUsed: '2026-11-25T12:01:30Z',
  stale: { pods: 2, names: ['Deployment/a', 'Pod/b'] },
}

describe('the status', () => {
  test('says who, how many, since when', () => {
    const facts = factsOf(USED, undefined, NOW)
    expect(facts).toEqual(STATUS)
    expect(STATUSES.Credential.safeParse(facts).success).toBe(true)
    expect(isNews(facts, undefined)).toBe(true)
  })

  test('says nothing again', () => expect(isNews(factsOf(USED, STATUS, NOW + 60_000), STATUS)).toBe(false))

  test('has a new time only with another number of pods', () => {
    const before = { ...STATUS, usedBy: { pods: 3, workloads: 2 } }
    expect(factsOf(USED, before, NOW + 60_000)).not.toHaveProperty('lastUsed')
    expect(isNews(factsOf(USED, before, NOW), before)).toBe(true)
    expect(factsOf(NOBODY, STATUS, NOW + 60_000)).toEqual({
      usedBy: { pods: 0, workloads: 0, names: [] },
      lastUsed: '2026-11-25T12:02:30Z',
      stale: undefined,
    })
  })

  test('of one that nobody has used says nothing at all', () =>
    expect(isNews(factsOf(NOBODY, { revision: 'r' }, NOW), { revision: 'r' })).toBe(false))
})

describe('events', () => {
  const rotated = (stale: CredentialStatus['stale']) =>
    credential('wandb', 's', { ...STATUS, stale, revision: 'new', lastRotated: ROTATED })
  const about = (credential: ReturnType<typeof rotated>, before: CredentialStatus['stale']) =>
    newsOf(credential, before, USED).map((news) => `${news.about.kind}/${news.about.name}`)

  test('are about the credential and those that are stale, once', () => {
    expect(about(rotated(STATUS.stale), undefined)).toEqual(['Credential/wandb', 'Deployment/a', 'Pod/b'])
    expect(about(rotated(STATUS.stale), STATUS.stale)).toEqual([])
  })

  test('are about those that come later, too', () => {
    expect(about(rotated(STATUS.stale), { pods: 1, names: ['Deployment/a'] })).toEqual(['Pod/b'])
  })

  test('are not about what is over', () => expect(about(rotated(undefined), STATUS.stale)).toEqual([]))

  test('say what to do first, since an event has room for 1024 characters', () => {
    const names = Array.from({ length: 20 }, (_, n) => `Deployment/${'x'.repeat(250)}-${n}`)
    const [first] = newsOf(rotated({ pods: 30, names }), undefined, NOBODY)
    expect(first?.event.message.slice(0, 400)).toMatch(
      /^30 pods run with variables from before the rotation at .*\. Restart .*Automatic\. Who: Deployment\/x/,
    )
    expect(first?.event.message).toMatch(/-4 and others$/)
  })
})
