/** What credentials are told of the policies that enforce them. */
import { expect, test } from 'vitest'
import type { StoredPolicy } from '../../../src/controller/policies/entries.ts'
import { createPublication } from '../../../src/controller/policies/publication.ts'
import type { CredentialObject } from '../../../src/controller/watched/credentials.ts'

const HUB: CredentialObject = {
  kind: 'ClusterCredential',
  metadata: { name: 'hub' },
  spec: { secretRef: { name: 's' }, type: 'environment' },
}

const policy = (name: string, team: string): StoredPolicy => ({
  name,
  spec: {
    namespaceSelector: { matchLabels: { team } },
    credentials: ['cluster/hub'],
    enforcement: 'Enforce',
  },
  revision: { uid: 'u', generation: 1 },
})

function open() {
  const told: string[] = []
  const publication = createPublication({
    watched: { credentials: () => [HUB], namespace: () => undefined },
    index: { homesOf: () => new Set<string>() } as never,
    tell: (key) => told.push(key),
  })
  const publish = (...policies: StoredPolicy[]) => {
    told.length = 0
    publication.publish(policies, new Set())
    return [...told]
  }
  return { publication, publish }
}

test('is nothing before it is known, and then what is in effect', () => {
  const { publication, publish } = open()
  expect(publication.factsOf(HUB)).toEqual({})
  expect(publish(policy('p', 'ml'))).toEqual(['ClusterCredential/hub'])
  expect(publication.factsOf(HUB)).toEqual({
    enforcedBy: [{ policy: 'p', namespaceSelector: { matchLabels: { team: 'ml' } } }],
  })
  expect(publish()).toEqual(['ClusterCredential/hub'])
  expect(publication.factsOf(HUB)).toEqual({ enforcedBy: undefined })
})

test('is told again when another part of the same policy is in effect, and not otherwise', () => {
  const { publish } = open()
  publish(policy('p', 'ml'))
  expect(publish(policy('p', 'ml'))).toEqual([])
  expect(publish(policy('p', 'web'))).toEqual(['ClusterCredential/hub'])
})
