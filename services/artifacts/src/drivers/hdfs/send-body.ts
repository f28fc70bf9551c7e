import type { ClientRequest } from 'node:http'
import { addAbortSignal, type Readable } from 'node:stream'
import { failingAsCancelled } from '../../body-parts.ts'
import { isUnreachable, SilentStore } from './errors.ts'
import { answerTo, type Wire } from './exchange.ts'
import { type Redirection, UnusedDataNode } from './name-nodes.ts'

/** Gateways take no other type. */
export const BODY_HEADERS = { 'Content-Type': 'application/octet-stream' }

/**
 * Sends a body of unknown length, whose end a server can tell from a broken connection. Only a server that doesn't take bytes has a
 * time limit: a slow body hasn't.
 * @returns the body's bytes, once the server has them all.
 * @throws UnusedDataNode when no byte of the body was taken.
 */
export async function sendBody(wire: Wire, to: Redirection, body: Readable, signal?: AbortSignal): Promise<number> {
  const headers = { ...to.headers, ...BODY_HEADERS, 'Transfer-Encoding': 'chunked' }
  const request = wire.begin(to.url, { method: 'PUT', headers, signal })
  const answer = answerTo(request)
  let answered = false
  let length = 0
  answer.then(
    () => (answered = true),
    () => undefined,
  )
  try {
    request.flushHeaders()
    await connected(request, answer)
    if (signal) addAbortSignal(signal, body)
    for await (const chunk of failingAsCancelled(body)) {
      if (answered) break
      length += chunk.length
      if (!request.write(chunk)) await withinLimit(request, wire.timeoutMs, Promise.race([drained(request), answer]))
    }
    if (!answered) request.end()
    await wire.textOf(await wire.check(await withinLimit(request, wire.timeoutMs, answer)))
    return length
  } finally {
    // Whatever is still on its way is of no use; after the whole answer nothing is.
    if (!request.writableFinished) request.destroy()
  }
}

function connected(request: ClientRequest, answer: Promise<unknown>): Promise<unknown> {
  const connecting = new Promise<void>(resolve => {
    request.once('socket', socket => {
      if (!socket.connecting) resolve()
      else socket.once('encrypted' in socket ? 'secureConnect' : 'connect', resolve)
    })
  })
  return Promise.race([connecting, answer]).catch(error => {
    throw isUnreachable(error) || error instanceof SilentStore ? new UnusedDataNode('not reached', { cause: error }) : error
  })
}

function drained(request: ClientRequest): Promise<void> {
  return new Promise(resolve => {
    request.once('drain', resolve)
  })
}

async function withinLimit<T>(request: ClientRequest, timeoutMs: number, waiting: Promise<T>): Promise<T> {
  const limit = setTimeout(() => request.destroy(new SilentStore('the body is not taken')), timeoutMs)
  try {
    return await waiting
  } finally {
    clearTimeout(limit)
  }
}
