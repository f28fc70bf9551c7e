import type { S3Client } from '@aws-sdk/client-s3'
import { invalidParameter } from '@millrace/kit/errors'
import type { HeldBytes } from '../../held-bytes.ts'
import type { HttpCaller } from '../http-call.ts'
import { folderBelow, nameBelow, readPrefix } from '../key-prefix.ts'
import type { S3Config } from './config.ts'

/** Where a driver works, with what every call of it takes along. */
export interface S3Location {
  client: S3Client
  /** Signs URLs for clients, with the host that they reach. */
  signer: S3Client
  /** For calls that the SDK can't make. */
  caller: HttpCaller
  bucket: string
  /** See `readPrefix`. */
  prefix: string
  config: S3Config
  held: HeldBytes
  /** Aborts when the client is about to go. */
  closing?: AbortSignal
}

/** Bucket and prefix of `s3://bucket/prefix`, which is taken as written; a query or fragment is not part of it. */
export function parseS3Uri(uri: string): { bucket: string; prefix: string } {
  const [, bucket, path] = /^s3:\/\/([^/?#]+)([^?#]*)/i.exec(uri) ?? []
  if (!bucket || path === undefined) throw invalidParameter(`Artifact location '${uri}' is not of the form s3://bucket/path`)
  return { bucket, prefix: readPrefix(path) }
}

export function objectKey({ prefix }: S3Location, key: string): string {
  return nameBelow(prefix, key)
}

/** Prefix of everything below `key`; "" for a whole bucket. */
export function folderPrefix({ prefix }: S3Location, key: string): string {
  return folderBelow(prefix, key)
}

export function bucketParams({ bucket, config }: S3Location): { Bucket: string; ExpectedBucketOwner?: string } {
  return { Bucket: bucket, ...(config.expectedBucketOwner ? { ExpectedBucketOwner: config.expectedBucketOwner } : {}) }
}

export function objectParams(location: S3Location, key: string): { Bucket: string; Key: string; ExpectedBucketOwner?: string } {
  return { ...bucketParams(location), Key: objectKey(location, key) }
}
