import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly license?: string
  readonly author?: string | { readonly name: string }
}

/** For packages that declare this licence and bring no text along. */
const MIT_TEXT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`

const RULE = '='.repeat(80)

/**
 * The licences of all packages that the modules come from, as those ask for it: name, version and the text that the package
 * brings along. Throws for a package without one: what may not be passed on does not get into the image unnoticed.
 */
export function licencesOf(modules: readonly string[]): string {
  const folders = new Set(modules.flatMap((module) => packageFolder(module) ?? []))
  const entries = [...folders].map(licenceOf).sort((a, b) => a.title.localeCompare(b.title))
  const intro = `The programs in this folder contain the following ${entries.length} packages.\n`
  return [intro, ...entries.map(({ title, text }) => `${RULE}\n${title}\n${RULE}\n\n${text.trim()}\n`)].join(
    '\n',
  )
}

/** The innermost `node_modules/NAME` that the module is in; undefined for our own, and for what the bundler puts in itself. */
function packageFolder(module: string): string | undefined {
  const parts = module
    .replace(/^\0/, '')
    .replace(/[?#].*$/, '')
    .split(sep)
  const start = parts.lastIndexOf('node_modules')
  if (start < 0) return undefined
  const names = parts[start + 1]?.startsWith('@') ? 2 : 1
  return parts.slice(0, start + 1 + names).join(sep)
}

function licenceOf(folder: string): { title: string; text: string } {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
  const { name, version, license } = manifest
  const text = broughtAlong(folder) ?? declared(manifest)
  if (!text || !license) {
    throw new Error(
      `${name} ${version} brings no licence along (${folder}): find out what it allows before it goes into the image.`,
    )
  }
  return { title: `${name} ${version} (${license})`, text }
}

function broughtAlong(folder: string): string | undefined {
  const [file] = globSync('{LICEN[CS]E,LICEN[CS]E.*,licen[cs]e,licen[cs]e.*,COPYING,COPYING.*}', {
    cwd: folder,
  }).sort()
  if (!file) return undefined
  const notice = join(folder, 'NOTICE')
  const texts = [readFileSync(join(folder, file), 'utf8')]
  if (existsSync(notice)) texts.push(readFileSync(notice, 'utf8'))
  return texts.join('\n\n')
}

function declared({ license, author }: Manifest): string | undefined {
  const holder = typeof author === 'object' ? author.name : author
  return license === 'MIT' && holder ? `Copyright (c) ${holder}\n\n${MIT_TEXT}` : undefined
}
