/** Keys and certificates in text form, as far as they can be checked without using them. */
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'

const PRIVATE_KEY_NAME = /^id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?$|^ssh-privatekey$|^tls\.key$/

/** Names that tools give to private keys and to nothing else. */
export function hasPrivateKeyName(key: string): boolean {
  return PRIVATE_KEY_NAME.test(key)
}

/** True also for one with a passphrase. */
export function isPrivateKey(value: Buffer): boolean {
  const blocks = blocksOf(value.toString('latin1'))
  const keys = blocks.filter(({ label }) => label.endsWith('PRIVATE KEY'))
  return keys.length > 0 && keys.every(isReadable)
}

/** One block or more, and each of them can be read. */
export function isPem(value: Buffer): boolean {
  const blocks = blocksOf(value.toString('latin1'))
  return blocks.length > 0 && blocks.every(isReadable)
}

export function isEncryptedKey(value: Buffer): boolean {
  return blocksOf(value.toString('latin1')).some((block) => {
    if (block.label === OPENSSH) return !['none', undefined].includes(opensshCipher(block))
    return block.label === 'ENCRYPTED PRIVATE KEY' || block.text.includes('Proc-Type: 4,ENCRYPTED')
  })
}

/** A whole one in the form that ssh-keygen writes. */
export function isOpensshKey(value: Buffer): boolean {
  return value.includes(`-----BEGIN ${OPENSSH}-----`) && isPrivateKey(value)
}

/** Of the form that ssh-keygen writes, in which ssh takes no other line ends; in the older ones it does. */
export function hasWindowsLineEnds(value: Buffer): boolean {
  return value.includes(`-----BEGIN ${OPENSSH}-----\r\n`) || value.includes(`-----END ${OPENSSH}-----\r\n`)
}

/** False only if both can be read and do not belong together. */
export function matchesCertificate(key: Buffer, certificate: Buffer | undefined): boolean {
  if (certificate === undefined) return true
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
  } catch {
    return true
  }
}

interface Block {
  /** `RSA PRIVATE KEY` */
  readonly label: string
  readonly body: string
  /** With its first and last line. */
  readonly text: string
}

const OPENSSH = 'OPENSSH PRIVATE KEY'

/** More than the longest lists of authorities have. Each block is parsed, which takes its time. */
const MOST_BLOCKS = 500

const BEGIN = '-----BEGIN '

/**
 * None if one of them is not whole, such as that of a file that was cut off. From one block to the next and never back: with a
 * pattern that looks for the end of every beginning, a value of nothing but beginnings takes minutes.
 */
function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  for (let at = text.indexOf(BEGIN); at !== -1; at = text.indexOf(BEGIN, at)) {
    const block = blockAt(text, at)
    if (block === undefined) return []
    if (blocks.length < MOST_BLOCKS) blocks.push(block)
    at += block.text.length
  }
  return blocks
}

/** No label is longer. */
const MOST_LABEL = 64

function blockAt(text: string, start: number): Block | undefined {
  const head = text.slice(start, start + BEGIN.length + MOST_LABEL + '-----\r\n'.length)
  const [first, label] = /^-----BEGIN ([A-Z0-9 ]+)-----\r?\n/.exec(head) ?? []
  if (first === undefined || label === undefined) return undefined
  const bodyStart = start + first.length
  // Nothing in a body looks like the beginning of a line of its own, so the next one has to be its last.
  const bodyEnd = text.indexOf('-----', bodyStart)
  const last = `-----END ${label}-----`
  if (bodyEnd === -1 || !text.startsWith(last, bodyEnd)) return undefined
  return { label, body: text.slice(bodyStart, bodyEnd), text: text.slice(start, bodyEnd + last.length) }
}

function isReadable(block: Block): boolean {
  const { label, text } = block
  if (label === OPENSSH) return opensshCipher(block) !== undefined
  try {
    if (label.endsWith('PRIVATE KEY')) createPrivateKey(text)
    else if (label.endsWith('PUBLIC KEY')) createPublicKey(text)
    else if (label === 'CERTIFICATE') new X509Certificate(text)
    return true
  } catch (error) {
    return NEEDS_PASSPHRASE.test((error as NodeJS.ErrnoException).code ?? '')
  }
}

const NEEDS_PASSPHRASE = /^ERR_MISSING_PASSPHRASE$|INTERRUPTED_OR_CANCELLED/

/**
 * The cipher that an OpenSSH key is encrypted with, `none` for a key without a passphrase, undefined if it is no such key.
 * Source: PROTOCOL.key of OpenSSH: "openssh-key-v1\0", then the cipher's name behind its length, then the other fields.
 */
function opensshCipher({ body }: Block): string | undefined {
  if (!/^[A-Za-z0-9+/=\s]+$/.test(body)) return undefined
  const bytes = Buffer.from(body, 'base64')
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined
  const fields = opensshFields(bytes.subarray(MAGIC.length))
  return fields?.[0]?.toString('latin1')
}

const MAGIC = Buffer.from('openssh-key-v1\0')

/** Cipher, key derivation, its options, public key and private part; undefined where one of them is cut off. */
function opensshFields(bytes: Buffer): Buffer[] | undefined {
  const fields: Buffer[] = []
  let at = 0
  for (let field = 0; field < 5; field++) {
    // Between the options and the public key stands the number of keys, which is always one.
    if (field === 3) at += 4
    if (at + 4 > bytes.length) return undefined
    const end = at + 4 + bytes.readUInt32BE(at)
    if (end > bytes.length) return undefined
    fields.push(bytes.subarray(at + 4, end))
    at = end
  }
  return fields
}
