import { invalidParameter } from '@millrace/kit/errors'
import type { HeldBytes } from '../../held-bytes.ts'
import { folderBelow, nameBelow, readPrefix } from '../key-prefix.ts'
import type { GcsClient } from './client.ts'
import type { GcsConfig } from './config.ts'
import type { Signer } from './credentials.ts'

/** Where a driver works, with what every call of it takes along. */
export interface GcsLocation {
  client: GcsClient
  config: GcsConfig
  bucket: string
  /** See `readPrefix`. */
  prefix: string
  held: HeldBytes
  /** Absent when the credentials can't sign URLs. */
  signer?: Signer
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

/** Path of a bucket's objects in the JSON API, with the object's name at its end when given. */
export function objectPath({ bucket }: GcsLocation, name?: string): string {
  const objects = `/storage/v1/b/${encodeURIComponent(bucket)}/o`
  return name === undefined ? objects : `${objects}/${encodeURIComponent(name)}`
}
