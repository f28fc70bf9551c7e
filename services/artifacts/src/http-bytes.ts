import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { ByteChannel, ByteRange, UploadPart, WriteOptions } from '@millrace/kit/bytes'
import { sendBody } from '@millrace/kit/client-gone'
import { badRequest, isServerFault, toMlflowError } from '@millrace/kit/errors'
import { HttpCall } from '@millrace/kit/http-call'
import type { Logger } from '@millrace/kit/logger'

/**
 * The data path between processes, without authentication: for a private network only.
 * `GET /bytes?uri=…` with an optional Range of one part, `PUT /bytes?uri=…`, with `&upload_id=…&part_number=…` for a part of an upload,
 * which is answered with its ETag; an error is `{"error_code", "message", "error_class"}`, with Retry-After when nothing was done.
 */
export function byteHandler(bytes: ByteChannel, log?: Logger): RequestListener {
  return (req, res) => {
    const call = new HttpCall(req, res)
    log?.debug('bytes are asked for', { requestId: call.requestId, method: req.method })
    serve(bytes, req, res, call).catch((reason: unknown) => {
      if (!call.hasEnded && isServerFault(reason))
        log?.error('a transfer failed', { requestId: call.requestId, method: req.method, reason })
      if (res.headersSent) return res.destroy()
      const { errorCode, httpStatus, rawMessage, errorClass, retryAfterSeconds } = toMlflowError(reason)
      const later = retryAfterSeconds === undefined ? {} : { 'Retry-After': retryAfterSeconds }
      res.writeHead(httpStatus, { 'Content-Type': 'application/json', ...later })
      res.end(JSON.stringify({ error_code: errorCode, message: rawMessage, error_class: errorClass }))
    })
  }
}

async function serve(bytes: ByteChannel, req: IncomingMessage, res: ServerResponse, { signal }: HttpCall): Promise<void> {
  const query = new URLSearchParams(req.url?.split('?')[1])
  const uri = query.get('uri')
  if (!uri) throw badRequest('Request must specify uri.')
  switch (req.method) {
    case 'GET':
      return send(bytes, uri, req.headers.range, res, signal)
    case 'PUT': {
      const { etag } = await bytes.write(uri, req, { ...writeOptions(req), part: partOf(query), signal })
      res.writeHead(200, { 'Content-Length': 0, ...(etag ? { ETag: etag } : {}) })
      res.end()
      return
    }
    default:
      throw badRequest(`Method ${req.method} is not served here.`)
  }
}

async function send(bytes: ByteChannel, uri: string, header: string | undefined, res: ServerResponse, signal: AbortSignal): Promise<void> {
  const range = header === undefined ? undefined : parseRange(header)
  const { body, length, size, start, etag, lastModified } = await bytes.read(uri, { range, signal })
  res.writeHead(range ? 206 : 200, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': length,
    ...(range ? { 'Content-Range': `bytes ${start}-${start + length - 1}/${size}` } : {}),
    ...(etag ? { ETag: etag } : {}),
    ...(lastModified ? { 'Last-Modified': lastModified.toUTCString() } : {}),
  })
  await sendBody(body, res)
}

function parseRange(header: string): ByteRange {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? []
  if (first) return { start: Number(first), end: last ? Number(last) : undefined }
  if (last) return { start: -Number(last) }
  throw badRequest('Malformed range header.')
}

function partOf(query: URLSearchParams): UploadPart | undefined {
  const uploadId = query.get('upload_id')
  return uploadId === null ? undefined : { uploadId, partNumber: Number(query.get('part_number')) }
}

function writeOptions({ headers }: IncomingMessage): WriteOptions {
  const length = headers['content-length']
  return { contentType: headers['content-type'], length: length === undefined ? undefined : Number(length) }
}
