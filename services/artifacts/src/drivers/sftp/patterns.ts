/**
 * Whether a name fits one of `patterns` and none that begins with `!`: `*` for any characters, `?` for one (ssh_config(5) PATTERNS).
 * The `glob` of the ssh-config package takes `?` for none as well, and known_hosts files would then vouch for hosts that they don't name.
 */
export function matchesPatterns(name: string, patterns: readonly string[]): boolean {
  const fits = (pattern: string) => {
    const source = pattern.replace(/[*?]|[^*?]+/g, part => (part === '*' ? '.*' : part === '?' ? '.' : part.replace(/\W/g, '\\$&')))
    return new RegExp(`^${source.replace(/(\.\*)+/g, '.*')}$`, 'is').test(name)
  }
  if (patterns.some(pattern => pattern.startsWith('!') && fits(pattern.slice(1)))) return false
  return patterns.some(pattern => !pattern.startsWith('!') && fits(pattern))
}
