import type { Metric } from '@millrace/kit/metrics'

/** Held at once by the JSON bodies of all requests; what is read from them takes about four times as much. */
const HELD_BYTES_MAX = 64 * 1024 * 1024
/** Bodies up to here always find room: the ordinary ones. */
const UNCOUNTED_BYTES_MAX = 64 * 1024

/** What the requests of a gateway hold of their JSON bodies, from the first byte until they are answered. */
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

  /** Room for one body. */
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

  /** False when there is no room for a body that is this long so far. */
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
