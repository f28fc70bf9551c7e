import { invalidParameter } from '@millrace/kit/errors'
import { shownUri } from '../../uri.ts'
import { readPrefix } from '../key-prefix.ts'
import type { S3Config } from './config.ts'

/** A service that speaks S3's protocol and has a scheme of its own, whose URIs name the host. Source: MLflow's stores for R2 and B2. */
export interface Hosting {
  scheme: string
  /** With a group `region` where the host says it. */
  host: RegExp
  form: string
  /** What the service wants whatever the settings are. */
  config: Pick<S3Config, 'addressingStyle' | 'userAgent' | 'region'>
}

export const R2: Hosting = {
  scheme: 'r2',
  host: /^[^.]+\.(?:[a-z]+\.)?r2\.cloudflarestorage\.com$/i,
  form: 'r2://bucket@account.r2.cloudflarestorage.com/path',
  config: { addressingStyle: 'virtual', region: 'auto' },
}

export const B2: Hosting = {
  scheme: 'b2',
  host: /^s3\.(?<region>[^.]+)\.backblazeb2\.com$/i,
  form: 'b2://bucket@s3.region.backblazeb2.com/path',
  config: { addressingStyle: 'path', userAgent: 'b2ai-mlflow' },
}

export interface HostedLocation {
  bucket: string
  /** With a port if the URI has one. */
  host: string
  region: string | undefined
  prefix: string
}

/** The prefix is taken as `parseS3Uri` takes it. */
export function parseHostedUri(uri: string, { scheme, host, form }: Hosting): HostedLocation {
  const [, given, bucket, name = '', port = '', path] = /^([a-z0-9]+):\/\/([^/?#@:]+)@([^/?#@:]+)(:\d+)?([^?#]*)/i.exec(uri) ?? []
  const found = host.exec(name)
  if (!bucket || path === undefined || given?.toLowerCase() !== scheme || !found)
    throw invalidParameter(`Artifact location '${shownUri(uri)}' is not of the form ${form}`)
  return {
    bucket,
    host: `${name}${port}`.toLowerCase(),
    region: found.groups?.region?.toLowerCase(),
    prefix: readPrefix(path),
  }
}

export const parseR2Uri = (uri: string): HostedLocation => parseHostedUri(uri, R2)
export const parseB2Uri = (uri: string): HostedLocation => parseHostedUri(uri, B2)
