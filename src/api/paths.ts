/**
 * Rules for folders that credentials are mounted at and for file names inside them.
 * The same rules stand in the schema (as CEL, for the API server) and are needed again for `=PATH` in the annotation.
 */

const REFUSED_FOLDERS = ['/proc', '/sys', '/dev', '/var/run/secrets/kubernetes.io']
const WINDOWS_DRIVE = /^[A-Za-z]:[\\/]/

export function isWindowsPath(path: string): boolean {
  return WINDOWS_DRIVE.test(path)
}

/**
 * Removes trailing and doubled slashes and `.` segments, so that equal folders are equal strings. Windows paths keep their
 * drive. A path without a slash in front begins at the root, as it does for the kubelet.
 */
export function normalizeFolder(path: string): string {
  if (isWindowsPath(path)) return normalizeWindows(path)
  // Nearly every path is already in its normal form; do not take it apart then.
  const isNormal = path.startsWith('/') && !path.includes('//') && !path.includes('/.')
  if (isNormal && (path.length < 2 || !path.endsWith('/'))) return path
  const segments: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '' || segment === '.') continue
    if (segment === '..') segments.pop()
    else segments.push(segment)
  }
  return `/${segments.join('/')}`
}

function normalizeWindows(path: string): string {
  const segments = path.split(/[\\/]+/).filter((segment) => segment !== '' && segment !== '.')
  return segments.length === 1 ? `${segments[0]}\\` : segments.join('\\')
}

/** Equal for folders that are one: Windows does not tell upper from lower case. Of a normalised folder. */
export function folderKey(folder: string): string {
  return isWindowsPath(folder) ? folder.toLowerCase() : folder
}

/** The way from `folder` to what lies below it, with slashes; undefined if `path` does not lie there. Both normalised. */
export function below(path: string, folder: string): string | undefined {
  const separator = separatorOf(folder)
  if (!folderKey(path).startsWith(folderKey(folder) + separator)) return undefined
  return path.slice(folder.length + 1).replaceAll(separator, '/')
}

/** The path of a file in `folder`, by its way from there with slashes. */
export function inFolder(folder: string, way: string): string {
  const separator = separatorOf(folder)
  return folder + separator + way.replaceAll('/', separator)
}

function separatorOf(folder: string): string {
  return isWindowsPath(folder) ? '\\' : '/'
}

/** A text that is a path at or below the folder `home`, as a path in `folder`; any other text as it is. Both folders normalised. */
export function moved(text: string, home: string, folder: string): string {
  if (folderKey(home) === folderKey(folder)) return text
  const path = isWindowsPath(text) ? normalizeWindows(text) : text
  if (folderKey(path) === folderKey(home)) return folder
  const way = below(path, home)
  return way === undefined ? text : inFolder(folder, way)
}

/** True if `path` is `folder` or lies somewhere below it; both normalised. */
export function isAtOrUnder(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}

/** The sentence that says what is wrong with a mount path, or undefined when nothing is. */
export function mountPathProblem(path: string): string | undefined {
  const windows = isWindowsPath(path)
  if (!windows && !path.startsWith('/'))
    return 'the path must be absolute: write it from the root, such as /root/.ssh'
  if (path.length > 1024) return 'the path must have at most 1024 characters'
  if (path.split(/[\\/]/).includes('..'))
    return 'the path must not contain "..": write the folder it leads to'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'the path must not contain control characters'
  if (path.slice(windows ? 2 : 0).includes(':')) return 'the path must not contain ":"'
  const folder = normalizeFolder(path)
  if (folder === '/' || (windows && folder.length === 3))
    return 'the path must not be the root: write a folder, such as /root/.ssh'
  const refused = REFUSED_FOLDERS.find((prefix) => isAtOrUnder(folder, prefix))
  return refused && `the path must not be at or under ${refused}: Kubernetes or the kernel uses that folder`
}
