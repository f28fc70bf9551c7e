import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { type ByteChannel, type ByteOptions, type ByteRange, type ReadResult, rangeHeader, type UploadPart } from '@millrace/kit/bytes'
import { identityHeaders } from '@millrace/kit/call-context'
import { cancelled, internalError } from '@millrace/kit/errors'
import { isWorthWaiting, wasNotSent } from '@millrace/kit/replica-failures'
import { isToldApart, ResumingBody } from '@millrace/kit/resuming-body'
import { failureOf, hadNoRoom, wentAway } from './failures.ts'
import { answer, type Cut, connect, failing } from './request.ts'

const ATTEMPTS_MAX = 4
const RETRY_PAUSE_MS = 100
/** Connections to one process, about as many as the transfers that it takes; further ones wait for a place. */
const CONNECTIONS_MAX = 512
/** Longest silence of the other side; a store may take minutes to finish a big object. */
const SILENCE_MS_MAX = 600_000
/** Largest upload that is kept until its answer comes, to be sent to another process when the first one goes away. */
const REPLAY_BYTES_MAX = 256 * 1024
/** Turns that are waited for a process other than the full ones. */
const TURNS_MAX = 16

type Wait = (url: string, cut: Cut) => () => void

export interface ByteClient extends ByteChannel, Disposable {}

/**
 * The data path to artifact processes over HTTP.
 * @param pickUrl the base URL whose turn it is; asked again when a connection was refused before anything was sent, for a read
 *   whose answer had not begun, or a small upload that was not answered, when the process went away, and when a process had no room.
 *   One that had none is not asked a second time.
 * @param avoid is told the base URL that failed so, before the next one is asked for.
 * @param wait has a wait for the process at a base URL cut when that process falls silent, and returns what ends the wait.
 */
export function createByteClient(pickUrl: () => string, avoid: (url: string) => void = () => {}, wait: Wait = () => () => {}): ByteClient {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX })
  const open = async (query: URLSearchParams, full: ReadonlySet<string>, options: RequestOptions): Promise<Opened> => {
    const begun = performance.now()
    for (let attempt = 1; ; attempt++) {
      const base = pickOther(pickUrl, full) ?? pickUrl()
      try {
        const url = new URL(`/bytes?${query}`, base)
        return { sent: await connect(url, { agent, timeout: SILENCE_MS_MAX, ...options }, cut => wait(base, cut)), base }
      } catch (error) {
        if (!wasNotSent(error) || !isWorthWaiting(error, begun)) throw failureOf(error)
        avoid(base)
        if (attempt >= ATTEMPTS_MAX) await pause(RETRY_PAUSE_MS)
      }
    }
  }
  const get = async (uri: string, { signal, call }: ByteOptions, range?: ByteRange): Promise<IncomingMessage> => {
    const full = new Set<string>()
    const headers = { ...(range && { Range: rangeHeader(range) }), ...(call && identityHeaders(call)) }
    for (let attempt = 1; ; attempt++) {
      const { sent, base } = await open(new URLSearchParams({ uri }), full, { signal, headers })
      try {
        sent.end()
        return await answer(sent)
      } catch (error) {
        if (attempt === ATTEMPTS_MAX || !(wentAway(error) || hadNoRoom(error))) throw error
        if (wentAway(error)) avoid(base)
        else if (!pickOther(pickUrl, full.add(base))) throw error
      }
    }
  }
  return {
    async read(uri, { range, signal, call } = {}) {
      const response = await get(uri, { signal, call }, range)
      const about = headOf(response)
      const end = about.start + about.length
      const isTold = isToldApart(about)
      const body = new ResumingBody(response, {
        start: about.start,
        end,
        signal,
        isPassing: failure => isTold && failureOf(failure).errorCode === 'TEMPORARILY_UNAVAILABLE',
        told: failureOf,
        open: async position => {
          const next = await get(uri, { signal, call }, { start: position, end: end - 1 })
          if (headOf(next).etag === about.etag) return next
          next.destroy()
          throw internalError('The artifact changed while it was read')
        },
      })
      return { ...about, body }
    },
    async write(uri, body, { length, contentType, part, signal, call } = {}) {
      const kept = length !== undefined && length <= REPLAY_BYTES_MAX ? await buffered(body) : undefined
      const headers = {
        ...(length === undefined ? {} : { 'Content-Length': length }),
        ...(call && identityHeaders(call)),
        ...(contentType ? { 'Content-Type': contentType } : {}),
        // The other side says whether it has room before it gets the body, which could not be sent again.
        ...(kept ? {} : { Expect: '100-continue' }),
      }
      const full = new Set<string>()
      for (let attempt = 1; ; attempt++) {
        const { sent, base } = await open(new URLSearchParams({ uri, ...partQuery(part) }), full, { method: 'PUT', signal, headers })
        let isBegun = false
        sent.once('continue', () => {
          isBegun = true
        })
        try {
          const response = await Promise.race([answer(sent), failing(kept ? Readable.from([kept]) : body, sent, kept === undefined)])
          response.resume()
          return { etag: response.headers.etag }
        } catch (error) {
          sent.destroy()
          if (isBegun || attempt === ATTEMPTS_MAX || !(wentAway(error) || hadNoRoom(error))) throw error
          if (wentAway(error)) avoid(base)
          else if (!pickOther(pickUrl, full.add(base))) throw error
        }
      }
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

interface Opened {
  sent: ClientRequest
  base: string
}

/** A base URL that is not among the full ones, if its turn comes. */
function pickOther(pickUrl: () => string, full: ReadonlySet<string>): string | undefined {
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    const base = pickUrl()
    if (!full.has(base)) return base
  }
  return undefined
}

async function buffered(body: Readable): Promise<Buffer> {
  try {
    return await buffer(body)
  } catch (error) {
    throw cancelled('The upload was cut off', { cause: error })
  }
}

function headOf({ headers }: IncomingMessage): Omit<ReadResult, 'body'> {
  const length = Number(headers['content-length'])
  const [, start, size] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '') ?? []
  return {
    length,
    size: size === undefined ? length : Number(size),
    start: start === undefined ? 0 : Number(start),
    etag: headers.etag,
    lastModified: headers['last-modified'] === undefined ? undefined : new Date(headers['last-modified']),
  }
}

const partQuery = (part: UploadPart | undefined) => part && { upload_id: part.uploadId, part_number: String(part.partNumber) }
