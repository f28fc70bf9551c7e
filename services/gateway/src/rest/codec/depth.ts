/** How deep a value may nest: Python reads about as much in a request before its stack ends. */
export const DEPTH_MAX = 960

/** Whether lists and objects nest deeper than that. A loop of its own: the depth is what a call stack could not take. */
export function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH_MAX) return true
    level = level.flatMap(one => (typeof one === 'object' && one !== null ? Object.values(one) : []))
  }
  return false
}
