import { posix } from 'node:path'
import type { Presign, Presigned } from '../../driver.ts'
import { isDirectory, noSuchArtifact } from '../../errors.ts'
import { AS_STORED } from '../attachment.ts'
import { type AzureLocation, blobName, blobNamed, isMarker, marksFolder } from './blobs.ts'
import { azureError } from './errors.ts'
import type { SasSigner } from './sas.ts'

export class AzurePresign implements Presign {
  readonly #location: AzureLocation
  readonly #signer: SasSigner

  constructor(location: AzureLocation, signer: SasSigner) {
    this.#location = location
    this.#signer = signer
  }

  async download(key: string, expirationSeconds: number, signal?: AbortSignal): Promise<Presigned & { sizeBytes: number }> {
    const name = blobName(this.#location, key)
    if (name === '') throw isDirectory(key)
    try {
      const { metadata, contentEncoding, contentLength = 0 } = await blobNamed(this.#location, name).getProperties({ abortSignal: signal })
      if (isMarker(metadata)) throw marksFolder(metadata) ? isDirectory(key) : noSuchArtifact(key)
      // RFC 6266; without it a browser would show the blob instead of saving it.
      const disposition = `attachment; filename*=UTF-8''${encode(posix.basename(name))}`
      const encoding = contentEncoding && AS_STORED
      const url = await this.#signer.url({ name, permissions: 'r', expirationSeconds, disposition, encoding }, '', signal)
      return { url, headers: {}, sizeBytes: contentLength }
    } catch (error) {
      throw azureError(error, key)
    }
  }

  async upload(key: string, expirationSeconds: number, contentType: string): Promise<Presigned> {
    try {
      const url = await this.#signer.url({ name: blobName(this.#location, key), permissions: 'cw', expirationSeconds })
      return { url, headers: { 'Content-Type': contentType, 'x-ms-blob-type': 'BlockBlob' } }
    } catch (error) {
      throw azureError(error, key)
    }
  }
}

/** All but RFC 3986's unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, character => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}
