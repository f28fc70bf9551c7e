import { addAbortSignal, finished, type Readable, type Writable } from 'node:stream'

/**
 * Moves all of `body` into `sink`. Unlike `pipeline` it leaves the body open when the sink fails: a request whose connection
 * is still good can then be answered.
 */
export function pump(body: Readable, sink: Writable, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal) addAbortSignal(signal, body)
    const stopWatching = finished(body, { writable: false }, error => {
      if (!error) return
      sink.destroy()
      reject(error)
    })
    sink.once('error', error => {
      stopWatching()
      body.unpipe(sink)
      reject(error)
    })
    sink.once('finish', resolve)
    body.pipe(sink)
  })
}
