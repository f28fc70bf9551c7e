import { posix } from 'node:path'
import { doesNotExist, internalError, invalidParameter, type MlflowError } from '@millrace/kit/errors'
import type { Multipart, PartTarget, SentPart } from '../../driver.ts'
import type { HttpClient } from './client.ts'
import { HttpFailure, httpError } from './errors.ts'
import { type HttpLocation, requestPath, writablePath } from './location.ts'

/** Begins the ids of these uploads, so that they are told from those whose parts are received here. */
const PREFIX = 'relayed:'

interface Created {
  upload_id?: string | null
  credentials?: { url: string; part_number: number; headers?: Record<string, string> }[]
}

/** The other server's uploads: clients send the parts where it says. */
export class RelayedMultipart implements Multipart {
  readonly partsMax = 10_000
  readonly #client: HttpClient
  readonly #location: HttpLocation

  constructor(client: HttpClient, location: HttpLocation) {
    this.#client = client
    this.#location = location
  }

  async start(key: string, partCount: number, signal?: AbortSignal): Promise<{ uploadId: string; parts: PartTarget[] }> {
    const created = ((await this.#post('create', key, { num_parts: partCount }, signal)) ?? {}) as Created
    if (!Array.isArray(created.credentials)) throw internalError('The other tracking server started no multipart upload')
    return {
      // A store may have none: Azure behind MLflow's server.
      uploadId: PREFIX + (created.upload_id ?? ''),
      parts: created.credentials.map(({ url, part_number, headers }) => ({ partNumber: part_number, url, headers: headers ?? {} })),
    }
  }

  async complete(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void> {
    const sent = parts.map(({ partNumber, etag, url }) => ({ part_number: partNumber, etag, url }))
    await this.#post('complete', key, { upload_id: idOf(uploadId), parts: sent }, signal)
  }

  async abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.#post('abort', key, { upload_id: idOf(uploadId) }, signal)
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  }

  async #post(step: string, key: string, fields: Record<string, unknown>, signal: AbortSignal | undefined): Promise<unknown> {
    const path = writablePath(this.#location, key)
    const folder = posix.dirname(path)
    // MLflow's clients end the path with a slash when there is no folder.
    const target =
      folder === '.' ? `${requestPath(this.#location, `mpu/${step}`, '')}/` : requestPath(this.#location, `mpu/${step}`, folder)
    try {
      const json = { path: posix.basename(path), ...fields }
      return await this.#client.json(this.#location, { method: 'POST', path: target, json, signal })
    } catch (error) {
      throw uploadError(error, key)
    }
  }
}

export const isRelayed = (uploadId: string) => uploadId.startsWith(PREFIX)

const idOf = (uploadId: string) => uploadId.slice(PREFIX.length) || null

const isMissing = (error: unknown) => error instanceof Error && 'errorCode' in error && error.errorCode === 'RESOURCE_DOES_NOT_EXIST'

function uploadError(error: unknown, key: string): MlflowError {
  if (!(error instanceof HttpFailure)) return httpError(error, key)
  if (error.status === 404) return doesNotExist('No such multipart upload', { cause: error })
  if (error.status === 400) return invalidParameter(`The other tracking server refused the parts of artifact '${key}'`, { cause: error })
  return httpError(error, key)
}
