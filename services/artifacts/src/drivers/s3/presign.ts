import { posix } from 'node:path'
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { Presign, Presigned } from '../../driver.ts'
import { AS_STORED, attachment } from '../attachment.ts'
import { s3Error } from './errors.ts'
import { headersOf, sdkArgs, signedArgs } from './extra-args.ts'
import { objectParams, type S3Location } from './location.ts'

export class S3Presign implements Presign {
  readonly #location: S3Location

  constructor(location: S3Location) {
    this.#location = location
  }

  async download(key: string, expirationSeconds: number, signal?: AbortSignal): Promise<Presigned & { sizeBytes: number }> {
    const target = objectParams(this.#location, key)
    try {
      const { ContentLength = 0, ContentEncoding } = await this.#location.client.send(new HeadObjectCommand(target), {
        abortSignal: signal,
      })
      const command = new GetObjectCommand({
        ...target,
        ResponseContentDisposition: attachment(posix.basename(target.Key)),
        ResponseContentEncoding: ContentEncoding && AS_STORED,
      })
      const url = await getSignedUrl(this.#location.signer, command, { expiresIn: expirationSeconds })
      return { url, headers: {}, sizeBytes: ContentLength }
    } catch (error) {
      throw s3Error(error, key)
    }
  }

  async upload(key: string, expirationSeconds: number, contentType: string): Promise<Presigned> {
    const args = signedArgs(this.#location.config.uploadExtraArgs)
    const headers = headersOf({ ContentType: contentType, ...args })
    const names = Object.keys(headers).map(name => name.toLowerCase())
    const command = new PutObjectCommand({ ...objectParams(this.#location, key), ContentType: contentType, ...sdkArgs(args) })
    try {
      const url = await getSignedUrl(this.#location.signer, command, {
        expiresIn: expirationSeconds,
        signableHeaders: new Set(names),
        unhoistableHeaders: new Set(names),
      })
      return { url, headers }
    } catch (error) {
      throw s3Error(error, key)
    }
  }
}
