/** Guesses about values that are well-formed and yet not meant: each prefers to be silent where it is not sure. */

/** A placeholder is short and on one line. */
const MOST_PLACEHOLDER_BYTES = 500

const WORD =
  '(?:key|token|password|passwd|secret|user|username|name|id|value|content|string|access|project|file|here)'

const PLACEHOLDERS: readonly RegExp[] = [
  // <api-key>, hf_<token>, postgres://<user>:<password>@host
  new RegExp(`<[^<>]*${WORD}[^<>]*>`, 'i'),
  /^<[^<>]*>$/,
  // your-actual-api-key, YOUR_TOKEN_HERE
  new RegExp(`^["']?your[-_ ]?(?:[a-z]+[-_ ]?){0,6}${WORD}[-_ ]?[a-z]*["']?$`, 'i'),
  new RegExp(`^(?:insert|enter|paste|put|add)[-_ ](?:[a-z]+[-_ ]){0,6}(?:${WORD}|here)$`, 'i'),
  /^(?:change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|it|this)|todo|fixme|tbd|placeholder|redacted|none|null|undefined)!?$/i,
  // xxxx, hf_xxxxxxxx, sk-xxxx, AKIA…
  /^(?:[a-z0-9]{1,12}[-_]?)?x{4,}$/i,
  /x{8,}/i,
  /\*{4,}/,
  /^.{0,12}(?:\.\.\.|…)$/,
  // ${WANDB_API_KEY}, {{ .Values.apiKey }}, $(cat key): nobody replaced them
  /^\$\{[^}]*\}$|^\{\{.*\}\}$|^\$\(.*\)$|^%[A-Z_]+%$/,
  // The keys in Amazon's documentation.
  /EXAMPLE(?:KEY)?$/,
]

export function looksLikePlaceholder(value: Buffer): boolean {
  if (value.length === 0 || value.length > MOST_PLACEHOLDER_BYTES) return false
  const text = value.toString('utf8').trim()
  // Markup is full of such brackets.
  return !/\n|<\//.test(text) && PLACEHOLDERS.some((pattern) => pattern.test(text))
}

/** Below this a word may be base64 of something by chance. */
const LEAST_ENCODED_CHARACTERS = 12

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
const PRINTABLE = /^[\x20-\x7e\t\r\n]+$/

/**
 * True for base64 whose content is all readable text. Keys that are random, and so base64 by chance or by intent, have other
 * bytes inside: of 24 random ones all are printable once in a hundred thousand million times.
 */
export function looksEncodedTwice(value: Buffer): boolean {
  const text = value.toString('latin1').replace(/[\r\n]/g, '')
  if (text.length < LEAST_ENCODED_CHARACTERS || text.length % 4 !== 0 || !BASE64.test(text)) return false
  return PRINTABLE.test(Buffer.from(text, 'base64').toString('latin1'))
}
