import { createHash } from 'node:crypto'
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, HeadObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { guessType } from '@millrace/kit/media-types'
import type { Multipart, PartTarget, SentPart } from '../../driver.ts'
import { beginUpload } from './begin.ts'
import { failureOf, isMissing, s3Error } from './errors.ts'
import { sdkArgs, signedArgs } from './extra-args.ts'
import { objectParams, type S3Location } from './location.ts'

/** A client asks for all URLs before it sends the first part, so they must last as long as the slowest upload. */
const PART_URL_EXPIRATION_SECONDS = 12 * 60 * 60

export class S3Multipart implements Multipart {
  readonly partsMax = 10_000
  readonly #location: S3Location

  constructor(location: S3Location) {
    this.#location = location
  }

  async start(key: string, partCount: number, signal?: AbortSignal): Promise<{ uploadId: string; parts: PartTarget[] }> {
    const { signer, config } = this.#location
    const target = objectParams(this.#location, key)
    const { type, encoding } = guessType(key)
    try {
      const about = { ...target, ContentType: type, ContentEncoding: encoding, ...sdkArgs(signedArgs(config.uploadExtraArgs)) }
      const UploadId = await beginUpload(this.#location, about, signal)
      const parts: PartTarget[] = []
      for (let partNumber = 1; partNumber <= partCount; partNumber++) {
        const part = new UploadPartCommand({ ...target, UploadId, PartNumber: partNumber })
        parts.push({ partNumber, url: await getSignedUrl(signer, part, { expiresIn: PART_URL_EXPIRATION_SECONDS }), headers: {} })
      }
      return { uploadId: UploadId, parts }
    } catch (error) {
      throw s3Error(error, key)
    }
  }

  async complete(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void> {
    const Parts = parts.map(({ partNumber, etag }) => ({ PartNumber: partNumber, ETag: etag }))
    const command = new CompleteMultipartUploadCommand({
      ...objectParams(this.#location, key),
      UploadId: uploadId,
      MultipartUpload: { Parts },
    })
    try {
      await this.#location.client.send(command, { abortSignal: signal })
    } catch (error) {
      if (failureOf(error).code === 'NoSuchUpload' && (await this.#isCompleted(key, parts, signal))) return
      throw s3Error(error, key)
    }
  }

  async abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    const command = new AbortMultipartUploadCommand({ ...objectParams(this.#location, key), UploadId: uploadId })
    try {
      await this.#location.client.send(command, { abortSignal: signal })
    } catch (error) {
      if (failureOf(error).code !== 'NoSuchUpload' && !isMissing(error)) throw s3Error(error, key)
    }
  }

  /**
   * Whether the object is what the parts make. S3's ETag of a joined object is the MD5 of its parts' MD5s and their number;
   * with KMS keys the ETags aren't MD5s, and the number has to do.
   */
  async #isCompleted(key: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<boolean> {
    try {
      const command = new HeadObjectCommand(objectParams(this.#location, key))
      const { ETag = '', ServerSideEncryption } = await this.#location.client.send(command, { abortSignal: signal })
      const etag = ETag.replaceAll('"', '')
      if (ServerSideEncryption?.startsWith('aws:kms')) return etag.endsWith(`-${parts.length}`)
      const hash = createHash('md5')
      for (const part of parts) hash.update(Buffer.from(part.etag.replaceAll('"', ''), 'hex'))
      return etag === `${hash.digest('hex')}-${parts.length}`
    } catch (error) {
      if (isMissing(error)) return false
      throw s3Error(error, key)
    }
  }
}
