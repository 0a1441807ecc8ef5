type Patch<Status> = { [Field in keyof Status]?: Status[Field] | null }

/** A merge patch (RFC 7386) that makes the one status of the other: only what differs, and null for what is to go. */
export function statusPatch<Status extends object>(
  before: Partial<Status> = {},
  after: Status,
): Patch<Status> {
  const old = new Map(Object.entries(before))
  const gone = [...old.keys()].filter((field) => !(field in after))
  const changed = Object.entries(after).filter(
    ([field, value]) => JSON.stringify(value) !== JSON.stringify(old.get(field)),
  )
  return Object.fromEntries([...gone.map((field) => [field, null]), ...changed]) as Patch<Status>
}
