/** The reviews that the benchmarks post: recorded ones, made to ask for three credentials. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { INJECT } from '../src/annotations.ts'

export const NAMESPACE = 'runai-team-a'
const THREE = 'wandb-credentials, git-ssh, cluster/dockerhub'

const REVIEWS = fileURLToPath(new URL('../fixtures/reviews/', import.meta.url))

/** Texts by the size that the table shows. */
export function benchReviews(): Record<'4 KB' | '60 KB' | '1.3 MB', string> {
  return {
    '4 KB': asking(recorded('pod-of-indexed-job')),
    '60 KB': asking(withOneContainer(recorded('pod-large-1mb'), 180)),
    '1.3 MB': asking(recorded('pod-large-1mb')),
  }
}

function recorded(name: string): any {
  return JSON.parse(readFileSync(`${REVIEWS}${name}.json`, 'utf8'))
}

function asking(review: any): string {
  review.request.namespace = NAMESPACE
  review.request.object.metadata.annotations = { [INJECT]: THREE }
  return JSON.stringify(review)
}

/** The first container with so many variables, in the pod and in its managed fields. */
function withOneContainer(review: any, variables: number): any {
  const { spec, metadata } = review.request.object
  spec.containers.length = 1
  spec.containers[0].env.length = variables
  const fields = metadata.managedFields[0].fieldsV1['f:spec']
  const [name, container] = Object.entries<any>(fields['f:containers'])[0] as [string, any]
  container['f:env'] = Object.fromEntries(Object.entries(container['f:env']).slice(0, variables + 1))
  fields['f:containers'] = { [name]: container }
  return review
}
