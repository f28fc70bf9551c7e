import type { IncomingMessage } from 'node:http'
import { GetObjectCommand } from '@aws-sdk/client-s3'
import { type ByteRange, type ReadResult, rangeHeader } from '@millrace/kit/bytes'
import { internalError } from '@millrace/kit/errors'
import { ResumingBody } from '@millrace/kit/resuming-body'
import { isUnreachable } from '../system-errors.ts'
import { s3Error } from './errors.ts'
import { objectParams, type S3Location } from './location.ts'
import { silence } from './silence.ts'

/** An object, or a range of it, that goes on where it was, in the same version, when its connection is lost. */
export async function read(location: S3Location, key: string, range?: ByteRange, signal?: AbortSignal): Promise<ReadResult> {
  const { client, config } = location
  const open = async (Range?: string, IfMatch?: string) => {
    const answer = await client.send(new GetObjectCommand({ ...objectParams(location, key), Range, IfMatch }), { abortSignal: signal })
    if (!answer.Body) throw internalError(`The artifact store sent no body for artifact '${key}'`)
    const body = answer.Body as IncomingMessage
    // Whoever reads it watches over the store's silence: that of a slow reader is none.
    body.socket.setTimeout(0)
    return { ...answer, body }
  }
  const {
    body,
    ContentLength: length = 0,
    ContentRange = '',
    ETag: etag,
    LastModified: lastModified,
  } = await open(range && rangeHeader(range))
  const [, from = '0', size = String(length)] = /^bytes (\d+)-\d+\/(\d+)$/.exec(ContentRange) ?? []
  const start = Number(from)
  const end = start + length
  const resuming = new ResumingBody(body, {
    start,
    end,
    timeoutMs: config.timeoutMs,
    signal,
    silence,
    isPassing: isUnreachable,
    told: failure => s3Error(failure, key),
    open: async position => {
      const next = await open(`bytes=${position}-${end - 1}`, etag)
      if (next.ContentRange?.startsWith(`bytes ${position}-`)) return next.body
      next.body.destroy()
      throw internalError(`The artifact store did not go on with artifact '${key}' where it was`)
    },
  })
  return { length, size: Number(size), start, etag, lastModified, body: resuming }
}
