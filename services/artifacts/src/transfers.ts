import { finished, type Readable } from 'node:stream'
import { temporarilyUnavailable } from '@millrace/kit/errors'
import type { Metric } from '@millrace/kit/metrics'

export interface TransferLimits {
  /** Uploads and downloads that this process serves at once. */
  readonly streamsMax: number
  /**
   * What the bodies of all of them may take of this process's memory at once: the sum, over the streams, of the most that each can hold.
   * A download holds what sockets and pipes buffer; an upload that, and what its store holds; neither more than its length.
   * It is reserved when a stream begins, so that the sum is a bound and not a measurement.
   */
  readonly bytesInFlightMax: number
  /** What of that may be for holding bodies, so that what gets lost can be sent again. Beyond it they pass through, where they can. */
  readonly heldBytesMax: number
}

export type Direction = 'upload' | 'download'

/** One stream that was let in. Disposing it, once or more, counts it down once. */
export interface Transfer extends Disposable {
  /** Reserves another size, which is never refused. */
  resize(bytes: number): void
  /** Follows the body: counts what arrives. */
  follow(body: Readable): void
}

/** What sockets and pipes hold of a body that passes through: twice the four 64 KiB buffers on its way. */
export const STREAM_BUFFER_BYTES = 512 * 1024

const RETRY_AFTER_SECONDS = 1
const DIRECTIONS: readonly Direction[] = ['upload', 'download']

/** Lets streams in while there is room, and counts them. */
export class Transfers {
  readonly #limits: TransferLimits
  readonly #streams = { upload: 0, download: 0 }
  readonly #moved = { upload: 0, download: 0 }
  readonly #refused = { streams: 0, bytes: 0 }
  #bytes = 0

  constructor(limits: TransferLimits) {
    this.#limits = limits
  }

  /**
   * A stream larger than all that may be in flight is let in when it is alone.
   * @param bytes the most that it can hold.
   * @throws TEMPORARILY_UNAVAILABLE with the time after which to ask again.
   */
  admit(direction: Direction, bytes: number): Transfer {
    const streams = this.#streams.upload + this.#streams.download
    if (streams >= this.#limits.streamsMax) throw this.#refuse('streams')
    if (streams > 0 && this.#bytes + bytes > this.#limits.bytesInFlightMax) throw this.#refuse('bytes')
    let reserved = bytes
    let over = false
    this.#streams[direction]++
    this.#bytes += reserved
    return {
      resize: wanted => {
        if (over) return
        this.#bytes += wanted - reserved
        reserved = wanted
      },
      follow: body => {
        countArriving(body, arrived => {
          this.#moved[direction] += arrived
        })
      },
      [Symbol.dispose]: () => {
        if (over) return
        over = true
        this.#streams[direction]--
        this.#bytes -= reserved
      },
    }
  }

  get metrics(): readonly Metric[] {
    const { streamsMax, bytesInFlightMax } = this.#limits
    const perDirection = (counts: Record<Direction, number>) => () =>
      DIRECTIONS.map(direction => ({ labels: { direction }, value: counts[direction] }))
    const one = (value: () => number) => () => [{ value: value() }]
    const refused = () => Object.entries(this.#refused).map(([limit, value]) => ({ labels: { limit }, value }))
    return [
      gauge('streams', 'Uploads and downloads in progress', perDirection(this.#streams)),
      gauge(
        'streams_limit',
        'Uploads and downloads that may be in progress',
        one(() => streamsMax),
      ),
      gauge(
        'bytes_in_flight',
        'Memory reserved for the bodies in progress, in bytes',
        one(() => this.#bytes),
      ),
      gauge(
        'bytes_in_flight_limit',
        'Memory that bodies in progress may reserve, in bytes',
        one(() => bytesInFlightMax),
      ),
      { ...gauge('bytes_total', 'Bytes of bodies that arrived, from clients or from stores', perDirection(this.#moved)), type: 'counter' },
      { ...gauge('streams_refused_total', 'Uploads and downloads refused, by the limit that was reached', refused), type: 'counter' },
    ]
  }

  #refuse(limit: 'streams' | 'bytes') {
    this.#refused[limit]++
    return temporarilyUnavailable('The server is busy with other artifact transfers', { retryAfterSeconds: RETRY_AFTER_SECONDS })
  }
}

/** Disposes the transfer when the body is over: read to its end, failed or destroyed. */
export function endWith(transfer: Transfer, body: Readable): void {
  finished(body, { writable: false }, () => transfer[Symbol.dispose]())
}

const gauge = (name: string, help: string, values: Metric['values']): Metric => ({
  name: `millrace_artifact_${name}`,
  help,
  type: 'gauge',
  values,
})

/** Counts where bytes enter the stream: another stream in between would cost every chunk a turn of the event loop. */
function countArriving(body: Readable, add: (bytes: number) => void): void {
  add(body.readableLength)
  const { push } = body
  body.push = (chunk, encoding) => {
    if (chunk !== null) add(chunk.length)
    return push.call(body, chunk, encoding)
  }
}
