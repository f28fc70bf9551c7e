import { glob, readFile } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { matchesPatterns } from './patterns.ts'

/** Who is asked for, as `Match` compares. */
export interface Wanted {
  /** As the URI names it. */
  host: string
  user?: string
  localUser?: string
  homeFolder?: string
}

/** Values by keyword in lower case, each as its words. */
export type HostSettings = ReadonlyMap<string, readonly string[][]>

const INCLUDE_DEPTH_MAX = 16

/** Keywords of which every value counts; of the others the first does (ssh_config(5)). */
const REPEATED = new Set(['identityfile'])

/**
 * What the configuration of the OpenSSH client at `path` says about a host: `Host`, `Match` by name and user, `Include`. Nothing is
 * ever run for it: a `Match` with `exec`, `canonical` or `final` doesn't hold. Empty when there is no file.
 */
export async function readHostSettings(path: string, wanted: Wanted): Promise<HostSettings> {
  const found = new Map<string, string[][]>()
  await readInto(found, path, wanted, 0)
  return found
}

async function readInto(found: Map<string, string[][]>, path: string, wanted: Wanted, depth: number): Promise<void> {
  let holds = true
  for (const line of (await textOf(path)).split('\n')) {
    const [keyword, ...values] = wordsOf(line)
    switch (keyword) {
      case undefined:
        break
      case 'host':
        holds = matchesPatterns(wanted.host, values)
        break
      case 'match':
        holds = holdsMatch(values, found, wanted)
        break
      case 'include':
        if (holds && depth < INCLUDE_DEPTH_MAX) {
          for (const file of await includedFiles(values, path, wanted)) await readInto(found, file, wanted, depth + 1)
        }
        break
      default: {
        const earlier = found.get(keyword)
        if (!holds || values.length === 0) break
        if (!earlier) found.set(keyword, [values])
        else if (REPEATED.has(keyword)) earlier.push(values)
      }
    }
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

/** Keyword in lower case and its values: separated by blanks or one `=`, quoted where they hold blanks. */
function wordsOf(line: string): string[] {
  const [, keyword, rest = ''] = /^\s*([a-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*$/i.exec(line) ?? []
  if (keyword === undefined) return []
  const values: string[] = []
  for (const [, quoted, plain] of rest.matchAll(/"([^"]*)"|([^\s"]+)/g)) {
    if (plain?.startsWith('#')) break
    values.push(quoted ?? plain ?? '')
  }
  return [keyword.toLowerCase(), ...values]
}

function holdsMatch(criteria: string[], found: HostSettings, wanted: Wanted): boolean {
  for (let i = 0; i < criteria.length; i++) {
    const criterion = criteria[i]?.toLowerCase() ?? ''
    if (criterion === 'all') continue
    const negated = criterion.startsWith('!')
    const subject = subjectOf(criterion.replace('!', ''), found, wanted)
    if (subject === undefined) return false
    if (matchesPatterns(subject, (criteria[++i] ?? '').split(',')) === negated) return false
  }
  return true
}

function subjectOf(criterion: string, found: HostSettings, wanted: Wanted): string | undefined {
  switch (criterion) {
    case 'host':
      return found.get('hostname')?.[0]?.[0]?.replaceAll('%h', wanted.host) ?? wanted.host
    case 'originalhost':
      return wanted.host
    case 'user':
      return wanted.user ?? found.get('user')?.[0]?.[0] ?? wanted.localUser
    case 'localuser':
      return wanted.localUser
    default:
      return undefined
  }
}

/** In the order of their names; a relative one is below the folder of the file that includes it. */
async function includedFiles(patterns: string[], from: string, { homeFolder }: Wanted): Promise<string[]> {
  const files: string[] = []
  for (const pattern of patterns) {
    const path = homeFolder ? pattern.replace(/^~(?=\/)/, homeFolder) : pattern
    const matching: string[] = []
    for await (const file of glob(isAbsolute(path) ? path : join(dirname(from), path))) matching.push(file)
    files.push(...matching.sort())
  }
  return files
}
