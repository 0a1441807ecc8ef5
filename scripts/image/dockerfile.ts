/** What the last stage of a Dockerfile says, as far as this project's uses it. */
export interface ImageDescription {
  /** What the stage begins with, arguments filled in. */
  readonly base: string
  readonly labels: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
  readonly workdir: string
  readonly user: string
  readonly ports: readonly string[]
  readonly entrypoint: readonly string[]
  readonly cmd: readonly string[]
  readonly copies: readonly Copy[]
}

export interface Copy {
  /** The stage that the files come from. */
  readonly from: string
  /** Paths in that stage; `*` stands for a part of a file's name. */
  readonly sources: readonly string[]
  /** Absolute. */
  readonly destination: string
}

interface Instruction {
  readonly name: string
  readonly value: string
}

/** The base image of every stage, in order, arguments filled in. */
export function baseImages(text: string): string[] {
  const all = instructions(text)
  const values = argumentsIn(all)
  return all.filter(({ name }) => name === 'FROM').map(({ value }) => baseOf(value, values))
}

/**
 * Throws a sentence for an instruction that it does not know: it would be missing where the image is assembled by hand.
 */
export function readDockerfile(text: string): ImageDescription {
  const all = instructions(text)
  const values = argumentsIn(all)
  const start = all.findLastIndex(({ name }) => name === 'FROM')
  const image = {
    base: baseOf(all[start]?.value ?? '', values),
    labels: {} as Record<string, string>,
    env: {} as Record<string, string>,
    workdir: '/',
    user: '0:0',
    ports: [] as string[],
    entrypoint: [] as string[],
    cmd: [] as string[],
    copies: [] as Copy[],
  }
  for (const { name, value } of all.slice(start + 1)) {
    switch (name) {
      case 'ARG':
        break
      case 'LABEL':
        Object.assign(image.labels, pairs(value, values))
        break
      case 'ENV':
        Object.assign(image.env, pairs(value, values))
        break
      case 'WORKDIR':
        image.workdir = value
        break
      case 'USER':
        image.user = value
        break
      case 'EXPOSE':
        image.ports = value.split(/\s+/)
        break
      case 'ENTRYPOINT':
        image.entrypoint = JSON.parse(value)
        break
      case 'CMD':
        image.cmd = JSON.parse(value)
        break
      case 'COPY':
        image.copies.push(copyOf(value, image.workdir))
        break
      default:
        throw new Error(
          `The Dockerfile's last stage has ${name}, which scripts/image/dockerfile.ts does not know yet.`,
        )
    }
  }
  return image
}

/** One for each instruction, continued lines joined, comments left out. */
function instructions(text: string): Instruction[] {
  return text
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => {
      const [, name = '', value = ''] = /^(\S+)\s+(.*)$/.exec(line.trim()) ?? []
      return { name: name.toUpperCase(), value }
    })
}

function argumentsIn(all: readonly Instruction[]): ReadonlyMap<string, string> {
  return new Map(
    all
      .filter(({ name }) => name === 'ARG')
      .map(({ value }) => {
        const [key = '', ...rest] = value.split('=')
        return [key, rest.join('=')]
      }),
  )
}

function baseOf(value: string, values: ReadonlyMap<string, string>): string {
  const [image = ''] = value.split(/\s+/).filter((word) => !word.startsWith('--'))
  return filledIn(image, values)
}

function filledIn(text: string, values: ReadonlyMap<string, string>): string {
  return text.replaceAll(/\$\{(\w+)\}/g, (_, key) => values.get(key) ?? '')
}

/** `A=b C="d e"`. */
function pairs(text: string, values: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S+))/g)].map(([, key, quoted, bare]) => [
      key,
      filledIn(quoted ?? bare ?? '', values),
    ]),
  )
}

function copyOf(value: string, workdir: string): Copy {
  const words = value.split(/\s+/)
  const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length)
  const paths = words.filter((word) => !word.startsWith('--'))
  const destination = paths.pop()
  if (!from || !destination || paths.length === 0) {
    throw new Error(`COPY ${value}: write the last stage's as COPY --from=STAGE SOURCE… DESTINATION.`)
  }
  return { from, sources: paths, destination: destination === './' ? `${workdir}/` : destination }
}
