/** Recorded AdmissionReviews, and variations of them. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { INJECT } from '../../src/annotations.ts'
import type { Container, Pod, Volume } from '../../src/api/pod.ts'

export interface Review {
  request: { namespace: string; object: Pod }
}

const FOLDER = 'fixtures/reviews'

/** Names without extension, sorted, with the bytes that an API server sent. */
export function recordedReviews(): { name: string; body: string }[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'))
  return files
    .sort()
    .map((file) => ({ name: file.replace(/\.json$/, ''), body: readFileSync(join(FOLDER, file), 'utf8') }))
}

/** A recorded review, changed as somebody might have written the pod. */
export function review(name: string, change: (pod: Pod) => void = () => {}): Review {
  const recorded = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as Review
  change(recorded.request.object)
  return recorded
}

export function annotate(pod: Pod, annotations: Record<string, string>): void {
  pod.metadata = { ...pod.metadata, annotations: { ...pod.metadata?.annotations, ...annotations } }
}

export const asks = (credentials: string) => (pod: Pod) => annotate(pod, { [INJECT]: credentials })

/** The pod without what people do not write, and without what the API server gives to every pod. */
export function essence({ metadata, spec }: Pod): unknown {
  const { name, generateName, annotations } = metadata ?? {}
  const { initContainers, containers, volumes, imagePullSecrets, securityContext } = spec ?? {}
  return {
    metadata: withoutEmpty({
      name,
      generateName,
      annotations: Object.fromEntries(
        Object.entries(annotations ?? {}).filter(([key]) => !key.startsWith('kubectl.')),
      ),
    }),
    spec: withoutEmpty({
      initContainers: initContainers?.map(essenceOfContainer),
      containers: containers?.map(essenceOfContainer),
      volumes: volumes?.filter(isOwn),
      imagePullSecrets,
      securityContext,
    }),
  }
}

function essenceOfContainer({
  name,
  env,
  envFrom,
  volumeMounts,
  ...rest
}: Container & { image?: string }): unknown {
  return withoutEmpty({ name, image: rest.image, env, envFrom, volumeMounts: volumeMounts?.filter(isOwn) })
}

/** Every pod has a volume with its service account's token. */
const isOwn = ({ name }: Pick<Volume, 'name'>) => !name.startsWith('kube-api-access-')

/** Fields that are not there, or `{}`, `[]` or null, are left out; those of volumes stay, where `emptyDir: {}` says something. */
function withoutEmpty(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)))
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined || value === null || (typeof value === 'object' && Object.keys(value).length === 0)
  )
}
