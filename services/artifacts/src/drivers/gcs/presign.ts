import { posix } from 'node:path'
import type { Presign, Presigned } from '../../driver.ts'
import { attachment } from '../attachment.ts'
import { gcsError } from './errors.ts'
import { bucketOf, type GcsLocation, objectName } from './location.ts'
import { metadataOf } from './objects.ts'

interface UrlToSign {
  action: 'read' | 'write'
  name: string
  expirationSeconds: number
  /** What the client must send along. */
  contentType?: string
  responseDisposition?: string
}

export class GcsPresign implements Presign {
  readonly #location: GcsLocation

  constructor(location: GcsLocation) {
    this.#location = location
  }

  async download(key: string, expirationSeconds: number, signal?: AbortSignal): Promise<Presigned & { sizeBytes: number }> {
    const name = objectName(this.#location, key)
    try {
      const { size } = await metadataOf(this.#location, name, 'size', signal)
      const responseDisposition = attachment(posix.basename(name))
      const url = await signUrl(this.#location, { action: 'read', name, expirationSeconds, responseDisposition })
      return { url, headers: {}, sizeBytes: Number(size) }
    } catch (error) {
      throw gcsError(error, key)
    }
  }

  async upload(key: string, expirationSeconds: number, contentType: string): Promise<Presigned> {
    const name = objectName(this.#location, key)
    try {
      const url = await signUrl(this.#location, { action: 'write', name, expirationSeconds, contentType })
      return { url, headers: { 'Content-Type': contentType } }
    } catch (error) {
      throw gcsError(error, key)
    }
  }
}

export async function signUrl(location: GcsLocation, { name, expirationSeconds, ...rest }: UrlToSign): Promise<string> {
  const accessibleAt = Date.now()
  const expires = accessibleAt + expirationSeconds * 1000
  const host = location.config.publicEndpoint
  const [url] = await bucketOf(location)
    .file(name)
    .getSignedUrl({ version: 'v4', host, accessibleAt, expires, ...rest })
  // A path of the public endpoint is for the proxy that is there; the SDK leaves it out.
  return `${host}${url.slice(new URL(host).origin.length)}`
}
