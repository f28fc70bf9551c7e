/** Whether a name fits one of `patterns` and none that begins with `!`: `*` for any characters, `?` for one (ssh_config(5) PATTERNS). */
export function matchesPatterns(name: string, patterns: readonly string[]): boolean {
  let fits = false
  for (const pattern of patterns) {
    const negated = pattern.startsWith('!')
    if (!fitsPattern(name.toLowerCase(), pattern.slice(negated ? 1 : 0).toLowerCase())) continue
    if (negated) return false
    fits = true
  }
  return fits
}

/** Goes back to the last `*` only, so that its time is bounded by the product of the lengths. */
function fitsPattern(name: string, pattern: string): boolean {
  let at = 0
  let next = 0
  let star = -1
  let starAt = 0
  while (at < name.length) {
    if (pattern[next] === '*') {
      star = next++
      starAt = at
    } else if (pattern[next] === '?' || pattern[next] === name[at]) {
      next++
      at++
    } else if (star >= 0) {
      next = star + 1
      at = ++starAt
    } else return false
  }
  while (pattern[next] === '*') next++
  return next === pattern.length
}
