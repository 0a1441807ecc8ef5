/**
 * Puts each program with all it uses into one file, as the image has it: `dist/NAME.js`. Such a file starts faster and takes
 * less memory than a hundred modules that are read one by one. Beside them, for the image: the entry that picks the program, and
 * the licences of what went into the files.
 *
 *     npm run build
 */
import { copyFileSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type OutputChunk } from 'rolldown'
import { licencesOf } from './image/licences.ts'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))

const PROGRAMS = {
  webhook: 'src/serve.ts',
  controller: 'src/controller/main.ts',
  'kubectl-credential': 'src/cli/main.ts',
}

/** Builds everything into the folder, and leaves no file there that an earlier build made and this one did not. */
export async function buildPrograms(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  for (const file of globSync('*.js', { cwd: folder })) rmSync(join(folder, file))
  const outputs = await build(
    Object.entries(PROGRAMS).map(([name, input]) => ({
      cwd: CHECKOUT,
      input,
      platform: 'node' as const,
      output: {
        dir: folder,
        entryFileNames: `${name}.js`,
        chunkFileNames: `${name}-[name].js`,
        cleanDir: false,
        // Names stay, for the sake of stack traces.
        minify: { compress: true, mangle: false, codegen: true },
      },
    })),
  )
  const chunks = outputs.flatMap(({ output }) =>
    output.filter((part): part is OutputChunk => part.type === 'chunk'),
  )
  writeFileSync(
    join(folder, 'THIRD_PARTY_LICENSES'),
    licencesOf(chunks.flatMap(({ moduleIds }) => moduleIds)),
  )
  copyFileSync(join(CHECKOUT, 'bin/image.js'), join(folder, 'credential-injector.js'))
  // Without it, Node would have to find out by trial that the files are modules.
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n')
}

if (import.meta.main) await buildPrograms(join(CHECKOUT, 'dist'))
