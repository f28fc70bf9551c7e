import { invalidParameter } from '@millrace/kit/errors'

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const

/**
 * Milliseconds of an age written as `#d#h#m#s`, as `mlflow gc --older-than` reads it: each part optional, fractions allowed.
 * @throws MlflowError INVALID_PARAMETER_VALUE with MLflow's words.
 */
export function parseAge(text: string): number {
  const parts = /^(?:([.\d]+)d)?(?:([.\d]+)h)?(?:([.\d]+)m)?(?:([.\d]+)s)?$/.exec(text)
  const numbers = parts?.slice(1).map(part => (part === undefined ? 0 : Number(part)))
  if (!numbers?.every(Number.isFinite)) {
    throw invalidParameter(`Could not parse any time information from '${text}'. Examples of valid strings: '8h', '2d8h5m20s', '2m4s'`)
  }
  return Math.trunc(UNITS.reduce((sum, [, ms], index) => sum + (numbers[index] ?? 0) * ms, 0))
}

/** The shortest text that parseAge reads as this many milliseconds. */
export function formatAge(ms: number): string {
  let rest = ms
  let text = ''
  for (const [unit, size] of UNITS) {
    const count = unit === 's' ? rest / size : Math.floor(rest / size)
    if (count > 0) text += `${count}${unit}`
    rest -= count * size
  }
  return text === '' ? '0s' : text
}
