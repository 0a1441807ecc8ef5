import { Command } from 'commander'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { addCertificateFlags, certificateSettings } from '../../../src/controller/certificates/settings.ts'

const DAY = 86_400_000

function settings(...argv: string[]) {
  const command = addCertificateFlags(new Command('controller'))
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
  command.parse(argv, { from: 'user' })
  return certificateSettings(command.opts())
}

afterEach(() => vi.unstubAllEnvs())

test('without --self-managed-certificates there is nothing to do', () => {
  expect(settings('--ca-validity', '1d')).toBeUndefined()
})

test('the defaults are the chart’s names, ten years and ninety days', () => {
  expect(settings('--self-managed-certificates')).toEqual({
    service: 'credential-injector-webhook',
    extraNames: [],
    authoritySecret: 'credential-injector-ca',
    servingSecret: 'credential-injector-webhook-tls',
    mutatingConfigurations: ['credential-injector', 'credential-injector-policies'],
    validatingConfigurations: ['credential-injector-workloads'],
    authorityValidity: 3650 * DAY,
    servingValidity: 90 * DAY,
    overlap: 600_000,
    settle: 30_000,
  })
})

test('flags and variables', () => {
  vi.stubEnv('CREDENTIAL_INJECTOR_SELF_MANAGED_CERTIFICATES', 'true')
  vi.stubEnv('CREDENTIAL_INJECTOR_CA_VALIDITY', '730d')
  expect(
    settings(
      '--mutating-configurations',
      'a, b.c',
      '--validating-configurations',
      '',
      '--certificate-validity=12h',
    ),
  ).toMatchObject({
    authorityValidity: 730 * DAY,
    servingValidity: DAY / 2,
    mutatingConfigurations: ['a', 'b.c'],
    validatingConfigurations: [],
  })
})

describe('what cannot be is told', () => {
  test.for([
    [['--ca-validity', '400d'], /^--ca-validity must be at least five times --certificate-validity/],
    [['--certificate-validity', '30m'], /^--certificate-validity must be at least three times/],
    [['--ca-validity', '10y'], /Write a whole number and a unit, such as 90d/],
    [['--ca-validity', '0d'], /Write a whole number and a unit/],
    [['--certificate-overlap', '99999999d'], /Write a whole number and a unit/],
    [['--ca-validity', '999999d'], /at most 100 years/],
    [['--webhook-service', 'Web_hook'], /"Web_hook" is no name/],
    [['--mutating-configurations', 'a,B'], /"B" is no name/],
  ] as const)('%j', ([argv, sentence]) => {
    expect(() => settings('--self-managed-certificates', ...argv)).toThrow(sentence)
  })
})
