import { Counter, Gauge, type Registry } from 'prom-client'
import { PREFIX } from '../../process/metrics.ts'

export type CertificateRole = 'ca' | 'serving'

export interface CertificateMetrics {
  /** Undefined while there is none. */
  expires(role: CertificateRole, at: number | undefined): void
  rotated(role: CertificateRole): void
  bundleWritten(): void
  /** Whether the last look ended as it should. */
  healthy(ok: boolean): void
}

const ROLES: readonly CertificateRole[] = ['ca', 'serving']

export function createCertificateMetrics(registers: Registry[]): CertificateMetrics {
  const expiry = new Gauge({
    registers,
    name: `${PREFIX}managed_certificate_expiry_timestamp_seconds`,
    help: 'When the stored certificate expires, in seconds since 1970; 0 while there is none.',
    labelNames: ['certificate'],
  })
  const rotations = new Counter({
    registers,
    name: `${PREFIX}managed_certificate_rotations_total`,
    help: 'Certificates that were made, the first ones included.',
    labelNames: ['certificate'],
  })
  const bundles = new Counter({
    registers,
    name: `${PREFIX}managed_ca_bundle_writes_total`,
    help: 'Times that bundles of webhook configurations were written.',
  })
  const failing = new Gauge({
    registers,
    name: `${PREFIX}managed_certificate_failing`,
    help: '1 while the certificates cannot be looked after; the log says why.',
  })
  for (const certificate of ROLES) {
    expiry.set({ certificate }, 0)
    rotations.inc({ certificate }, 0)
  }
  return {
    expires: (certificate, at) => expiry.set({ certificate }, (at ?? 0) / 1000),
    rotated: (certificate) => rotations.inc({ certificate }),
    bundleWritten: () => bundles.inc(),
    healthy: (ok) => failing.set(ok ? 0 : 1),
  }
}
