import type { Bucket, Storage } from '@google-cloud/storage'
import { invalidParameter } from '@millrace/kit/errors'
import type { HeldBytes } from '../../held-bytes.ts'
import { folderBelow, nameBelow, readPrefix } from '../key-prefix.ts'
import type { GcsClient } from './client.ts'
import type { GcsConfig } from './config.ts'

/** Where a driver works, with what every call of it takes along. */
export interface GcsLocation {
  /** Sends what the SDK doesn't know to send within bounds. */
  client: GcsClient
  storage: Storage
  config: GcsConfig
  bucket: string
  /** See `readPrefix`. */
  prefix: string
  held: HeldBytes
  /** Whether the credentials can sign URLs. */
  canSign: boolean
}

/** Bucket and name of `gs://bucket/prefix`; the prefix is taken as written, a query or fragment is not part of it. */
export function parseGsUri(uri: string): { bucket: string; prefix: string } {
  const [, bucket, path] = /^gs:\/\/([^/?#@:\s]+)(?=[/?#]|$)([^?#]*)/i.exec(uri) ?? []
  if (!bucket || path === undefined) throw invalidParameter(`Artifact location '${uri}' is not of the form gs://bucket/path`)
  return { bucket, prefix: readPrefix(path) }
}

export function objectName({ prefix }: GcsLocation, key: string): string {
  return nameBelow(prefix, key)
}

/** Prefix of everything below `key`; "" for a whole bucket. */
export function folderPrefix({ prefix }: GcsLocation, key: string): string {
  return folderBelow(prefix, key)
}

/** The SDK's bucket: one for each call, as the SDK has no other way to take a signal along. */
export function bucketOf({ storage, bucket: name }: GcsLocation, signal?: AbortSignal): Bucket {
  // The SDK takes buckets' names as they are into its URLs.
  const bucket = storage.bucket(encodeURIComponent(name))
  bucket.interceptors.push({ request: options => Object.assign(options, { signal }) as never })
  return bucket
}

/** Where the bytes of a bucket's objects, or of the one of that name, are sent or got. */
export function bytesUrl({ config, bucket }: GcsLocation, direction: 'upload' | 'download', name?: string): string {
  const objects = `${config.endpoint}/${direction}/storage/v1/b/${encodeURIComponent(bucket)}/o`
  return name === undefined ? objects : `${objects}/${encodeURIComponent(name)}`
}
