import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { measureUsage } from '../../../src/controller/usage/metrics.ts'
import { createUsageIndex } from '../../../src/controller/usage/usage-index.ts'
import { credential, pod, ROTATED, seconds, variables } from './objects.ts'

test('so many credentials have series of their own, and the rest share one', async () => {
  const index = createUsageIndex({
    workloadOf: () => undefined,
    isOffered: () => false,
    copiedAt: () => undefined,
  })
  const registry = new Registry()
  measureUsage([registry], index, 2)
  for (const name of ['unused', 'a', 'b', 'c', 'd'])
    index.putCredential(credential(name, name, { revision: 'r', lastRotated: ROTATED }))
  for (const secret of ['a', 'b', 'c', 'd', 'd'])
    index.putPod(pod(`${secret}-${seconds(pods++)}`, { uses: [variables(secret, seconds(-1))] }))
  index.putPod(
    pod('own', { uses: [variables('a')], injected: [{ kind: 'Credential', name: 'a', revision: 'r' }] }),
  )

  const lines = (await registry.metrics())
    .split('\n')
    .filter((line) => line.startsWith('credential_injector_'))
  const own = (name: string) => `kind="Credential",namespace="team-a",name="${name}"`
  expect(lines.map((line) => line.replace('credential_injector_controller_', ''))).toEqual([
    `credential_pods{${own('a')},by="injector"} 1`,
    `credential_pods{${own('a')},by="hand"} 1`,
    `credential_pods{${own('b')},by="injector"} 0`,
    `credential_pods{${own('b')},by="hand"} 1`,
    'credential_pods{kind="other",namespace="",name="",by="injector"} 0',
    'credential_pods{kind="other",namespace="",name="",by="hand"} 3',
    `credential_stale_pods{${own('a')}} 1`,
    `credential_stale_pods{${own('b')}} 1`,
    'credential_stale_pods{kind="other",namespace="",name=""} 3',
    'uses 6',
    'stale_uses 5',
  ])
})

let pods = 0
