/**
 * `npm run demo`: starts the real HTTPS webhook on the example catalogue, sends it what an API server sent, shows what
 * comes back, and ends by itself. `--color` for colours without a terminal.
 */
import { parseArgs } from 'node:util'
import { recordedReviews } from './demo/reviews.ts'
import { SCENES, type Scene } from './demo/scenes.ts'
import { paintFor, podDiff, podLines, table, title, wrap } from './demo/screen.ts'
import { type Answer, startWebhook, type Webhook } from './demo/webhook.ts'

const CATALOG = 'examples/catalog'

const { values: flags } = parseArgs({ options: { color: { type: 'boolean', default: false } } })
const paint = paintFor(flags.color)

// An interrupted process ends by `exit`, which takes the webhook with it.
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

try {
  await demo()
} catch (error) {
  process.stderr.write(`The demo has failed: ${(error as Error).message}\n`)
  process.exitCode = 1
}

async function demo(): Promise<void> {
  const start = performance.now()
  const webhook = await startWebhook(CATALOG)
  try {
    print([
      ...title('The webhook', paint),
      `Ready after ${seconds(start)} at ${webhook.url}`,
      `with the credentials of ${CATALOG}`,
    ])
    print([...title('Every recorded request of an API server, over TLS', paint), ...(await sendAll(webhook))])
    for (const scene of SCENES) print(await play(scene, webhook))
    print(whatNext())
  } finally {
    await webhook.stop()
  }
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`)
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(2)} s`
}

async function sendAll(webhook: Webhook): Promise<string[]> {
  const rows = [['request', 'outcome', 'credentials', 'warn', 'ms']]
  const answers: Answer[] = []
  for (const { name, body } of recordedReviews()) {
    const answer = await webhook.review(body)
    const { warnings = [], auditAnnotations } = answer.response
    answers.push(answer)
    rows.push([
      name,
      auditAnnotations.outcome,
      namesIn(auditAnnotations.credentials),
      String(warnings.length),
      answer.milliseconds.toFixed(1),
    ])
  }
  const [head = '', ...lines] = table(rows, new Set([3, 4]))
  const injected = answers.filter(({ response }) => response.patch !== undefined).length
  const summary = `${answers.length} requests: ${injected} pods got credentials, ${answers.length - injected} requests were left alone.`
  return [paint('dim', head), ...lines, '', summary]
}

/** `Credential/a,ClusterCredential/b` as a pod would name them, cut to what fits. */
function namesIn(audited = ''): string {
  const names = audited
    .split(',')
    .filter(Boolean)
    .map((name) =>
      name
        .replace(/@.*/, '')
        .replace(/^Credential\//, '')
        .replace(/^ClusterCredential\//, 'cluster/'),
    )
  const [first = '', ...others] = names
  return others.length === 0 ? first : `${first} +${others.length}`
}

async function play({ title: text, remark, review }: Scene, webhook: Webhook): Promise<string[]> {
  const pod = review.request.object
  const answer = await webhook.review(JSON.stringify(review))
  const { allowed, status, warnings = [] } = answer.response
  const head = [...title(text, paint), ...wrap(remark, ''), '']
  if (!allowed) {
    const message = wrap(status?.message ?? '', '  ', '    ').map((line) => paint('red', line))
    return [...head, ...podLines(pod, paint), '', ...message]
  }
  const shownWarnings = warnings
    .flatMap((warning) => wrap(`Warning: ${warning}`, '  ', '  '))
    .map((line) => paint('yellow', line))
  return [...head, ...podDiff(pod, answer, paint), ...(warnings.length > 0 ? ['', ...shownWarnings] : [])]
}

function whatNext(): string[] {
  const commands = [
    ['Keep the webhook running', 'npm start -- --catalog examples/catalog'],
    [
      '… and ask it',
      "curl --insecure -H 'content-type: application/json' \\\n    --data-binary @fixtures/reviews/pod-bare-kubectl.json https://127.0.0.1:8443/mutate/pods",
    ],
    [
      'Inject without any server',
      'npm run -s credential -- inject -f examples/pods/ssh.yaml --catalog examples/catalog',
    ],
    ['Run every test', 'npm test'],
  ]
  return [
    ...title('Try next', paint),
    ...commands.flatMap(([what, command]) => [`${what}:`, paint('cyan', `  ${command}`)]),
  ]
}
