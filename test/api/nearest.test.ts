import { describe, expect, test } from 'vitest'
import { didYouMean, nearest } from '../../src/api/nearest.ts'

const NAMES = ['wandb-credentials', 'aws-s3-access', 'git-ssh-credentials', 'cluster/dockerhub']

describe('the nearest name', () => {
  test.each([
    ['wandb-credential', 'wandb-credentials'],
    ['wnadb-credentials', 'wandb-credentials'],
    ['WANDB-CREDENTIALS', 'wandb-credentials'],
    ['aws-s3-acess', 'aws-s3-access'],
    ['cluster/dockerhup', 'cluster/dockerhub'],
    ['git-ssh', 'git-ssh-credentials'],
  ])('%s was meant to be %s', (word, meant) => expect(nearest(word, NAMES)).toBe(meant))

  test.each(['postgres', 'x', '', 'aws-gcp-azure', 'credentials'])('%s is near nothing', (word) => {
    expect(nearest(word, NAMES)).toBeUndefined()
  })

  test('a beginning of several names suggests none of them', () => {
    expect(nearest('team', ['team-a-access', 'team-b-access'])).toBeUndefined()
  })

  test('the nearest of several wins', () => expect(nearest('main1', ['main22', 'main2'])).toBe('main2'))

  test('nothing is said where nothing is near', () => {
    expect(didYouMean('postgres', NAMES)).toBe('')
    expect(didYouMean('aws-s3-acces', NAMES)).toBe('; did you mean "aws-s3-access"?')
  })
})
