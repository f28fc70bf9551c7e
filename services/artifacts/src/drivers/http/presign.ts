import { internalError } from '@millrace/kit/errors'
import type { Presign, Presigned } from '../../driver.ts'
import { noSuchArtifact } from '../../errors.ts'
import type { HttpClient } from './client.ts'
import { HttpFailure, httpError } from './errors.ts'
import { artifactPath, type HttpLocation, isAddressable, requestPath } from './location.ts'

/** URLs that the other server has its store sign. How long they last is its own setting; it signs no uploads. */
export class HttpPresign implements Presign {
  readonly #client: HttpClient
  readonly #location: HttpLocation
  readonly #sizeOf: (key: string) => Promise<number>

  constructor(client: HttpClient, location: HttpLocation, sizeOf: (key: string) => Promise<number>) {
    this.#client = client
    this.#location = location
    this.#sizeOf = sizeOf
  }

  async download(key: string, _expirationSeconds: number, signal?: AbortSignal): Promise<Presigned & { sizeBytes: number }> {
    const artifact = artifactPath(this.#location, key)
    if (!isAddressable(artifact)) throw noSuchArtifact(key)
    const path = requestPath(this.#location, 'presigned', artifact)
    try {
      const answer = await this.#client.json(this.#location, { method: 'GET', path, signal })
      const { url, headers, file_size } = (answer ?? {}) as { url?: string; headers?: Record<string, string>; file_size?: number | null }
      if (typeof url !== 'string') throw internalError('The other tracking server signed no URL')
      return { url, headers: headers ?? {}, sizeBytes: file_size ?? (await this.#sizeOf(key)) }
    } catch (error) {
      if (error instanceof HttpFailure && error.status === 404) throw noSuchArtifact(key, error)
      throw httpError(error, key)
    }
  }
}
