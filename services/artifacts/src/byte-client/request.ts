import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { finished, type Readable } from 'node:stream'
import { cancelled } from '@millrace/kit/errors'
import { NotSent } from '@millrace/kit/replica-failures'
import { failureOf, readError } from './failures.ts'

/** Ends a wait for a process that has fallen silent. */
export type Cut = (reason: Error) => void

/** A request whose connection stands: from here on it counts as sent. `wait` cuts it at any time until its answer is over. */
export function connect(url: URL, options: RequestOptions, wait: (cut: Cut) => () => void): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const sent = request(url, options)
    let isConnected = false
    const connected = () => {
      isConnected = true
      resolve(sent)
    }
    // Stays until the end: an error that nobody listens to ends the process.
    sent.on('error', error => reject(isConnected || options.signal?.aborted ? error : new NotSent(error.message, { cause: error })))
    sent.once('timeout', () => sent.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })))
    sent.once('socket', socket => {
      if (socket.connecting) socket.once('connect', connected)
      else connected()
    })
    sent.once(
      'close',
      wait(reason => sent.destroy(reason)),
    )
  })
}

/** The answer's headers. @throws the error that the other side answered with, or what became of the connection. */
export function answer(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once('error', error => reject(failureOf(error)))
    sent.once('response', response => {
      if ((response.statusCode ?? 500) < 300) resolve(response)
      else readError(response).then(reject, reject)
    })
  })
}

/**
 * Sends the body, once it is asked for if that was agreed; settles only when the body fails, since the answer is what says that all went
 * well.
 */
export function failing(body: Readable, sent: ClientRequest, whenAsked: boolean): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stopWatching = finished(body, { writable: false }, error => {
      if (!error) return
      reject(cancelled('The upload was cut off', { cause: error }))
      sent.destroy()
    })
    sent.once('response', () => {
      stopWatching()
      body.unpipe(sent)
    })
    if (whenAsked) sent.once('continue', () => body.pipe(sent))
    else body.pipe(sent)
  })
}
