/** Values for Secrets of tests: well-formed, and with a mark that must never be seen anywhere else. */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'

/** Stands in every value. */
export const CANARY = 'CanaryQx7Zk2'

export const base64 = (text: string | Buffer): string => Buffer.from(text).toString('base64')

const field = (bytes: string | Buffer) => {
  const content = Buffer.from(bytes as string)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, content])
}

/** In the form that ssh-keygen writes; its content is chance, so it opens nothing. */
export function opensshKey({ cipher = 'none' } = {}): string {
  const one = Buffer.from([0, 0, 0, 1])
  const bytes = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field(cipher),
    field(cipher === 'none' ? 'none' : 'bcrypt'),
    field(cipher === 'none' ? '' : randomBytes(24)),
    one,
    field(Buffer.concat([field('ssh-ed25519'), field(randomBytes(32))])),
    field(Buffer.concat([randomBytes(128), Buffer.from(CANARY)])),
  ])
  const lines = bytes.toString('base64').match(/.{1,70}/g) as string[]
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`
}

let key: KeyObject | undefined
export function pemKey(): string {
  key ??= generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}

export function encryptedPemKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: CANARY,
  }) as string
}

export function dockerConfig(registry: string, user = 'robot', password: string = CANARY): string {
  return JSON.stringify({ auths: { [registry]: { auth: base64(`${user}:${password}`) } } })
}
