import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ByteChannel, ByteRange, ReadResult } from '@millrace/kit/bytes'
import { hasLeft, sendBody } from '@millrace/kit/client-gone'
import { toMlflowError } from '@millrace/kit/errors'
import type { HttpCall } from '@millrace/kit/http-call'
import { attachment, servedType } from './artifact-headers.ts'
import { RANGE_NOT_SATISFIABLE as RANGE_PAGE } from './pages.ts'
import { writeHtml, writeText } from './respond.ts'

/** Error class of the artifact service for a range beyond the end of the artifact. */
const RANGE_NOT_SATISFIABLE = 'RANGE_NOT_SATISFIABLE'

interface Download {
  readonly uri: string
  /** Of the file, as the client gets it. */
  readonly name: string
  readonly call: HttpCall
  /**
   * Answers as the part of MLflow does that serves HEAD and GET /get-artifact: whatever is not one range within the artifact is 416, a page.
   */
  readonly inPages?: boolean
}

/**
 * Streams an artifact as a download: whole, one range of it (206), or only "not modified" (304). Several ranges in one request
 * get the whole, as RFC 9110 section 14.2 allows. The store's transfer ends when the client goes away.
 */
export async function sendArtifact(
  req: IncomingMessage,
  res: ServerResponse,
  bytes: ByteChannel,
  { uri, name, call, inPages = req.method === 'HEAD' }: Download,
): Promise<void> {
  const asked = parseRange(req.headers.range)
  if (typeof asked === 'string' && !inPages) return writeText(res, 400, asked)
  const range = typeof asked === 'string' ? undefined : asked
  const opened = await open(bytes, uri, range, req.headers['if-range']?.toString(), call)
  if (opened.unsatisfied !== undefined) return refuseRange(res, opened.unsatisfied, inPages)
  const { found, isPart } = opened
  if (hasLeft(res)) return void found.body.destroy()
  if (inPages && req.headers.range !== undefined && !(isPart ? isWithin(range, found.size) : range)) {
    found.body.destroy()
    return refuseRange(res, found.size, inPages)
  }
  const { body, length, size, start, etag, lastModified } = found
  if (isUnchanged(req, found)) {
    body.destroy()
    res.writeHead(304, { 'Content-Disposition': attachment(name), ...(etag && { ETag: etag }) })
    res.end()
    return
  }
  res.setHeader('Content-Type', servedType(name))
  res.setHeader('Content-Length', length)
  res.setHeader('Content-Disposition', attachment(name))
  res.setHeader('X-Content-Type-Options', 'nosniff')
  res.setHeader('Accept-Ranges', 'bytes')
  if (etag) res.setHeader('ETag', etag)
  if (lastModified) res.setHeader('Last-Modified', lastModified.toUTCString())
  if (isPart) res.setHeader('Content-Range', `bytes ${start}-${start + length - 1}/${size}`)
  res.writeHead(isPart ? 206 : 200)
  if (req.method === 'HEAD') {
    body.destroy()
    res.end()
    return
  }
  await sendBody(body, res)
}

function refuseRange(res: ServerResponse, size: number, inPages: boolean): void {
  res.setHeader('Content-Range', `bytes */${size}`)
  if (inPages) writeHtml(res, 416, RANGE_PAGE)
  else writeText(res, 416, '')
}

/** Whether the artifact has as many bytes as a suffix range asks for. */
const isWithin = (range: ByteRange | undefined, size: number) => range !== undefined && -range.start <= size

type Opened = { found: ReadResult; isPart: boolean; unsatisfied?: undefined } | { unsatisfied: number }

/** The range, or the whole artifact when If-Range names another version; the artifact's size when the range is beyond its end. */
async function open(
  bytes: ByteChannel,
  uri: string,
  range: ByteRange | undefined,
  version: string | undefined,
  call: HttpCall,
): Promise<Opened> {
  const options = { signal: call.signal, call }
  try {
    const found = await bytes.read(uri, { ...options, range })
    if (!range) return { found, isPart: false }
    if (isOf(version, found)) return { found, isPart: true }
    found.body.destroy()
    return { found: await bytes.read(uri, options), isPart: false }
  } catch (reason) {
    const error = toMlflowError(reason)
    if (error.errorClass !== RANGE_NOT_SATISFIABLE) throw error
    const found = await bytes.read(uri, options)
    if (!isOf(version, found)) return { found, isPart: false }
    found.body.destroy()
    return { unsatisfied: found.size }
  }
}

/** Whether an If-Range header, if there is one, names this version (RFC 9110 section 13.1.5). */
function isOf(version: string | undefined, { etag, lastModified }: ReadResult): boolean {
  return version === undefined || version === etag || version === lastModified?.toUTCString()
}

function isUnchanged({ headers }: IncomingMessage, { etag, lastModified }: ReadResult): boolean {
  const known = headers['if-none-match']
  if (known !== undefined) {
    return known.trim() === '*' || (etag !== undefined && known.split(',').some(tag => tag.trim().replace(/^W\//, '') === etag))
  }
  const since = headers['if-modified-since']
  if (since === undefined || !lastModified) return false
  return Math.floor(lastModified.getTime() / 1000) * 1000 <= Date.parse(since)
}

/** The range; undefined for no or several ranges; the text of a 400 response as in MLflow's web framework. */
function parseRange(header: string | undefined): ByteRange | undefined | string {
  if (header === undefined) return undefined
  const [, unit, list] = /^([^=]*)=(.*)$/s.exec(header) ?? []
  if (unit === undefined || list === undefined) return 'Malformed range header.'
  if (unit.trim().toLowerCase() !== 'bytes') return 'Only support bytes range'
  const ranges = list.split(',').flatMap(part => /^(\d*)\s*-\s*(\d*)$/.exec(part.trim())?.slice(1, 3).join('-') ?? [])
  const valid = ranges.filter(part => part !== '-')
  const [only] = valid
  if (only === undefined) return 'Range header: range must be requested'
  if (valid.length > 1) return undefined
  const [first, last] = only.split('-')
  // The last 0 bytes are unsatisfiable (RFC 9110 section 14.1.2): a start beyond any end gives 416.
  if (!first) return { start: Number(last) === 0 ? Number.MAX_SAFE_INTEGER : -position(last) }
  if (last && Number(last) < Number(first)) return 'Range header: start must be less than end'
  return { start: position(first), end: last ? position(last) : undefined }
}

const position = (digits: string | undefined) => Math.min(Number(digits), Number.MAX_SAFE_INTEGER)

/** The last segment that is a name, without slashes and dots after it. */
export function fileName(path: string): string {
  let end = path.length
  while (end > 0 && (path[end - 1] === '/' || path.slice(Math.max(0, end - 2), end) === '/.')) end--
  return path.slice(path.lastIndexOf('/', end - 1) + 1, end)
}
