// The entry of the image: picks the program, which is one file beside this one. There is no compile cache as in
// credential-injector.js: the image's file system cannot be written to.
const PROGRAMS = { serve: './webhook.js', controller: './controller.js' }

const [, , command = ''] = process.argv
if (Object.hasOwn(PROGRAMS, command)) await import(PROGRAMS[command])
else {
  const names = Object.keys(PROGRAMS).join(' or ')
  process.stderr.write(
    `Say which program to run as the container's first argument: ${names}. Add --help for its flags.\n`,
  )
  process.exitCode = 2
}
