import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Encoder } from './codec/encode.ts'
import type { StreamedAnswer } from './streamed-answer.ts'

/** Node sends a string in one piece with its headers. */
const STRING_BYTES_MAX = 8 * 1024

/** The JSON of a call, all of it or as it comes. */
export type Answer = readonly Buffer[] | StreamedAnswer

/** In one process a handler may give the same message to many callers: large JSON is encoded once. */
export function encodeOnce(encode: Encoder): Encoder {
  const written = new WeakMap<object, Buffer[]>()
  return message => {
    const known = written.get(message)
    if (known) return known
    const json = encode(message)
    if (lengthOf(json) > STRING_BYTES_MAX) written.set(message, json)
    return json
  }
}

/** Writes the answer of a call. @param headers flat list. */
export function writeAnswer(res: ServerResponse, json: Answer, headers: readonly string[]): void | Promise<void> {
  if (Symbol.asyncIterator in json) return writeParts(res, json, headers)
  const length = lengthOf(json)
  res.writeHead(200, ['Content-Type', 'application/json', 'Content-Length', String(length), ...headers])
  const [only] = json
  if (only && length <= STRING_BYTES_MAX) {
    res.end(only.toString('latin1'), 'latin1')
    return
  }
  for (const chunk of json) res.write(chunk)
  res.end()
}

/** Writes at the client's pace. A client that disconnects is no error. */
async function writeParts(res: ServerResponse, answer: StreamedAnswer, headers: readonly string[]): Promise<void> {
  await using parts = answer
  if (res.destroyed) return
  res.writeHead(200, ['Content-Type', 'application/json', ...headers])
  try {
    await pipeline(parts, res)
  } catch (reason) {
    if ((reason as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw reason
  }
}

const lengthOf = (chunks: readonly Buffer[]) => chunks.reduce((sum, chunk) => sum + chunk.length, 0)
