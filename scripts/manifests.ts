/**
 * Writes the chart as plain manifests: `dist/install.yaml`, whose certificates the controller makes, and
 * `dist/install-cert-manager.yaml`. Needs helm.
 *
 *     npm run manifests                                   # settings as in the chart's values
 *     npm run manifests -- --set webhook.replicas=3       # everything behind -- goes to helm
 *     HELM=/path/to/helm npm run manifests
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { plainManifests } from './generate/manifests.ts'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))
const HELM = process.env.HELM || 'helm'
const NAME = 'credential-injector'

const FILES = {
  'dist/install.yaml': 'selfManaged',
  'dist/install-cert-manager.yaml': 'certManager',
}

function main(flags: readonly string[]): void {
  mkdirSync(`${CHECKOUT}dist`, { recursive: true })
  for (const [file, mode] of Object.entries(FILES)) {
    const rendered = helm([
      ...['template', NAME, `charts/${NAME}`, '--namespace', NAME, '--skip-tests'],
      // Without Helm there is nobody who would read the annotation that keeps the definitions.
      ...['--set', `certificates.mode=${mode},crds.keep=false`, '--api-versions', 'cert-manager.io/v1'],
      ...flags,
    ])
    writeFileSync(`${CHECKOUT}${file}`, plainManifests(rendered, NAME))
    process.stdout.write(`wrote ${file}\n`)
  }
}

function helm(args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(HELM, args, {
    cwd: CHECKOUT,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (error)
    end(
      `${HELM} cannot be run (${error.message}): install Helm (https://helm.sh), or name it with HELM=FILE.`,
    )
  if (status !== 0) end(stderr.trim())
  return stdout
}

function end(sentence: string): never {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}

main(process.argv.slice(2))
