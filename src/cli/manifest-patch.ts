/** JSON Patch for YAML and JSON texts: what no operation touches stays byte for byte. */
import { isDeepStrictEqual } from 'node:util'
import { apply_patch as applyPatch } from 'jsonpatch'
import type { PatchOperation } from '../api/pod.ts'
import { readYaml, type YamlDocument, type YamlText } from './kubernetes-yaml.ts'
import { patchNodes } from './yaml-patch.ts'
import { splice, splicesOf } from './yaml-splice.ts'

/**
 * The text with operations carried out on some of its documents, by their number. It is read again and compared with
 * what the operations make of the plain data; throws, with a sentence that quotes nothing, if it says anything else.
 */
export function patchText(
  source: YamlText,
  operations: ReadonlyMap<number, readonly PatchOperation[]>,
): string {
  if (operations.size === 0) return source.text
  const splices = [...operations].flatMap(([index, list]) => {
    const { doc } = source.documents[index] as YamlDocument
    return splicesOf(source.text, doc, patchNodes(doc, list))
  })
  const result = splice(source.text, splices)
  const expected = source.documents.map(({ value }, index) =>
    applyPatch(value, [...(operations.get(index) ?? [])]),
  )
  const written = readYaml(result).documents.map(({ value }) => value)
  if (!isDeepStrictEqual(written, expected)) throw new Error('the changed text would not say what it should')
  return result
}
