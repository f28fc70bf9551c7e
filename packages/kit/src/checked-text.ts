import { invalidParameter } from './errors.ts'

/**
 * @throws INVALID_PARAMETER_VALUE for a text that is too long or too short, or that PostgreSQL can't store: with NUL or half of a surrogate
 *   pair in it.
 */
export function checkText(name: string, text: string, bytesMax: number, bytesMin = 1): void {
  if (text.length < bytesMin) throw invalidParameter(`${name} must not be empty`)
  // No text has fewer bytes than UTF-16 units.
  const bytes = text.length > bytesMax ? text.length : Buffer.byteLength(text)
  if (bytes > bytesMax) throw invalidParameter(`${name} must be at most ${bytesMax} bytes long`)
  if (text.includes('\0') || !text.isWellFormed()) throw invalidParameter(`${name} must be text without NUL`)
}
