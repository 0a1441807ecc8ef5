import { describe, expect, test } from 'vitest'
import { podShapeProblem } from '../../src/inject/shape.ts'

const pod = (container: object) => ({ metadata: {}, spec: { containers: [{ name: 'main', ...container }] } })

describe('the shape of a pod', () => {
  test.each([
    [pod({})],
    [pod({ env: null, envFrom: null, volumeMounts: null, securityContext: null })],
    [pod({ env: [{ name: 'A', valueFrom: { fileKeyRef: { path: 'x' } } }], unknown: 1 })],
    [{ metadata: null, spec: { containers: [] } }],
  ])('is right: %j', (value) => expect(podShapeProblem(value)).toBeUndefined())

  test.each([
    [undefined, 'the pod is not an object'],
    [[], 'the pod is not an object'],
    [{}, 'spec is not an object'],
    [{ spec: { containers: {} } }, 'spec.containers is not a list'],
    [{ spec: { containers: [null] } }, 'spec.containers[0] is not an object'],
    [{ spec: { initContainers: [{}] } }, 'spec.initContainers[0].name is not a string'],
    [pod({ env: 'x' }), 'spec.containers[0].env is not a list'],
    [pod({ env: [{ name: 'A', value: 1 }] }), 'spec.containers[0].env[0].value is not a string'],
    [pod({ volumeMounts: [{ name: 'x' }] }), 'spec.containers[0].volumeMounts[0].mountPath is not a string'],
    [
      pod({ securityContext: { runAsUser: '0' } }),
      'spec.containers[0].securityContext.runAsUser is not a number',
    ],
    [{ metadata: { annotations: { a: 1 } }, spec: {} }, 'metadata.annotations[a] is not a string'],
    [
      { spec: { volumes: [{ name: 'x', projected: { sources: [1] } }] } },
      'spec.volumes[0].projected.sources[0] is not an object',
    ],
  ])('is wrong: %j', (value, sentence) => expect(podShapeProblem(value)).toBe(sentence))
})
