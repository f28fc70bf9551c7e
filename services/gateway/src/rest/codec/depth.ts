import { DEPTH_MAX } from '@millrace/kit/python-json'

/** Whether lists and objects nest deeper than Python reads. A loop of its own: the depth is what a call stack could not take. */
export function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH_MAX) return true
    level = level.flatMap(one => (typeof one === 'object' && one !== null ? Object.values(one) : []))
  }
  return false
}
