import { type Command, InvalidArgumentError } from 'commander'
import { seconds, variable } from '../../config/flags.ts'

/** How workloads are restarted for rotations; times in milliseconds. */
export interface RotationSettings {
  /** False: nothing is changed, and what would be restarted is reported. */
  readonly restartWorkloads: boolean
  /** Restarts of all workloads wait until this is false. */
  readonly isPaused: boolean
  /** How long a Secret must not have changed before workloads are restarted for it. */
  readonly settle: number
  /** One workload of a namespace after another. */
  readonly oneAtATime: boolean
  /** Rollouts that are under way at once in the whole cluster. */
  readonly atOnce: number
  /** How long a rollout may take before others do not wait for it any longer. */
  readonly rolloutLimit: number
}

export interface RotationFlags {
  restartWorkloads: boolean
  rotationPaused: boolean
  rotationSettle: number
  rotationOneAtATime: boolean
  rotationAtOnce: number
  rotationRolloutLimit: number
}

export function rotationSettings(flags: RotationFlags): RotationSettings {
  return {
    restartWorkloads: flags.restartWorkloads,
    isPaused: flags.rotationPaused,
    settle: flags.rotationSettle * 1000,
    oneAtATime: flags.rotationOneAtATime,
    atOnce: flags.rotationAtOnce,
    rolloutLimit: flags.rotationRolloutLimit * 1000,
  }
}

/** `trueOrFalse` reads a flag's value. */
export function addRotationFlags(command: Command, trueOrFalse: (text: string) => boolean): Command {
  const yesOrNo = (flags: string, name: string, description: string, value: boolean) =>
    variable(flags, name, description).argParser(trueOrFalse).default(value)
  const limit = (flags: string, name: string, description: string, value: number) =>
    variable(flags, name, description).argParser(seconds).default(value)
  return command
    .addOption(
      yesOrNo(
        '--restart-workloads <yes>',
        'RESTART_WORKLOADS',
        'true: restart workloads whose credentials were rotated, where that is asked for; false: only report them',
        true,
      ),
    )
    .addOption(
      yesOrNo('--rotation-paused <yes>', 'ROTATION_PAUSED', 'true: put all restarts off for now', false),
    )
    .addOption(
      limit(
        '--rotation-settle <seconds>',
        'ROTATION_SETTLE',
        'how long a Secret must not have changed before workloads are restarted for it: several edits are one restart',
        10,
      ),
    )
    .addOption(
      yesOrNo(
        '--rotation-one-at-a-time <yes>',
        'ROTATION_ONE_AT_A_TIME',
        'true: restart one workload of a namespace after another',
        false,
      ),
    )
    .addOption(
      variable(
        '--rotation-at-once <number>',
        'ROTATION_AT_ONCE',
        'most rollouts that are under way at once in the whole cluster',
      )
        .argParser(atOnce)
        .default(10),
    )
    .addOption(
      limit(
        '--rotation-rollout-limit <seconds>',
        'ROTATION_ROLLOUT_LIMIT',
        'how long a rollout may take before others do not wait for it any longer',
        600,
      ),
    )
}

function atOnce(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 1000)
    throw new InvalidArgumentError('Write a number from 1 to 1000, such as 10.')
  return value
}
