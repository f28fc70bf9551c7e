import { DEPTH_MAX } from '@millrace/kit/python-json'

/** Whether lists and objects nest deeper than Python reads. */
export function isTooDeep(value: unknown, left = DEPTH_MAX + 1): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (left === 0) return true
  if (Array.isArray(value)) return value.some(one => isTooDeep(one, left - 1))
  for (const name in value) if (isTooDeep((value as Record<string, unknown>)[name], left - 1)) return true
  return false
}
