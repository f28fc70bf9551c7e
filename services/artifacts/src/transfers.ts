import { finished, type Readable } from 'node:stream'
import { cancelled, temporarilyUnavailable } from '@millrace/kit/errors'
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

/** A stream that has stood still for so long because of its client gives its place to another when there is no more room. */
const STALLED_MS = 10_000

/** A stream that was let in. */
interface Admitted {
  readonly direction: Direction
  body?: Readable
  /** When bytes arrived last; of performance.now(). */
  movedAt: number
  end(): void
}

/** Lets streams in while there is room, and counts them. */
export class Transfers {
  readonly #limits: TransferLimits
  readonly #admitted = new Set<Admitted>()
  readonly #streams = { upload: 0, download: 0 }
  readonly #moved = { upload: 0, download: 0 }
  readonly #refused = { streams: 0, bytes: 0, stalled: 0 }
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
    if (streams >= this.#limits.streamsMax && !this.#endStalled()) throw this.#refuse('streams')
    if (streams > 0 && this.#bytes + bytes > this.#limits.bytesInFlightMax) throw this.#refuse('bytes')
    let reserved = bytes
    let over = false
    this.#streams[direction]++
    this.#bytes += reserved
    const end = () => {
      if (over) return
      over = true
      this.#admitted.delete(admitted)
      this.#streams[direction]--
      this.#bytes -= reserved
    }
    const admitted: Admitted = { direction, movedAt: performance.now(), end }
    this.#admitted.add(admitted)
    return {
      resize: wanted => {
        if (over) return
        this.#bytes += wanted - reserved
        reserved = wanted
      },
      follow: body => {
        admitted.body = body
        countArriving(body, arrived => {
          this.#moved[direction] += arrived
          admitted.movedAt = performance.now()
        })
      },
      [Symbol.dispose]: end,
    }
  }

  /** Ends the stream that has waited for its client the longest, if it is too long. @returns whether there was one. */
  #endStalled(): boolean {
    const before = performance.now() - STALLED_MS
    let stalled: Admitted | undefined
    for (const one of this.#admitted) if (one.movedAt < (stalled?.movedAt ?? before) && waitsForClient(one)) stalled = one
    if (!stalled) return false
    this.#refused.stalled++
    stalled.end()
    stalled.body?.destroy(cancelled('The transfer stood still and others needed its place'))
    return true
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

/** An upload of which nothing is there to be taken, or a download that nobody takes. */
function waitsForClient({ direction, body }: Admitted): boolean {
  return body !== undefined && (direction === 'upload') === (body.readableLength === 0)
}

/** Counts where bytes enter the stream: another stream in between would cost every chunk a turn of the event loop. */
function countArriving(body: Readable, add: (bytes: number) => void): void {
  add(body.readableLength)
  const { push } = body
  body.push = (chunk, encoding) => {
    if (chunk !== null) add(chunk.length)
    return push.call(body, chunk, encoding)
  }
}
