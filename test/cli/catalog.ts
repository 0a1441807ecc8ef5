import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder of its own, for files of a test. The caller removes it. */
export function temporaryFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'credential-cli-'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

const credential = (name: string, spec: object) => ({
  apiVersion: 'run.ai/v1',
  kind: 'Credential',
  metadata: { name, namespace: 'runai-team-a' },
  spec,
})

const secret = (name: string, stringData: object) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: 'runai-team-a' },
  stringData,
})

/** Credentials of namespace runai-team-a; the value of every secret is `hunter2`. */
export const CATALOG = {
  'catalog.yaml': [
    credential('wandb-credentials', { secretRef: { name: 'wandb-secret' }, type: 'environment' }),
    credential('wandb-listed', {
      secretRef: { name: 'wandb-secret' },
      type: 'environment',
      variables: [{ name: 'WANDB_API_KEY' }, { name: 'WANDB_MODE', value: 'online' }],
    }),
    credential('git-ssh-credentials', {
      secretRef: { name: 'git-ssh-secret' },
      type: 'file',
      mountPath: '/root/.ssh',
    }),
    credential('dockerhub-credentials', { secretRef: { name: 'dockerhub-secret' }, type: 'dockerRegistry' }),
    secret('wandb-secret', { WANDB_API_KEY: 'hunter2', WANDB_PROJECT: 'hunter2' }),
    secret('git-ssh-secret', { id_rsa: 'hunter2' }),
  ]
    .map((manifest) => `${JSON.stringify(manifest)}\n`)
    .join('---\n'),
}
