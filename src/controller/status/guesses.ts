/** Guesses about values that are well-formed and yet not meant: each prefers to be silent where it is not sure. */
import { isLogin } from './login.ts'
import { isPem } from './pem.ts'

// ---- Placeholders ----------------------------------------------------------------------------------------------------

/** A placeholder is short and on one line. */
const MOST_PLACEHOLDER_BYTES = 500

/** What placeholders say that there should be. */
const WORDS = new Set(
  'key apikey token password passwd secret user username name id value content string access project file here'.split(
    ' ',
  ),
)

/** The whole value. A pattern must not try the same letters in several ways: whoever writes the value chooses its length. */
const PLACEHOLDERS: readonly RegExp[] = [
  /^(?:change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|it|this)|todo|fixme|tbd|placeholder|redacted)!?$/i,
  // <REDACTED>, <fill in>; addresses of people and of pages stand in such brackets too.
  /^<(?:[a-z][a-z _.'-]*|\.\.\.|…)>$/i,
  // xxxx, hf_xxxxxxxx, sk-ant-xxxx, xxxxxxxx-xxxx-xxxx
  /^(?:[a-z0-9]{1,12}[-_.]){0,4}[a-z0-9]{0,12}x{4,}(?:[-_.]x+)*$/i,
  // ********, hf_****abcd
  /^(?:[a-z0-9]{1,12}[-_]?)?\*{4,}[a-z0-9]{0,6}$/i,
  // AKIA…
  /^[a-z0-9_-]{0,12}(?:\.\.\.|…)$/i,
  // ${WANDB_API_KEY}, {{ .Values.apiKey }}, $(cat key): nobody replaced them
  /^\$\{[^}]*\}$|^\{\{.*\}\}$|^\$\(.*\)$|^%[A-Z_]+%$/,
  // The keys in Amazon's documentation.
  /^A[KS]IA[A-Z0-9]{9}EXAMPLE$|^[A-Za-z0-9/+]{30}EXAMPLEKEY$/,
]

export function looksLikePlaceholder(value: Buffer): boolean {
  if (value.length === 0 || value.length > MOST_PLACEHOLDER_BYTES) return false
  const text = value.toString('utf8').trim()
  // Markup is full of such brackets.
  if (/\n|<\//.test(text)) return false
  return PLACEHOLDERS.some((pattern) => pattern.test(text)) || isRequest(text) || hasBrackets(text)
}

/** your-actual-api-key, YOUR_TOKEN_HERE, insert-your-key-here */
function isRequest(text: string): boolean {
  const bare = text.replace(/^["']|["']$/g, '').toLowerCase()
  if (!/^[a-z]+(?:[-_ ][a-z]+)*$/.test(bare)) return false
  // Some are written together: yourtoken.
  const [first = '', ...rest] = bare.replace(/^your(?=[a-z])/, 'your-').split(/[-_ ]/)
  const isAsked = /^(?:your|insert|enter|paste|put|add)$/.test(first)
  return isAsked && rest.length > 0 && rest.length <= 8 && isWord(rest.at(-1))
}

/** `<api-key>`, `hf_<token>`: most of the value. In an address it may be less: `postgres://ml:<password>@db`. */
function hasBrackets(text: string): boolean {
  // What stands in brackets within a word, or behind a question mark as in regular expressions, is a part of something else.
  const found = text.matchAll(/(?<![a-z0-9?])<([^<>]+)>(?![a-z0-9])/gi)
  const asks = [...found].filter(([, inside = '']) => isAsking(inside))
  const characters = asks.reduce((sum, [whole]) => sum + whole.length, 0)
  if (asks.length > 0 && characters * 2 >= text.length) return true
  const [, login] = /^[a-z][a-z0-9+.-]*:\/\/[^\s/@]*<([^<>@]+)>@/i.exec(text) ?? []
  return login !== undefined && isAsking(login)
}

function isAsking(inside: string): boolean {
  return (
    /^[a-z0-9]+(?:[-_ .][a-z0-9]+)*$/i.test(inside) &&
    inside
      .toLowerCase()
      .split(/[-_ .]/)
      .some(isWord)
  )
}

function isWord(word = ''): boolean {
  return WORDS.has(word) || WORDS.has(word.replace(/s$/, ''))
}

// ---- Base64 ----------------------------------------------------------------------------------------------------------

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/**
 * True for base64 of something that is used as it is and never in base64: PEM, a key file of a cloud, a registry login. Many
 * API keys and tokens are base64 of readable text by intent, so that it is readable says nothing.
 */
export function looksEncodedTwice(value: Buffer): boolean {
  const text = value.toString('latin1').replace(/[\r\n]/g, '')
  if (text.length === 0 || text.length % 4 !== 0 || !BASE64.test(text)) return false
  const decoded = Buffer.from(text, 'base64')
  return isPem(decoded) || isKeyFile(decoded) || isLogin(decoded, '.dockerconfigjson')
}

/** The values of `type` in Google's files; the fields of others that hold a key. */
const KEY_FILE_TYPE = /^(?:service_account|authorized_user|external_account|impersonated_service_account)$/
const KEY_FILE_FIELDS = ['private_key', 'client_secret', 'clientSecret']

function isKeyFile(decoded: Buffer): boolean {
  try {
    const content: unknown = JSON.parse(decoded.toString('utf8'))
    if (typeof content !== 'object' || content === null) return false
    const fields = content as Readonly<Record<string, unknown>>
    const isText = (field: string) => typeof fields[field] === 'string'
    return (isText('type') && KEY_FILE_TYPE.test(fields.type as string)) || KEY_FILE_FIELDS.some(isText)
  } catch {
    return false
  }
}
