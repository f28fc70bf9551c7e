import { addAbortSignal, type Readable } from 'node:stream'
import { isTaken } from '../streamed-body.ts'
import { isUnreachableOrSilent } from './errors.ts'
import type { Wire } from './exchange.ts'
import { type Redirection, UnusedDataNode } from './name-nodes.ts'

/** Gateways take no other type. */
export const BODY_HEADERS = { 'Content-Type': 'application/octet-stream' }

/**
 * Sends a body of unknown length, whose end a server can tell from a broken connection.
 * @returns the body's bytes, once the server has them all.
 * @throws UnusedDataNode when no byte of the body was taken.
 */
export async function sendBody(wire: Wire, to: Redirection, stream: Readable, signal?: AbortSignal): Promise<number> {
  let length = 0
  const body = {
    stream,
    onSent(bytes: number) {
      length += bytes
    },
  }
  if (signal) addAbortSignal(signal, stream)
  try {
    const response = await wire.send({ method: 'PUT', url: to.url.href, headers: { ...to.headers, ...BODY_HEADERS }, body, signal })
    await wire.textOf(response)
    return length
  } catch (error) {
    throw isUnreachableOrSilent(error) && !isTaken(body) ? new UnusedDataNode('not reached', { cause: error }) : error
  }
}
