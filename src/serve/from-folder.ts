import { openFolder } from '../store/folder.ts'
import { type Catalogue, type CatalogueParts, measure } from './catalogue.ts'

/** The manifests of a folder. Throws, with a sentence, if it cannot be read. */
export function fromFolder(catalog: string, { namespace, log, metrics }: CatalogueParts): Catalogue {
  const folder = openFolder(catalog, {
    ownerNamespace: namespace,
    onReload: ({ changed, problems }) => {
      log.info({ changed: changed.slice(0, 20), ...folder.status().counts }, 'the catalogue has changed')
      for (const problem of problems) log.error({ problem }, 'a manifest of the catalogue cannot be used')
    },
  })
  for (const problem of folder.status().problems)
    log.error({ problem }, 'a manifest of the catalogue cannot be used')
  const status = () => {
    const { counts, problems } = folder.status()
    return { counts, problems: problems.length }
  }
  measure(metrics, status)
  return { store: folder.store, ready: Promise.resolve(), name: `Catalogue ${catalog}`, status }
}
