import type { Metric } from '@millrace/kit/metrics'

/** Total of the JSON bodies of all requests in progress. Parsed, they take about four times as much. */
const HELD_BYTES_MAX = 64 * 1024 * 1024
/** Bodies up to this size are not counted. */
const UNCOUNTED_BYTES_MAX = 64 * 1024

/** Limits the memory that request bodies hold, from their first byte until the response begins. */
export class BodyBudget {
  #held = 0

  get metric(): Metric {
    return {
      name: 'millrace_json_body_held_bytes',
      help: 'Bytes of long request bodies of JSON and RPC that are held until they are answered',
      type: 'gauge',
      values: () => [{ value: this.#held }],
    }
  }

  /** The share of one body. */
  hold(): HeldBody {
    return new HeldBody(this)
  }

  change(bytes: number): boolean {
    if (bytes > 0 && this.#held + bytes > HELD_BYTES_MAX) return false
    this.#held += bytes
    return true
  }
}

export class HeldBody implements Disposable {
  readonly #budget: BodyBudget
  #bytes = 0

  constructor(budget: BodyBudget) {
    this.#budget = budget
  }

  /** Counts a body that has this size so far. False when the limit is reached. */
  grow(bytes: number): boolean {
    if (bytes <= UNCOUNTED_BYTES_MAX) return true
    if (!this.#budget.change(bytes - this.#bytes)) return false
    this.#bytes = bytes
    return true
  }

  [Symbol.dispose](): void {
    this.#budget.change(-this.#bytes)
    this.#bytes = 0
  }
}
