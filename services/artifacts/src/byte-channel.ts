import type { ByteChannel } from '@millrace/kit/bytes'
import type { Stores } from './stores.ts'

/** The data path within the process that has the stores. */
export function createByteChannel(stores: Stores): ByteChannel {
  return {
    async read(uri, options) {
      const { store, path } = await stores.open(uri)
      return store.read(path, options)
    },
    async write(uri, body, options) {
      const { store, path } = await stores.open(uri)
      await store.write(path, body, options)
    },
  }
}
