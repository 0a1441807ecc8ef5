/**
 * Puts each program with all it uses into one file, as the image has it: `dist/NAME.js`. Such a file starts faster and takes
 * less memory than a hundred modules that are read one by one.
 *
 *     npm run build
 */
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))

const PROGRAMS = {
  webhook: 'src/serve.ts',
  controller: 'src/controller/main.ts',
  'kubectl-credential': 'src/cli/main.ts',
}

await build(
  Object.entries(PROGRAMS).map(([name, input]) => ({
    cwd: CHECKOUT,
    input,
    platform: 'node' as const,
    output: {
      dir: 'dist',
      entryFileNames: `${name}.js`,
      chunkFileNames: `${name}-[name].js`,
      cleanDir: false,
      // Names stay, for the sake of stack traces.
      minify: { compress: true, mangle: false, codegen: true },
    },
  })),
)
