import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { finished, type Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { cancelled, internalError, MlflowError } from '@millrace/kit/errors'
import { silentStore } from './transport-errors.ts'

/** A body that passes through, and can't be sent again once something of it was taken. */
export interface StreamedBody {
  stream: Readable
  /** Absent: not known before its end. */
  length?: number
  /** Hears of the bytes that are sent. */
  onSent?(bytes: number): void
}

/** A store that doesn't say within this time whether it wants the body gets it. */
const CONTINUE_MS_MAX = 1_000

/** Whether a body is of no use for another call. */
export const isTaken = ({ stream }: Pick<StreamedBody, 'stream'>): boolean => stream.readableDidRead || stream.destroyed

/**
 * Sends a body as fast as the store takes it. Nothing of it is taken before the connection is there, and when the call has
 * `Expect: 100-continue`, before the store wants it: a refusal comes before. It fails when the body isn't as long as announced, so that the store never takes less for the whole. When
 * the store ends the call, the body is left open for whoever it came from.
 * @param call on a connection of its own: a kept one may turn out to be closed when bytes of the body are gone already.
 * @param timeoutMs longest silence of the store. Waiting for the body is none.
 * @returns the answer of whatever status as soon as its headers are there; its consumer reads or destroys it.
 * @throws CANCELLED when the body fails; else what `transportError` knows.
 */
export function sendStreamed(call: ClientRequest, { stream, length, onSent }: StreamedBody, timeoutMs: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let sent = 0
    let last: Buffer | undefined
    let isHeld = true
    let isBegun = false
    let isAnswered = false
    let waiting: NodeJS.Timeout | undefined
    const begin = () => {
      clearTimeout(waiting)
      if (isBegun || !isHeld) return
      isBegun = true
      call.on('drain', onDrain)
      // Nobody resumes by listening to a stream that an earlier call has let go of.
      stream.on('data', take).resume()
    }
    const breakOff = (error: unknown) => {
      letGo()
      reject(error)
      call.destroy()
    }
    const checkLength = () => {
      if (length === undefined || sent === length) call.end(last)
      else breakOff(cancelled(`The upload has ${sent > length ? 'more' : 'fewer'} bytes than the ${length} that were announced`))
    }
    const take = (chunk: Buffer) => {
      sent += chunk.length
      onSent?.(chunk.length)
      if (length !== undefined && sent > length) return checkLength()
      // The store takes the body for whole as soon as it has the last byte.
      if (sent === length) last ??= chunk
      else if (!call.write(chunk)) stream.pause()
    }
    const forget = finished(stream, { writable: false }, error => {
      if (error) breakOff(error instanceof MlflowError ? error : cancelled('The upload was cut off', { cause: error }))
      else checkLength()
    })
    const onDrain = () => stream.resume()
    const letGo = () => {
      clearTimeout(waiting)
      if (!isHeld) return
      isHeld = false
      forget()
      // A body that the caller ended may have yet to say so.
      if (stream.destroyed) stream.once('error', () => undefined)
      call.off('drain', onDrain)
      if (isBegun) stream.off('data', take).pause()
    }
    limitSilence(call, timeoutMs, () => isBegun && !isAnswered && !call.writableEnded && !call.writableNeedDrain)
    // First of all, so that the body is let go of before anybody hears of the outcome.
    for (const event of ['response', 'error', 'close']) call.once(event, letGo)
    call.on('error', reject)
    call.once('response', answer => {
      isAnswered = true
      if (call.writableEnded) return resolve(answer)
      if ((answer.statusCode ?? 0) < 300) return breakOff(internalError('The artifact store took less than the whole upload'))
      // What was sent in vain would keep the connection open.
      finished(answer, () => call.destroy())
      resolve(answer)
    })
    const isAsked = call.hasHeader('expect')
    if (isAsked) call.once('continue', begin)
    onceConnected(call, () => {
      if (isAsked) waiting = setTimeout(begin, CONTINUE_MS_MAX)
      else begin()
    })
    if (isAsked) call.flushHeaders()
  })
}

function onceConnected(call: ClientRequest, action: () => void): void {
  call.once('socket', (socket: Socket | TLSSocket) => {
    const isSecuring = 'secureConnecting' in socket && socket.secureConnecting
    if (socket.connecting || isSecuring) socket.once('encrypted' in socket ? 'secureConnect' : 'connect', action)
    else action()
  })
}

function limitSilence(call: ClientRequest, timeoutMs: number, isWaitingForBody: () => boolean): void {
  const giveUp = () => call.destroy(silentStore())
  call.once('socket', socket => {
    socket.setTimeout(timeoutMs)
    socket.on('timeout', () => {
      if (isWaitingForBody()) socket.setTimeout(timeoutMs)
      else giveUp()
    })
  })
}
