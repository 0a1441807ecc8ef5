/**
 * What is looked at in the content of a Secret: one entry for each fault, and nothing else about it anywhere. Ordered: the fault
 * that hides others first; the first one that is found becomes the reason of the condition `Healthy`.
 *
 * A check answers yes or no. No part of a value can get into a message, because no check returns any.
 */
import { looksEncodedTwice, looksLikePlaceholder } from './guesses.ts'
import { isLogin, loginsOf, namesRegistry } from './login.ts'
import {
  hasPrivateKeyName,
  hasWindowsLineEnds,
  isEncryptedKey,
  isOpensshKey,
  isPem,
  isPrivateKey,
  matchesCertificate,
} from './pem.ts'

/** One value of the Secret, and what pods do with it. */
export interface Content {
  readonly key: string
  readonly value: Buffer
  readonly asVariable: boolean
  readonly asFile: boolean
  readonly asLogin: boolean
  /** `spec.service` and `spec.registry` of the credential. */
  readonly service: string | undefined
  readonly registry: string | undefined
  /** Another value of the same Secret. */
  other(key: string): Buffer | undefined
}

interface HealthCheck {
  /** What is wrong, as a sentence about the value of a key. */
  readonly fault: string
  readonly remedy: string
  /** `form` is not looked at where a check of `text` has found something: a placeholder need not be told that it is no JSON. */
  readonly stage: 'text' | 'form' | 'style'
  readonly finds: (content: Content) => boolean
}

export const HEALTH_CHECKS = {
  EmptyValue: {
    fault: 'The value is empty.',
    remedy: 'Put the value into the Secret, or remove the key.',
    stage: 'text',
    finds: ({ value }) => value.length === 0,
  },
  Placeholder: {
    fault: 'The value is a placeholder, such as <api-key>, that was never replaced.',
    remedy: 'Put the real value into the Secret.',
    stage: 'text',
    finds: ({ value, asLogin }) =>
      asLogin
        ? loginsOf(value).some(({ password }) => looksLikePlaceholder(Buffer.from(password)))
        : looksLikePlaceholder(value),
  },
  EncodedTwice: {
    fault: 'The value is base64 twice over: pods get base64 text instead of the value.',
    remedy:
      'Under data write base64 once; under stringData, and with kubectl create secret, write the value as it is.',
    stage: 'text',
    // Whose name says that it is base64 is meant to be.
    finds: ({ key, value }) => !/b64|base64/i.test(key) && looksEncodedTwice(value),
  },
  NotText: {
    fault: 'The value is not text, so it cannot be a variable.',
    remedy: 'Use type file for it, or correct the value.',
    stage: 'text',
    finds: ({ value, asVariable }) => asVariable && (value.includes(0) || !isUtf8(value)),
  },
  ByteOrderMark: {
    fault:
      'The value begins with a byte order mark, which is not seen and which programs take for a part of it.',
    remedy: 'Save it as UTF-8 without byte order mark, then create the Secret again.',
    stage: 'text',
    finds: ({ value }) => value.subarray(0, 3).equals(BYTE_ORDER_MARK),
  },
  InvalidJson: {
    fault: 'The value is not JSON.',
    remedy: 'Create the Secret from the whole file, with kubectl create secret generic --from-file.',
    stage: 'form',
    finds: (content) => shouldBeJson(content) && !isJson(content.value),
  },
  InvalidPrivateKey: {
    fault: 'The value is not a private key in PEM or OpenSSH form, or a part of it is missing.',
    remedy:
      'Create the Secret from the whole file of the private key, not of the public one, with --from-file.',
    stage: 'form',
    finds: (content) => shouldBePrivateKey(content) && !isPrivateKey(content.value),
  },
  EncryptedPrivateKey: {
    fault: 'The private key has a passphrase, which nobody can type in a pod.',
    remedy: 'Use a key of its own without a passphrase: ssh-keygen -N "".',
    stage: 'form',
    finds: (content) => isKeyFile(content) && isEncryptedKey(content.value),
  },
  InvalidPem: {
    fault: 'The value is not PEM that can be read.',
    remedy: 'Create the Secret from the whole file, with --from-file; it begins with -----BEGIN.',
    stage: 'form',
    finds: (content) => shouldBePem(content) && !isPem(content.value),
  },
  KeyOfAnotherCertificate: {
    fault: 'The private key does not belong to the certificate tls.crt of the same Secret.',
    remedy: 'Put the key and the certificate that were made together into the Secret.',
    stage: 'form',
    finds: ({ key, value, other }) => key === 'tls.key' && !matchesCertificate(value, other('tls.crt')),
  },
  InvalidRegistryLogin: {
    fault: 'The value is not a registry login: JSON with auths, each with a user and a password.',
    remedy: 'Create the Secret with kubectl create secret docker-registry.',
    stage: 'form',
    finds: ({ value, asLogin, key }) => asLogin && !isLogin(value, key),
  },
  RegistryMissing: {
    fault: 'The Secret has no login for the registry that spec.registry names.',
    remedy: 'Create the Secret for that registry, or correct spec.registry.',
    stage: 'form',
    finds: ({ value, asLogin, key, registry }) =>
      asLogin && registry !== undefined && isLogin(value, key) && !namesRegistry(value, registry),
  },
  WindowsLineEnds: {
    fault: 'The OpenSSH private key has the line ends of Windows, which ssh refuses in this form.',
    remedy: 'Convert the file with dos2unix, then create the Secret again.',
    stage: 'style',
    finds: ({ value }) => hasWindowsLineEnds(value),
  },
  NoFinalLineBreak: {
    fault: 'The OpenSSH private key does not end with a line break, which ssh refuses.',
    remedy: 'Create the Secret from the whole file, with --from-file.',
    stage: 'style',
    // Of a variable programs make a file as they need it.
    finds: ({ value, asFile }) => asFile && isOpensshKey(value) && value.at(-1) !== LINE_FEED,
  },
  TrailingLineBreak: {
    fault: 'The value ends with a line break, which becomes a part of the variable.',
    remedy: 'Make it with printf %s or --from-literal instead of echo.',
    stage: 'style',
    finds: (content) => isOneLineVariable(content) && content.value.at(-1) === LINE_FEED,
  },
  SurroundingBlanks: {
    fault: 'The value begins or ends with a blank, which becomes a part of the variable.',
    remedy: 'Remove the blank and create the Secret again.',
    stage: 'style',
    finds: (content) => isOneLineVariable(content) && hasSurroundingBlanks(content.value),
  },
} as const satisfies Record<string, HealthCheck>

export type HealthFault = keyof typeof HEALTH_CHECKS

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])
const LINE_FEED = 0x0a

function isUtf8(value: Buffer): boolean {
  return Buffer.from(value.toString('utf8')).equals(value)
}

function isJson(value: Buffer): boolean {
  try {
    JSON.parse(value.toString('utf8'))
    return true
  } catch {
    return false
  }
}

/** Google's credential files are JSON whatever their name. */
function shouldBeJson({ key, asFile, service }: Content): boolean {
  return key.endsWith('.json') || (asFile && service === 'gcp')
}

function isKeyFile(content: Content): boolean {
  return hasPrivateKeyName(content.key) || content.value.includes('PRIVATE KEY-----')
}

/** The other files of ssh and git lie beside keys. */
const NO_SSH_KEY = /\.pub$|known_hosts|config|credentials|^authorized_keys|^allowed_signers/

function shouldBePrivateKey({ key, asFile, service }: Content): boolean {
  return hasPrivateKeyName(key) || (asFile && service === 'git-ssh' && !NO_SSH_KEY.test(key))
}

function shouldBePem(content: Content): boolean {
  return /\.pem$|^tls\.crt$|^ca\.crt$/.test(content.key) && !shouldBePrivateKey(content)
}

/** Whose text has several lines, such as PEM and JSON, is read by programs that do not mind what is around it. */
function isOneLineVariable({ value, asVariable, asFile }: Content): boolean {
  return asVariable && !asFile && !value.toString('latin1').trim().includes('\n')
}

function hasSurroundingBlanks(value: Buffer): boolean {
  const text = value.toString('utf8').replace(/\r?\n$/, '')
  return /^\s|\s$/.test(text)
}
