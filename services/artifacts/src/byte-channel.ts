import type { ByteChannel } from '@millrace/kit/bytes'
import { cancelled } from '@millrace/kit/errors'
import type { Stores } from './stores.ts'
import { endWith, STREAM_BUFFER_BYTES, type Transfers } from './transfers.ts'

/** The data path within the process that has the stores. A stream that finds no room is refused before its body is looked at. */
export function createByteChannel(stores: Stores, transfers: Transfers): ByteChannel {
  return {
    async read(uri, options) {
      const { store, path } = await stores.open(uri)
      const transfer = transfers.admit('download', STREAM_BUFFER_BYTES)
      try {
        const found = await store.read(path, options)
        found.body.on('error', () => undefined)
        if (options?.signal?.aborted) {
          found.body.destroy()
          throw cancelled('The download was cut off')
        }
        transfer.resize(Math.min(found.length, STREAM_BUFFER_BYTES))
        transfer.follow(found.body)
        endWith(transfer, found.body)
        return found
      } catch (error) {
        transfer[Symbol.dispose]()
        throw error
      }
    },
    async write(uri, body, options = {}) {
      const { length = Number.POSITIVE_INFINITY, part } = options
      const { store, path } = await stores.open(uri)
      using hold = store.hold(options.length)
      using transfer = transfers.admit('upload', Math.min(length, STREAM_BUFFER_BYTES + (hold?.bytes ?? 0)))
      transfer.follow(body)
      if (part) return { etag: await store.writePart(part, body, options) }
      await store.write(path, body, { ...options, hold })
      return {}
    },
  }
}
