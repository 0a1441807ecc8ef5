/** `npm run demo`, as a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { diffLines } from '../../scripts/demo/line-diff.ts'
import { startWebhook } from '../../scripts/demo/webhook.ts'

function demo(...args: string[]) {
  return spawn(process.execPath, ['scripts/demo.ts', ...args], {
    env: { ...process.env, NO_COLOR: undefined, FORCE_COLOR: undefined },
  })
}

/** Whether something listens at the address that the demo has printed. */
async function isUp(printed: string): Promise<boolean> {
  const socket = connect(Number(/127\.0\.0\.1:(\d+)/.exec(printed)?.[1]), '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

describe('npm run demo', () => {
  test('shows every recorded request and all scenes, ends by itself and leaves nothing behind', async () => {
    const child = demo()
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const file of readdirSync('fixtures/reviews'))
      expect(stdout).toContain(`\n${file.replace('.json', '')} `)
    expect(stdout).toContain('Warning: WorkloadOverrides: main: WANDB_PROJECT ')
    expect(stdout).toContain(
      '  +           - secret:\n  +               name: git-ssh-secret\n  +           - secret:\n  +               name: git-known-hosts\n',
    )
    expect(stdout).toMatch(/\(1\) .*\n(.*\n)*.*\(2\) .*\n(.*\n)*.*\(3\) /)
    expect(stdout).not.toContain('\u001b')
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([])
    expect(await isUp(stdout)).toBe(false)
  })

  test('--color colours without a terminal', async () => {
    const child = demo('--color')
    const [stdout] = await Promise.all([text(child.stdout), once(child, 'close')])
    expect(stdout).toContain('\u001b[32m  + ')
  })

  test('takes the webhook with it when it is interrupted', async () => {
    const child = demo()
    const [first] = await once(child.stdout, 'data')
    child.stdout.resume()
    child.kill('SIGINT')
    await once(child, 'close')
    // It is killed by then; until the kernel has closed its sockets, connections may still be taken.
    await expect.poll(() => isUp(String(first)), { timeout: 10_000 }).toBe(false)
  })
})

test('a webhook that does not start says why', async () => {
  await expect(startWebhook('no-such-folder')).rejects.toThrow(/the webhook does not start: .*no-such-folder/)
})

test('a diff is made of both texts, and has no line twice', () => {
  const lines = fc.array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 12 })
  fc.assert(
    fc.property(lines, lines, (before, after) => {
      const diff = diffLines(before, after)
      expect(diff.filter(({ sign }) => sign !== '+').map(({ text: line }) => line)).toEqual(before)
      expect(diff.filter(({ sign }) => sign !== '-').map(({ text: line }) => line)).toEqual(after)
      if (isDeepStrictEqual(before, after)) expect(diff.every(({ sign }) => sign === ' ')).toBe(true)
    }),
  )
})
