import type { Readable } from 'node:stream'
import type { UploadPart } from '@millrace/kit/bytes'
import type { Multipart, PartTarget, PartWriteOptions, SentPart } from '../../driver.ts'
import type { ReceivedMultipart } from '../../received-multipart.ts'
import { isRelayed, type RelayedMultipart } from './relayed-multipart.ts'
import type { Remote } from './remote.ts'

/** The other server's multipart upload while it offers one, else parts that are received. An upload ends the way it began. */
export class HttpMultipart implements Multipart {
  readonly partsMax = 10_000
  readonly #remote: Remote
  readonly #relayed: RelayedMultipart
  readonly #received: ReceivedMultipart

  constructor(remote: Remote, relayed: RelayedMultipart, received: ReceivedMultipart) {
    this.#remote = remote
    this.#relayed = relayed
    this.#received = received
  }

  get isReceiving(): boolean {
    return !this.#remote.multipart
  }

  start(key: string, partCount: number, signal?: AbortSignal): Promise<{ uploadId: string; parts: PartTarget[] }> {
    return (this.isReceiving ? this.#received : this.#relayed).start(key, partCount, signal)
  }

  complete(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void> {
    return this.#of(uploadId).complete(key, uploadId, parts, signal)
  }

  abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    return this.#of(uploadId).abort(key, uploadId, signal)
  }

  receive(part: UploadPart, body: Readable, options?: PartWriteOptions): Promise<string> {
    return this.#received.receive(part, body, options)
  }

  #of(uploadId: string): Multipart {
    return isRelayed(uploadId) ? this.#relayed : this.#received
  }
}
