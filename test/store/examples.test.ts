import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { inject } from '../../src/inject/index.ts'
import { openFolder } from '../../src/store/folder.ts'
import { DEFAULT_OWNER_NAMESPACE, excludedNamespaces } from '../../src/store/memory.ts'

const folder = openFolder('examples/catalog', { watch: false })
const view = folder.store.view('runai-team-a')

test('the example catalogue has no faults, and all its credentials can be used', () => {
  expect(folder.status().problems).toEqual([])
  for (const name of view.names()) {
    const found = name.startsWith('cluster/') ? view.clusterCredential(name.slice(8)) : view.credential(name)
    expect(found, name).toMatchObject({ keys: expect.anything() })
    expect(found, name).not.toHaveProperty('notReady')
  }
  expect(folder.store.view('default').names()).toEqual(['aws-s3-access', 'wandb-credentials'])
})

test('the recorded requests find every credential that they name', () => {
  const named = readdirSync('fixtures/reviews').flatMap((file) => {
    const { request } = JSON.parse(readFileSync(`fixtures/reviews/${file}`, 'utf8'))
    const list: string = request.object.metadata.annotations?.['credentials.run.ai/inject'] ?? ''
    return list.split(/[,\n]/).map((name) => ({ namespace: request.namespace, name: name.trim() }))
  })
  const missing = named.filter(
    ({ namespace, name }) => name && !folder.store.view(namespace).credential(name),
  )
  expect(named.length).toBeGreaterThan(20)
  expect(missing).toEqual([])
})

test.each([
  ['plain', 'Injected', []],
  ['override', 'Injected', ['WorkloadOverrides']],
  ['ssh', 'Injected', []],
  ['deployment', 'Injected', ['WorkloadOverrides']],
  ['policies', 'Injected', []],
  ['refused', 'Denied', ['CredentialNotFound', 'MountPathConflict', 'UnknownContainer']],
])('the example pod %s: %s', (name, kind, reasons) => {
  const manifest = parse(readFileSync(`examples/pods/${name}.yaml`, 'utf8'))
  const pod = manifest.spec.template ?? manifest
  const excluded = excludedNamespaces(DEFAULT_OWNER_NAMESPACE)
  const outcome = inject({ pod, view, excludedNamespaces: excluded, now: Date.parse('2026-12-01T00:00:00Z') })
  expect(outcome.kind).toBe(kind)
  const findings = outcome.kind === 'Denied' ? outcome.problems : outcome.warnings
  expect(findings.map(({ reason }) => reason).sort()).toEqual(reasons)
})
