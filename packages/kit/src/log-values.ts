import { redactBeginning } from './redact.ts'

/** Of one text in an entry: a message with its stack fits. */
export const LOG_TEXT_CHARACTERS_MAX = 4096
/** Of all texts of an entry together. */
export const LOG_ENTRY_CHARACTERS_MAX = 16_384
const DEPTH_MAX = 8
/** Of one list or object. */
const ITEMS_MAX = 100
/** Of an entry. */
const VALUES_MAX = 500

/** Copies values for one entry of the log so that it stays bounded: texts are cut with a note of what is left out, circles end. */
export class LogValues {
  #left = LOG_ENTRY_CHARACTERS_MAX
  #valuesLeft = VALUES_MAX

  text(text: string): string {
    const max = Math.min(LOG_TEXT_CHARACTERS_MAX, this.#left)
    this.#left -= Math.min(text.length, max)
    return text.length <= max ? text : cut(text, max)
  }

  value(value: unknown, depth = 0): unknown {
    if (--this.#valuesLeft < 0) return '…'
    if (typeof value === 'string') return this.text(value)
    if (typeof value === 'bigint') return this.text(value.toString())
    if (typeof value !== 'object' || value === null) return value
    if (depth > DEPTH_MAX) return '…'
    if (value instanceof Error) return this.#error(value, depth)
    if (ArrayBuffer.isView(value)) return `(${value.byteLength} bytes)`
    if ('toJSON' in value && typeof value.toJSON === 'function') return this.value(value.toJSON(), depth + 1)
    if (Array.isArray(value)) return this.#list(value, depth)
    return this.object(value as Record<string, unknown>, depth)
  }

  object(object: Readonly<Record<string, unknown>>, depth = 0): Record<string, unknown> {
    const shown: Record<string, unknown> = {}
    let count = 0
    for (const name in object) {
      if (++count > ITEMS_MAX) {
        shown['…'] = `(${Object.keys(object).length - ITEMS_MAX} more)`
        break
      }
      shown[this.text(name)] = this.value(object[name], depth + 1)
    }
    return shown
  }

  #list(list: readonly unknown[], depth: number): unknown[] {
    const shown = list.slice(0, ITEMS_MAX).map(one => this.value(one, depth + 1))
    if (list.length > ITEMS_MAX) shown.push(`… (${list.length - ITEMS_MAX} more)`)
    return shown
  }

  /** A stack begins with the message: where that is long, what comes after it is kept all the same. */
  #error(error: Error, depth: number): object {
    const { name, message, stack = '' } = error
    const begun = stack.length > LOG_TEXT_CHARACTERS_MAX && message.length > 0 ? stack.indexOf(message) : -1
    const trace = begun < 0 ? stack : stack.slice(begun + message.length)
    return { name: this.text(name), message: this.text(message), stack: this.text(trace), cause: this.value(error.cause, depth + 1) }
  }
}

/** The beginning without any part of a secret, and how much is missing. A pair of surrogates is not parted. */
function cut(text: string, length: number): string {
  const last = length === 0 ? 0 : text.charCodeAt(length - 1)
  const end = last >= 0xd800 && last < 0xdc00 ? length - 1 : length
  return `${redactBeginning(text.slice(0, end))}… (${(text.length - end).toLocaleString('en')} more characters)`
}
