/** What a person has most probably done, for an error code of the `yaml` package. Its own messages quote the text, which may hold a secret. */
export function yamlFault(code: string): string {
  return FAULTS[code] ?? 'something stands where it cannot'
}

const FAULTS: Readonly<Record<string, string>> = {
  ALIAS_PROPS: 'an alias cannot have an anchor or a tag',
  BAD_ALIAS: 'the name of an alias or anchor is missing',
  BAD_COLLECTION_TYPE: 'the tag does not fit what follows it',
  BAD_DIRECTIVE: 'the % directive cannot be understood',
  BAD_DQ_ESCAPE:
    'a double-quoted string has an unknown escape: write \\\\ for a backslash, or use single quotes',
  BAD_INDENT: 'the indentation does not fit the lines above',
  BAD_PROP_ORDER: 'an anchor or tag stands before the indicator that it should follow',
  BAD_SCALAR_START: 'a value begins with a reserved character: put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'there is a second "key: value" on one line, or a wrong indentation: put the value in quotes or on its own line',
  BLOCK_IN_FLOW: 'a block list or map cannot stand inside [ ] or { }',
  DUPLICATE_KEY: 'the key stands twice in one map: remove one of the two',
  KEY_OVER_1024_CHARS: 'the key is too long',
  MISSING_CHAR: 'a quote, bracket, comma, colon, dash or space is missing here or above',
  MULTILINE_IMPLICIT_KEY: 'a key goes over several lines: a colon or a quote is missing',
  MULTIPLE_ANCHORS: 'there are two anchors on one node',
  MULTIPLE_DOCS: 'there is more than one document',
  MULTIPLE_TAGS: 'there are two tags on one node',
  RESOURCE_EXHAUSTION: 'the nesting is too deep',
  TAB_AS_INDENT: 'a tab is used for indentation: use spaces',
  TAG_RESOLVE_FAILED: 'the value does not fit its tag',
  UNEXPECTED_TOKEN:
    'something stands where it cannot: look for a wrong indentation, or a missing quote, bracket or ---',
}
