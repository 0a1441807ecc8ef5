/** What is shown at length: recorded pods, some of them changed as somebody might have written them. */
import { CONTAINERS } from '../../src/annotations.ts'
import type { Volume } from '../../src/api/pod.ts'
import { annotate, asks, type Review, review } from './reviews.ts'

export interface Scene {
  title: string
  /** What to look at. */
  remark: string
  review: Review
}

export const SCENES: readonly Scene[] = [
  {
    title: 'A pod names one credential',
    remark: 'All variables of its Secret come in by the name of the Secret: the webhook never sees a value.',
    review: review('pod-of-statefulset'),
  },
  {
    title: 'A temporary override',
    remark: 'WANDB_PROJECT is set by the pod itself, and stays. A warning says so; kubectl shows it.',
    review: review('pod-bare-kubectl'),
  },
  {
    title: 'Two Secrets in one folder',
    remark: 'The key and the known hosts come from different Secrets; ssh finds both where it looks.',
    review: review('pod-not-annotated', asks('git-ssh-credentials, git-known-hosts')),
  },
  {
    title: 'Registry logins',
    remark:
      'One of the namespace’s own and one of the platform team’s join the login that the pod brings along.',
    review: review('pod-own-image-pull-secrets', asks('private-registry-access, cluster/dockerhub')),
  },
  {
    title: 'Three things are wrong, and one answer names them all',
    remark: 'A misspelt credential, a container that is not there, and a volume where the files belong.',
    review: review('pod-bare-kubectl', (pod) => {
      asks('wandb-credential, git-ssh-credentials')(pod)
      annotate(pod, { [CONTAINERS]: 'main, trainer' })
      pod.spec?.volumes?.push({ name: 'home', emptyDir: {} } as Volume)
      pod.spec?.containers?.[0]?.volumeMounts?.push({ name: 'home', mountPath: '/root/.ssh' })
    }),
  },
]
