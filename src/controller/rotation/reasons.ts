/** The reasons of events about restarts; the source of their table in docs/rotation.md. */

interface ReasonText {
  readonly type: 'Normal' | 'Warning'
  readonly title: string
  readonly remedy: string
}

export const RESTART_REASONS = {
  RestartedForRotation: {
    type: 'Normal',
    title: 'The workload was restarted, so that its pods get the new content.',
    remedy: 'Nothing.',
  },
  RestartsOff: {
    type: 'Warning',
    title: 'The controller may not restart workloads in this cluster.',
    remedy: 'Restart it with kubectl rollout restart, or set the chart value rotation.restartWorkloads.',
  },
  RestartPaused: {
    type: 'Warning',
    title: 'Restarts are paused, of this workload or of all.',
    remedy:
      'Remove the annotation credentials.run.ai/restart-paused of the workload, or unset the chart value rotation.paused.',
  },
  RolloutPaused: {
    type: 'Warning',
    title: 'The Deployment is paused, so that a change of its template would restart nothing.',
    remedy: 'Resume it with kubectl rollout resume.',
  },
  RestartsOnDelete: {
    type: 'Warning',
    title: 'The update strategy is OnDelete, so that a change of the template would restart nothing.',
    remedy: 'Delete its pods when it suits you; the new ones get the new content.',
  },
  RestartUndone: {
    type: 'Warning',
    title: 'The workload was restarted for this rotation and then rolled back. It is not restarted again.',
    remedy: 'Restart it with kubectl rollout restart when its pods can work with the new content.',
  },
  RestartRefused: {
    type: 'Warning',
    title: 'The API server refuses the change of the template.',
    remedy: 'Allow it to the controller, or restart the workload with kubectl rollout restart.',
  },
  RolloutNotFinished: {
    type: 'Warning',
    title: 'The rollout after a restart did not finish in time. Others do not wait for it any longer.',
    remedy: 'Look at its new pods: kubectl rollout status says what it waits for.',
  },
} as const satisfies Record<string, ReasonText>

export type RestartReason = keyof typeof RESTART_REASONS
