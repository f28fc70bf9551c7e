import { glob, readFile } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import SSHConfig, { type Line } from 'ssh-config'
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
 * ever run for it: a `Match` with `exec`, `canonical` or `final` doesn't hold. Empty when there is no file. The package parses only: its
 * `compute` knows neither `Include` nor `!`, and runs `nslookup` for `CanonicalizeHostname`.
 * @throws INVALID_PARAMETER_VALUE for a file that isn't of that form.
 */
export async function readHostSettings(path: string, wanted: Wanted): Promise<HostSettings> {
  const found = new Map<string, string[][]>()
  await readInto(found, path, wanted, 0)
  return found
}

async function readInto(found: Map<string, string[][]>, path: string, wanted: Wanted, depth: number): Promise<void> {
  const apply = async (lines: readonly Line[]): Promise<void> => {
    for (const line of lines) {
      if (line.type !== SSHConfig.DIRECTIVE) continue
      const keyword = line.param.toLowerCase()
      const values = (typeof line.value === 'string' ? [line.value] : line.value.map(({ val }) => val)).filter(value => value !== '')
      if ('config' in line) {
        if (keyword === 'host' ? matchesPatterns(wanted.host, values) : holdsMatch(values, found, wanted)) await apply(line.config)
      } else if (keyword === 'include') {
        if (depth === INCLUDE_DEPTH_MAX) continue
        for (const file of await includedFiles(values, path, wanted)) await readInto(found, file, wanted, depth + 1)
      } else if (values.length > 0) {
        const earlier = found.get(keyword)
        if (!earlier) found.set(keyword, [values])
        else if (REPEATED.has(keyword)) earlier.push(values)
      }
    }
  }
  await apply(parsed(await textOf(path)))
}

function parsed(text: string): readonly Line[] {
  try {
    const lines = SSHConfig.parse(text)
    // The package reads a keyword without a value together with the next line.
    const isJoined = (line: Line): boolean => 'param' in line && (/\s/.test(line.param) || ('config' in line && line.config.some(isJoined)))
    if (lines.some(isJoined)) throw new Error('a keyword has no value')
    return lines
  } catch (error) {
    throw invalidParameter('The ssh configuration is malformed', { cause: error })
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
