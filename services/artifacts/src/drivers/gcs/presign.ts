import { posix } from 'node:path'
import type { Presign, Presigned } from '../../driver.ts'
import { attachment } from '../attachment.ts'
import type { Signer } from './credentials.ts'
import { gcsError } from './errors.ts'
import { type GcsLocation, objectName, objectPath } from './location.ts'
import { signUrl } from './signing.ts'

export class GcsPresign implements Presign {
  readonly #location: GcsLocation
  readonly #signer: Signer

  constructor(location: GcsLocation, signer: Signer) {
    this.#location = location
    this.#signer = signer
  }

  async download(key: string, expirationSeconds: number, signal?: AbortSignal): Promise<Presigned & { sizeBytes: number }> {
    const { client } = this.#location
    const name = objectName(this.#location, key)
    try {
      const path = objectPath(this.#location, name)
      const { size } = await client.json<{ size: string }>({ method: 'GET', path, query: { fields: 'size' }, signal })
      const query = { 'response-content-disposition': attachment(posix.basename(name)) }
      return { ...(await this.#sign('GET', name, expirationSeconds, { query })), sizeBytes: Number(size) }
    } catch (error) {
      throw gcsError(error, key)
    }
  }

  async upload(key: string, expirationSeconds: number, contentType: string): Promise<Presigned> {
    try {
      return await this.#sign('PUT', objectName(this.#location, key), expirationSeconds, { headers: { 'Content-Type': contentType } })
    } catch (error) {
      throw gcsError(error, key)
    }
  }

  #sign(
    method: 'GET' | 'PUT',
    name: string,
    expirationSeconds: number,
    rest: { query?: Record<string, string>; headers?: Record<string, string> },
  ): Promise<Presigned> {
    const { config, bucket } = this.#location
    return signUrl({ method, endpoint: config.publicEndpoint, bucket, name, expirationSeconds, ...rest }, this.#signer)
  }
}
