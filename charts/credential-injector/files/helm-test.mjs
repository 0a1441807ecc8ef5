// `helm test`: sends the webhook a review over its Service, as the API server does, and checks name and certificate with the
// CA in NODE_EXTRA_CA_CERTS or CA_BUNDLE (base64 of PEM). WEBHOOK is its address. Prints one sentence; exits 1 if it is bad.
import { request } from 'node:https'

const { WEBHOOK, CA_BUNDLE } = process.env
const uid = '705ab4f5-6393-11e8-b7cc-42010a800002'
const review = {
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid,
    kind: { group: '', version: 'v1', kind: 'Pod' },
    resource: { group: '', version: 'v1', resource: 'pods' },
    namespace: 'default',
    operation: 'CREATE',
    userInfo: { username: 'helm-test' },
    object: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'helm-test', namespace: 'default' },
      spec: { containers: [{ name: 'main', image: 'main' }] },
    },
    dryRun: true,
  },
}

function end(code, sentence) {
  process.stdout.write(`${sentence}\n`)
  process.exit(code)
}

const call = request(
  WEBHOOK,
  {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    timeout: 10_000,
    ...(CA_BUNDLE && { ca: Buffer.from(CA_BUNDLE, 'base64') }),
  },
  async (answer) => {
    let text = ''
    for await (const piece of answer.setEncoding('utf8')) text += piece
    let response
    try {
      ;({ response } = JSON.parse(text))
    } catch {}
    if (answer.statusCode !== 200 || response?.uid !== uid || response.allowed !== true)
      end(1, `The webhook at ${WEBHOOK} answers with ${answer.statusCode} ${text}`)
    end(0, `The webhook at ${WEBHOOK} answers reviews, with a certificate that the CA has signed.`)
  },
)
call.on('timeout', () => call.destroy(new Error('no answer within 10 s')))
call.on('error', (error) => end(1, `The webhook at ${WEBHOOK} cannot be called: ${error.message}`))
call.end(JSON.stringify(review))
