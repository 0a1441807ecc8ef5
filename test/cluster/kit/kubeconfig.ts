import { readFileSync, writeFileSync } from 'node:fs'
import { stringify } from 'yaml'

/** Writes a kubeconfig with one context, for its owner only. */
export function writeKubeconfig(
  file: string,
  { url, caFile, token, namespace }: { url: string; caFile: string; token: string; namespace?: string },
): void {
  const name = 'test-cluster'
  writeFileSync(
    file,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': name,
      clusters: [
        {
          name,
          cluster: {
            server: url,
            'certificate-authority-data': readFileSync(caFile).toString('base64'),
          },
        },
      ],
      users: [{ name, user: { token } }],
      contexts: [{ name, context: { cluster: name, user: name, ...(namespace && { namespace }) } }],
    }),
    { mode: 0o600 },
  )
}
