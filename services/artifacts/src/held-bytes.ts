import type { Metric } from '@millrace/kit/metrics'

/** Memory that one body may be held in, until it is disposed of. */
export interface Hold extends Disposable {
  /** 0: the body passes through. */
  readonly bytes: number
}

export const HELD_BYTES = 128 * 1024 * 1024

/** What uploads hold of their bodies at once, so that a part that gets lost can be sent again: shared by the stores of a process. */
export class HeldBytes {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax = HELD_BYTES) {
    this.#bytesMax = bytesMax
  }

  get metric(): Metric {
    const values = () => [{ value: this.#bytes }]
    return { name: 'millrace_artifact_held_bytes', help: 'Bytes of uploads held to be sent again', type: 'gauge', values }
  }

  /** @param canPass whether the body may pass through instead, when there is no room. Others are held in any case, and counted. */
  hold(bytes: number, canPass: boolean): Hold {
    if (canPass && this.#bytes + bytes > this.#bytesMax) return { bytes: 0, [Symbol.dispose]() {} }
    let left = bytes
    this.#bytes += bytes
    return {
      bytes,
      [Symbol.dispose]: () => {
        this.#bytes -= left
        left = 0
      },
    }
  }
}
