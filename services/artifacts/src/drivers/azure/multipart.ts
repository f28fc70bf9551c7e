import { randomBytes } from 'node:crypto'
import { doesNotExist, invalidParameter } from '@millrace/kit/errors'
import { guessType } from '@millrace/kit/media-types'
import type { Multipart, PartTarget, SentPart } from '../../driver.ts'
import { type AzureLocation, blobAt, blobName } from './blobs.ts'
import { abandon, blockId, httpHeaders, isUploadId, stateOf } from './blocks.ts'
import { azureError, codeOf } from './errors.ts'
import type { SasSigner } from './sas.ts'

/** A client asks for all URLs before it sends the first part, so they must last as long as the slowest upload. */
const PART_URL_EXPIRATION_SECONDS = 12 * 60 * 60

/** Clients stage blocks with signed URLs; the store drops what is never completed after a week, so that nothing has to be listed. */
export class AzureMultipart implements Multipart {
  /** Azure itself takes 50,000 blocks, which may be of 4,000 MiB each. */
  readonly partsMax = 10_000
  readonly #location: AzureLocation
  readonly #signer: SasSigner

  constructor(location: AzureLocation, signer: SasSigner) {
    this.#location = location
    this.#signer = signer
  }

  async start(key: string, partCount: number, signal?: AbortSignal): Promise<{ uploadId: string; parts: PartTarget[] }> {
    const uploadId = randomBytes(16).toString('hex')
    try {
      const grant = { name: blobName(this.#location, key), permissions: 'w', expirationSeconds: PART_URL_EXPIRATION_SECONDS }
      const base = await this.#signer.url(grant, 'comp=block&blockid=BLOCK&', signal)
      const parts: PartTarget[] = []
      for (let partNumber = 1; partNumber <= partCount; partNumber++) {
        parts.push({
          partNumber,
          url: base.replace('blockid=BLOCK&', `blockid=${encodeURIComponent(blockId(uploadId, partNumber))}&`),
          headers: {},
        })
      }
      return { uploadId, parts }
    } catch (error) {
      throw azureError(error, key)
    }
  }

  async complete(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void> {
    if (!isUploadId(uploadId)) throw noSuchUpload()
    const blob = blobAt(this.#location, key)
    const ids = parts.map(({ partNumber }) => blockId(uploadId, partNumber))
    const { type, encoding } = guessType(key)
    try {
      const state = await stateOf(blob, uploadId, ids, signal)
      if (state === 'committed') return
      if (state === 'unknown') throw noSuchUpload()
      if (state === 'incomplete') throw invalidParameter(`The store doesn't have all the parts of artifact '${key}'`)
      await blob.commitBlockList(ids, {
        blobHTTPHeaders: httpHeaders({ contentType: type, contentEncoding: encoding }),
        abortSignal: signal,
      })
    } catch (error) {
      // Another completion of the upload may have been faster.
      const maybe = codeOf(error) === 'InvalidBlockList' && (await stateOf(blob, uploadId, ids, signal).catch(() => ''))
      if (maybe !== 'committed') throw azureError(error, key)
    }
  }

  async abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    if (!isUploadId(uploadId)) return
    try {
      await abandon(blobAt(this.#location, key), uploadId, signal)
    } catch (error) {
      throw azureError(error, key)
    }
  }
}

const noSuchUpload = () => doesNotExist('No such multipart upload')
