import { promisify } from 'node:util'
import { brotliDecompress, gunzip } from 'node:zlib'
import { type DescMethod, getOption } from '@bufbuild/protobuf'
import type { UniversalServerRequest } from '@connectrpc/connect/protocol'
import { createAsyncIterable } from '@connectrpc/connect/protocol'
import { invalidParameter, resourceExhausted, temporarilyUnavailable } from '@millrace/kit/errors'
import { type Examine, envelope, packingOf } from '@millrace/kit/rpc-server'
import { body_bytes_max } from '@millrace/proto/millrace/options/v1/rest_pb'
import { JSON_BODY_BYTES_MAX } from '@millrace/rest/body'
import type { BodyBudget, HeldBody } from '@millrace/rest/body-budget'
import { JSON_VALUES_MAX, JsonScan, SCANNED_BYTES_MIN } from '@millrace/rest/json-scan'
import { countFields, NoMessage } from './field-count.ts'

const ENVELOPE_BYTES = 5
const COMPRESSED = 1
const ENCODINGS = ['grpc-encoding', 'connect-content-encoding', 'content-encoding']
/** Consecutive digits: parsing an integer takes time that is quadratic in its length. */
const DIGITS_MAX = 10_000

type Decompress = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>

const DECOMPRESS: Readonly<Record<string, Decompress>> = { gzip: promisify(gunzip), br: promisify(brotliDecompress) }

/** Size limits of request messages, read from the descriptors once. */
class MessageLimits {
  readonly #bytes = new Map<DescMethod, number>()

  of(method: DescMethod): number {
    const known = this.#bytes.get(method)
    if (known !== undefined) return known
    const bytesMax = getOption(method, body_bytes_max) || JSON_BODY_BYTES_MAX
    this.#bytes.set(method, bytesMax)
    return bytesMax
  }
}

/**
 * Reads the one message of a request, decompresses it and checks its number of values against the limits of JSON over REST before the library
 * parses it. The message counts in the budget until it is handed to the library.
 */
export function examineMessage(budget: BodyBudget): Examine {
  const limits = new MessageLimits()
  return async (request, { method }) => {
    const bytesMax = limits.of(method)
    if (request.method === 'GET') return examineQuery(request, method, bytesMax)
    if (method.methodKind !== 'unary' && method.methodKind !== 'server_streaming') return request
    using held = budget.hold()
    const { isEnveloped } = packingOf(request)
    const body = await readAll(request, bytesMax + ENVELOPE_BYTES, held)
    const packed = isEnveloped ? unpack(body) : { message: body, isCompressed: true }
    const encoding = ENCODINGS.map(name => request.header.get(name)).find(one => one !== null && one !== 'identity')
    const decompress = encoding && packed.isCompressed && packed.message.length > 0 ? DECOMPRESS[encoding] : undefined
    const message = decompress ? await unzip(decompress, packed.message, bytesMax) : packed.message
    if (message.length > bytesMax) throw tooLarge(bytesMax)
    check(request, method, message)
    if (!decompress) return { ...request, body: createAsyncIterable([body]) }
    const header = new Headers(request.header)
    for (const name of [...ENCODINGS, 'content-length']) header.delete(name)
    return { ...request, header, body: createAsyncIterable([isEnveloped ? envelope(message) : message]) }
  }
}

/** A message in the URL is short, unless it is compressed. */
async function examineQuery(request: UniversalServerRequest, method: DescMethod, bytesMax: number): Promise<UniversalServerRequest> {
  const url = new URL(request.url)
  const query = url.searchParams
  const decompress = DECOMPRESS[query.get('compression') ?? '']
  if (!decompress) return request
  const packed = Buffer.from(query.get('message') ?? '', query.get('base64') === '1' ? 'base64url' : 'utf8')
  const message = packed.length === 0 ? packed : await unzip(decompress, packed, bytesMax)
  check(request, method, message, query.get('encoding') === 'json')
  query.delete('compression')
  query.set('base64', '1')
  query.set('message', Buffer.from(message).toString('base64url'))
  return { ...request, url: url.toString() }
}

async function readAll({ body }: UniversalServerRequest, bytesMax: number, held: HeldBody): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.length
    if (size > bytesMax) throw tooLarge(bytesMax - ENVELOPE_BYTES)
    if (!held.grow(size)) throw temporarilyUnavailable('The server is busy with other request bodies', { retryAfterSeconds: 1 })
    chunks.push(chunk)
  }
  const [only] = chunks
  return chunks.length === 1 && only ? only : Buffer.concat(chunks, size)
}

/** The message of an envelope. @throws unless the body is one whole envelope; what is too short for one is left to the library. */
function unpack(body: Uint8Array): { message: Uint8Array; isCompressed: boolean } {
  if (body.length < ENVELOPE_BYTES) return { message: body, isCompressed: false }
  const length = new DataView(body.buffer, body.byteOffset).getUint32(1)
  if (body.length !== ENVELOPE_BYTES + length) throw invalidParameter('The request is not one message.')
  return { message: body.subarray(ENVELOPE_BYTES), isCompressed: ((body[0] ?? 0) & COMPRESSED) !== 0 }
}

async function unzip(decompress: Decompress, bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  try {
    return await decompress(bytes, { maxOutputLength: bytesMax })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(bytesMax)
    throw invalidParameter('The request could not be decompressed.', { cause })
  }
}

function check(request: UniversalServerRequest, method: DescMethod, message: Uint8Array, isJson = packingOf(request).isJson): void {
  if (message.length < SCANNED_BYTES_MIN) return
  if (isJson) {
    if (!new JsonScan().add(message) || hasLongDigits(message)) throw tooMuch()
    return
  }
  try {
    if (countFields(method.input, message, JSON_VALUES_MAX) > JSON_VALUES_MAX) throw tooMuch()
  } catch (cause) {
    if (cause instanceof NoMessage) throw invalidParameter('The request is no message of this method.', { cause })
    throw cause
  }
}

function hasLongDigits(message: Uint8Array): boolean {
  let digits = 0
  for (const byte of message) {
    digits = byte >= 0x30 && byte <= 0x39 ? digits + 1 : 0
    if (digits > DIGITS_MAX) return true
  }
  return false
}

const tooLarge = (bytesMax: number) => resourceExhausted(`The message of the request is larger than ${bytesMax} bytes.`)

const tooMuch = () => invalidParameter('The message of the request holds too many values or digits.')
