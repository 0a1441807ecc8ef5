/** Requests that a real API server sent, byte for byte over TLS, by a client that behaves as it does. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import jsonpatch from 'jsonpatch'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openFolder } from '../../src/store/folder.ts'
import { type OpenWebhook, openWebhook } from '../support/webhook.ts'

const REVIEWS = new URL('../../fixtures/reviews/', import.meta.url)
const names = readdirSync(REVIEWS).filter((name) => name.endsWith('.json'))
const bytesOf = (name: string) => readFileSync(new URL(name, REVIEWS))

let webhook: OpenWebhook
beforeAll(async () => {
  const catalog = fileURLToPath(new URL('../../examples/catalog', import.meta.url))
  webhook = await openWebhook({ store: openFolder(catalog, { watch: false }).store })
})
afterAll(() => webhook.close())

test('there are all of them', () => expect(names.length).toBeGreaterThanOrEqual(22))

describe.each(names)('%s', (name) => {
  const bytes = bytesOf(name)
  const { apiVersion, request } = JSON.parse(bytes.toString())
  const annotations = request.object.metadata.annotations ?? {}
  const isCreatedPod = request.operation === 'CREATE' && request.kind.kind === 'Pod'
  const asks = 'credentials.run.ai/inject' in annotations && !('kubernetes.io/config.mirror' in annotations)

  test('is answered', async () => {
    const answer = await webhook.client.post(bytes, { path: '/mutate/pods?timeout=10s' })
    expect(answer.status).toBe(200)
    expect(answer.json()).toMatchObject({
      kind: 'AdmissionReview',
      apiVersion,
      response: { uid: request.uid },
    })
  })

  test('its patch applies, and a second round has nothing to add', async () => {
    const { response } = (await webhook.client.post(bytes)).json()
    expect(response.patch !== undefined).toBe(isCreatedPod && asks)
    if (response.patch === undefined) return
    const patch = JSON.parse(Buffer.from(response.patch, 'base64').toString())
    const object = jsonpatch.apply_patch(structuredClone(request.object), patch)
    const again = (
      await webhook.client.post(
        JSON.stringify({ ...JSON.parse(bytes.toString()), request: { ...request, object } }),
      )
    ).json()
    expect(again.response.allowed).toBe(true)
    expect(again.response).not.toHaveProperty('patch')
    expect(again.response.auditAnnotations).toEqual(response.auditAnnotations)
  })
})

test('many at once, in turns, are each answered with their own', async () => {
  const posted = Array.from({ length: 300 }, (_, index) =>
    bytesOf(names[index % names.length] as string),
  ).filter(({ length }) => length < 200_000)
  const answers = await Promise.all(posted.map((bytes) => webhook.client.post(bytes)))
  for (const [index, answer] of answers.entries())
    expect(answer.json().response.uid).toBe(JSON.parse(String(posted[index])).request.uid)
})
