import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const SCRIPT = fileURLToPath(new URL('../../scripts/cluster.ts', import.meta.url))
const NAME = `test-${randomUUID().slice(0, 8)}`

afterAll(() => cluster('down', '--name', NAME))

test('a cluster outlives the command that starts it, is used by what it prints, and is stopped by its name', async () => {
  const up = await cluster('up', '--no-node', '--name', NAME)
  expect(up, up.stderr).toMatchObject({ code: 0 })
  const exports = up.stdout.split('\n').filter((line) => line.startsWith('export '))
  const shell = await run('sh', ['-c', `${exports.join('\n')}\nkubectl get namespace kube-system -o name`])
  expect(shell).toMatchObject({ code: 0, stdout: 'namespace/kube-system\n' })

  expect(await cluster('up', '--no-node', '--name', NAME)).toMatchObject({
    code: 1,
    stderr: `A cluster named ${NAME} runs already: npm run cluster:down -- --name ${NAME} stops it.\n`,
  })
  expect(await cluster('down', '--name', `${NAME}-other`)).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(new RegExp(`^There is no cluster named ${NAME}-other. Running: .*${NAME}`)),
  })

  expect(await cluster('down', '--name', NAME)).toMatchObject({ code: 0, stdout: `Stopped ${NAME}.\n` })
  const gone = await run('sh', ['-c', `${exports.join('\n')}\ntest -e $KUBECONFIG`])
  expect(gone.code).toBe(1)
})

test.each([[['sideways']], [['up', '--nam', 'x']], [[]]])(
  '%j is answered by how it is used',
  async (args) => {
    const { code, stderr } = await cluster(...args)

    expect(code).toBe(1)
    expect(stderr).toContain('Use: npm run cluster:up [-- --name NAME')
  },
)

function cluster(...args: string[]) {
  return run(process.execPath, [SCRIPT, ...args])
}

function run(command: string, args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) =>
    execFile(command, args, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    ),
  )
}
