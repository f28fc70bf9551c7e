import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { DescField, DescMessage, DescMethodUnary } from '@bufbuild/protobuf'
import { getOption, ScalarType } from '@bufbuild/protobuf'
import { createContextValues, type Transport } from '@connectrpc/connect'
import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { ArtifactProxyService } from '@millrace/proto/millrace/artifacts/v1/proxy_pb'
import { body_bytes_max, flag } from '@millrace/proto/millrace/options/v1/rest_pb'
import { ServerInfoService } from '@millrace/proto/millrace/server/v1/server_info_pb'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { checkContentType, JSON_BODY_BYTES_MAX, type Parameters, parseBody, readBody, tooDeep } from './body.ts'
import type { BodyBudget, HeldBody } from './body-budget.ts'
import { rejectBothSpellings } from './codec/aliases.ts'
import { type Checks, checksOf, validate } from './codec/checks.ts'
import { type Decoder, decoderOf, type Reading } from './codec/decode.ts'
import { isTooDeep } from './codec/depth.ts'
import { type Encoder, encoderOf } from './codec/encode.ts'
import { int32, MISFIT, pythonIntOf } from './codec/scalars.ts'
import { httpRequest } from './http-request.ts'
import { parseQuery } from './query.ts'
import type { PathParams } from './router.ts'
import { safePath } from './safe-path.ts'
import { type LongAnswer, wholeHistory } from './whole-history.ts'

/** Node sends a string in one piece with its headers. */
const STRING_BYTES_MAX = 8 * 1024

/** An RPC as REST serves it: everything that can be worked out before a request comes. */
export interface Endpoint {
  readonly rpc: DescMethodUnary
  readonly transport: Transport
  readonly checks: Checks
  readonly decode: Decoder
  readonly encode: Encoder
  /** MLflow serves this RPC with a handler of its own, which reads the query string of any method and no half-read messages. */
  readonly strict: boolean
  /** MLflow reads integers of the query string with Python's `int()`, of any size. */
  readonly pythonIntegers: boolean
  /** No parameter is required. */
  readonly mayBeEmpty: boolean
  /** What answers it looks at the HTTP request. */
  readonly seesRequest: boolean
  readonly bodyBytesMax: number
  readonly budget: BodyBudget
}

/** What they answer depends on where clients reach the server. */
const SEE_REQUESTS: readonly DescMethodUnary[] = [ArtifactProxyService.method.createMultipartUpload, ServerInfoService.method.getServerInfo]

/** MLflow writes this answer with Python's json module, so NaN is a bare token (reference/behaviours-tracking.md section 1). */
const PLAIN_JSON: DescMethodUnary = MetricService.method.getMetricHistoryBulk

const HISTORY: DescMethodUnary = MetricService.method.getMetricHistory

export function createEndpoint(rpc: DescMethodUnary, transport: Transport, budget: BodyBudget): Endpoint {
  const plain = rpc === PLAIN_JSON
  const checks = checksOf(rpc.input)
  return {
    rpc,
    transport,
    checks,
    decode: decoderOf(rpc.input),
    encode: once(encoderOf(rpc.output, { plain })),
    strict: plain,
    pythonIntegers: plain || rpc === MetricService.method.getMetricHistoryBulkInterval,
    mayBeEmpty: !checks.some(one => one.required),
    seesRequest: SEE_REQUESTS.includes(rpc),
    bodyBytesMax: getOption(rpc, body_bytes_max) || JSON_BODY_BYTES_MAX,
    budget,
  }
}

/** A service of this process may hand one answer to many callers: where its JSON is big it is written once. */
function once(encode: Encoder): Encoder {
  const written = new WeakMap<object, Buffer[]>()
  return message => {
    const known = written.get(message)
    if (known) return known
    const json = encode(message)
    if (lengthOf(json) > STRING_BYTES_MAX) written.set(message, json)
    return json
  }
}

/** Reads the request, calls the RPC and returns the answer's JSON in chunks, all of them or as they come. @throws anything; the caller turns it into an error body. */
export async function callEndpoint(
  endpoint: Endpoint,
  req: IncomingMessage,
  path: PathParams,
  query: string,
): Promise<Buffer[] | LongAnswer> {
  const { rpc, strict } = endpoint
  const fromQuery = strict || (req.method === 'GET' && query !== '' && /[^&]/.test(query))
  // An artifact's path is refused before the body is looked at, as by MLflow.
  if (path.artifact_path !== undefined) safePath(path.artifact_path)
  if (!fromQuery) checkContentType(req)
  using held = endpoint.budget.hold()
  const parameters = fromQuery ? queryParameters(endpoint, query) : await bodyParameters(endpoint, req, held)
  const message = readMessage(endpoint, parameters)
  for (const name in path) setPathParam(rpc.input, message, name, path[name] ?? '')
  const values = endpoint.seesRequest ? createContextValues().set(httpRequest, req) : undefined
  if (rpc === HISTORY && message.maxResults === undefined) return wholeHistory(endpoint.transport, message)
  const answer = await endpoint.transport.unary(rpc, undefined, undefined, undefined, message, values)
  return endpoint.encode(answer.message)
}

async function bodyParameters({ bodyBytesMax, mayBeEmpty }: Endpoint, req: IncomingMessage, held: HeldBody): Promise<Parameters> {
  const { bytes, longInteger } = await readBody(req, bodyBytesMax, held)
  return parseBody(bytes, mayBeEmpty, longInteger)
}

function readMessage({ rpc, decode, checks, strict }: Endpoint, parameters: Parameters): Record<string, unknown> {
  const reading: Reading = { failed: false, camelCase: false, unknown: false }
  const message = decode(parameters.json, reading)
  // What fits a field cannot nest deeply.
  if ((reading.failed || reading.unknown) && isTooDeep(parameters.json)) throw tooDeep()
  if (reading.failed || reading.camelCase) rejectBothSpellings(parameters.json, rpc.input)
  if (reading.failed && strict) throw invalidParameter(`The parameters of ${rpc.name} could not be read.`)
  validate(checks, parameters.json, reading.failed, parameters.exact)
  return message
}

/** Parameters of a query string by field name; text stays text, except booleans and where Python's `int()` reads it. */
function queryParameters({ rpc, pythonIntegers }: Endpoint, text: string): Parameters {
  const query = parseQuery(text)
  const json: Record<string, unknown> = {}
  for (const field of rpc.input.fields) {
    const values = query.get(field.name)
    if (values === undefined) continue
    const [first = ''] = values
    if (field.fieldKind === 'list') json[field.name] = values
    else if (isScalar(field, ScalarType.BOOL)) json[field.name] = getOption(field, flag) ? first.toLowerCase() === 'true' : booleanOf(first)
    else json[field.name] = pythonIntegers && isScalar(field, ScalarType.INT32) ? nearestInt32(first) : first
  }
  return { json, exact: () => json }
}

const isScalar = (field: DescField, type: ScalarType) => field.fieldKind === 'scalar' && field.scalar === type

const INT32_MAX = 2n ** 31n - 1n

/** The integer as the field can hold it; text that is none stays for the checks to name. @throws where only protobuf takes it for one. */
function nearestInt32(text: string): number | string {
  const found = pythonIntOf(text)
  if (found === undefined) {
    if (int32(text) !== MISFIT) throw invalidParameter(`'${shorten(text)}' is no integer.`)
    return text
  }
  return Number(found > INT32_MAX ? INT32_MAX : found < -INT32_MAX ? -INT32_MAX : found)
}

function booleanOf(text: string): boolean {
  const lower = text.toLowerCase()
  if (lower !== 'true' && lower !== 'false') throw invalidParameter(`Invalid boolean value: ${shorten(text)}, must be 'true' or 'false'.`)
  return lower === 'true'
}

function setPathParam(desc: DescMessage, message: Record<string, unknown>, name: string, value: string): void {
  const field = desc.fields.find(one => one.name === name)
  if (field) message[field.localName] = value
}

/** Writes the answer of a call. @param headers flat list. */
export function writeAnswer(res: ServerResponse, json: readonly Buffer[] | LongAnswer, headers: readonly string[]): void | Promise<void> {
  if (Symbol.asyncIterator in json) return writeParts(res, json, headers)

  const length = lengthOf(json)
  res.writeHead(200, ['Content-Type', 'application/json', 'Content-Length', String(length), ...headers])
  const [only] = json
  if (only && length <= STRING_BYTES_MAX) {
    res.end(only.toString('latin1'), 'latin1')
    return
  }
  for (const chunk of json) res.write(chunk)
  res.end()
}

/** At the pace of the client; who leaves needs no answer. */
async function writeParts(res: ServerResponse, answer: LongAnswer, headers: readonly string[]): Promise<void> {
  await using parts = answer
  if (res.destroyed) return
  res.writeHead(200, ['Content-Type', 'application/json', ...headers])
  try {
    await pipeline(parts, res)
  } catch (reason) {
    if ((reason as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw reason
  }
}

const lengthOf = (chunks: readonly Buffer[]) => chunks.reduce((sum, chunk) => sum + chunk.length, 0)
