import { posix } from 'node:path'
import type { Presign, Presigned } from '../../driver.ts'
import { isDirectory, noSuchArtifact } from '../../errors.ts'
import { AS_STORED } from '../attachment.ts'
import { type AzureLocation, blobName, blobPath, isMarker, marksFolder } from './blobs.ts'
import { encode } from './client.ts'
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
    if (blobName(this.#location, key) === '') throw isDirectory(key)
    const path = blobPath(this.#location, key)
    try {
      const found = await this.#location.client.headers({ method: 'HEAD', path, signal })
      if (isMarker(found)) throw marksFolder(found) ? isDirectory(key) : noSuchArtifact(key)
      // RFC 6266; without it a browser would show the blob instead of saving it.
      const disposition = `attachment; filename*=UTF-8''${encode(posix.basename(path))}`
      const encoding = found['content-encoding'] && AS_STORED
      const url = await this.#signer.url({ path, permissions: 'r', expirationSeconds, disposition, encoding }, '', signal)
      return { url, headers: {}, sizeBytes: Number(found['content-length'] ?? 0) }
    } catch (error) {
      throw azureError(error, key)
    }
  }

  async upload(key: string, expirationSeconds: number, contentType: string): Promise<Presigned> {
    const path = blobPath(this.#location, key)
    try {
      const url = await this.#signer.url({ path, permissions: 'cw', expirationSeconds })
      return { url, headers: { 'Content-Type': contentType, 'x-ms-blob-type': 'BlockBlob' } }
    } catch (error) {
      throw azureError(error, key)
    }
  }
}
