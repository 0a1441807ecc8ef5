/** What the API server takes as names (RFC 1123), and its sentences where they are none. */

export interface NameRule {
  readonly limit: number
  readonly pattern: RegExp
  readonly sentence: string
}

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`

export const DNS_LABEL: NameRule = {
  limit: 63,
  pattern: new RegExp(`^${LABEL}$`),
  sentence: `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${LABEL}')`,
}

export const DNS_SUBDOMAIN: NameRule = {
  limit: 253,
  pattern: new RegExp(`^${SUBDOMAIN}$`),
  sentence: `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`,
}
