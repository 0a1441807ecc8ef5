import { Command, CommanderError } from 'commander'

/** Every command: what help says, and its module, loaded only when it is called. */
const COMMANDS = {
  inject: {
    summary: 'Print manifests with the credentials that their pods ask for, without a cluster',
    load: () => import('./inject.ts'),
  },
}

const WRONG_USAGE = 2

await main(process.argv.slice(2))

async function main(args: string[]): Promise<void> {
  ignoreClosedPipe()
  const program = new Command('kubectl credential')
    .description('Credentials for Kubernetes pods, by name')
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'kubectl credential: ')),
    })
  for (const [name, { summary, load }] of Object.entries(COMMANDS)) {
    const command = program.command(name).summary(summary).description(summary)
    if (args.includes(name)) (await load()).configure(command)
  }
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    process.exitCode = error.exitCode === 0 ? 0 : WRONG_USAGE
  }
}

/** `… | head` closes the pipe before everything is written: that is no error. */
function ignoreClosedPipe(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}
