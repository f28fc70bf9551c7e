/** Full lines of one kind within an interval. */
const LINES_MAX = 5
/** Kinds within an interval that are told apart; the rest counts as one. */
const KINDS_MAX = 200
const CAUSES_MAX = 5
const MESSAGE_CHARACTERS_MAX = 200
const REPEAT_INTERVAL_MS = 10_000

interface Kind {
  lines: number
  left: number
  /** Writes the count. */
  report: (left: number, seconds: number) => void
}

/**
 * Decides which entries of the log are written: of each kind (the message and what failed) the first few of an interval, then their
 * number. A database that is away would otherwise fill a disk with one line per request.
 */
export class LogRepeats {
  readonly #intervalMs: number
  #kinds = new Map<string, Kind>()

  constructor(intervalMs = REPEAT_INTERVAL_MS) {
    this.#intervalMs = intervalMs
  }

  /** Whether an entry is to be written. @param report is called once at the end of the interval with the number of those that weren't. */
  admit(message: string, fields: Readonly<Record<string, unknown>> | undefined, report: Kind['report']): boolean {
    const name = kindOf(message, fields)
    const kind = this.#kinds.get(name) ?? this.#begin(name, report)
    if (kind.lines < LINES_MAX) {
      kind.lines++
      return true
    }
    kind.left++
    return false
  }

  #begin(name: string, report: Kind['report']): Kind {
    if (this.#kinds.size === 0) setTimeout(() => this.#end(), this.#intervalMs).unref()
    const shared = this.#kinds.size < KINDS_MAX ? name : ''
    const kind = this.#kinds.get(shared) ?? { lines: 0, left: 0, report }
    this.#kinds.set(shared, kind)
    return kind
  }

  #end(): void {
    const ended = this.#kinds
    this.#kinds = new Map()
    for (const { left, report } of ended.values()) if (left > 0) report(left, this.#intervalMs / 1000)
  }
}

/** Message, and name, code and message of the errors in `fields` down to their first cause; numbers and ids in them don't count. */
function kindOf(message: string, fields: Readonly<Record<string, unknown>> | undefined): string {
  let kind = plain(message)
  for (const name in fields) {
    let error = fields[name]
    for (let depth = 0; error instanceof Error && depth < CAUSES_MAX; depth++) {
      const { code, errorCode = code } = error as { code?: unknown; errorCode?: unknown }
      kind += `\n${error.name} ${errorCode} ${plain(error.message)}`
      error = error.cause
    }
  }
  return kind
}

const plain = (text: string) => text.slice(0, MESSAGE_CHARACTERS_MAX).replace(/[\da-f-]{8,}|\d+/gi, '0')
