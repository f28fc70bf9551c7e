import type { IncomingMessage } from 'node:http'
import { type DescMethodUnary, getOption } from '@bufbuild/protobuf'
import type { ContextValues, Transport } from '@connectrpc/connect'
import { invalidParameter } from '@millrace/kit/errors'
import * as options from '@millrace/proto/millrace/options/v1/rest_pb'
import { type Answer, encodeOnce } from './answer.ts'
import { checkContentType, JSON_BODY_BYTES_MAX, type Parameters, parseBody, readBody, tooDeep } from './body.ts'
import type { BodyBudget } from './body-budget.ts'
import { rejectBothSpellings } from './codec/aliases.ts'
import { type Checks, checksOf, validate } from './codec/checks.ts'
import { type Decoder, decoderOf, type Reading } from './codec/decode.ts'
import { isTooDeep } from './codec/depth.ts'
import { type Encoder, encoderOf } from './codec/encode.ts'
import { httpRequest } from './http-request.ts'
import { queryReaderOf } from './query-parameters.ts'
import type { PathParams } from './router.ts'
import { safePath } from './safe-path.ts'
import { type Streaming, streamingOf } from './streamed-answer.ts'

/** An RPC as REST serves it: everything that can be worked out before a request comes. */
export interface Endpoint {
  readonly rpc: DescMethodUnary
  readonly transport: Transport
  readonly checks: Checks
  readonly decode: Decoder
  readonly encode: Encoder
  readonly readQuery: (query: string) => Parameters
  readonly queryOnly: boolean
  readonly seesRequest: boolean
  readonly streaming: Streaming | undefined
  /** No parameter is required. */
  readonly mayBeEmpty: boolean
  /** Properties of the message by field name. */
  readonly properties: ReadonlyMap<string, string>
  /** Fields that are relative paths. */
  readonly relativePaths: readonly string[]
  readonly bodyBytesMax: number
  readonly budget: BodyBudget
}

export function createEndpoint(rpc: DescMethodUnary, transport: Transport, budget: BodyBudget): Endpoint {
  const { fields } = rpc.input
  const checks = checksOf(rpc.input)
  return {
    rpc,
    transport,
    checks,
    decode: decoderOf(rpc.input),
    encode: encodeOnce(encoderOf(rpc.output, { plain: getOption(rpc, options.python_json) })),
    readQuery: queryReaderOf(rpc.input, getOption(rpc, options.python_integers)),
    queryOnly: getOption(rpc, options.query_only),
    seesRequest: getOption(rpc, options.sees_request),
    streaming: streamingOf(rpc),
    mayBeEmpty: !checks.some(one => one.required),
    properties: new Map(fields.map(field => [field.name, field.localName])),
    relativePaths: fields.filter(field => getOption(field, options.relative_path)).map(field => field.name),
    bodyBytesMax: getOption(rpc, options.body_bytes_max) || JSON_BODY_BYTES_MAX,
    budget,
  }
}

/**
 * Reads the request, calls the RPC and returns the answer's JSON.
 * @param values of the RPC.
 * @throws anything; the caller turns it into an error body.
 */
export async function callEndpoint(
  endpoint: Endpoint,
  req: IncomingMessage,
  path: PathParams,
  query: string,
  values: ContextValues,
): Promise<Answer> {
  const { rpc, transport, streaming, relativePaths } = endpoint
  for (let i = 0; i < relativePaths.length; i++) safePath(path[relativePaths[i] as string] ?? '')
  const isInQuery = endpoint.queryOnly || (req.method === 'GET' && query !== '' && /[^&]/.test(query))
  if (!isInQuery) checkContentType(req)
  using held = endpoint.budget.hold()
  let parameters: Parameters
  if (isInQuery) parameters = endpoint.readQuery(query)
  else {
    const { bytes, longInteger } = await readBody(req, endpoint.bodyBytesMax, held)
    parameters = parseBody(bytes, endpoint.mayBeEmpty, longInteger)
  }
  const message = readMessage(endpoint, parameters)
  for (const name in path) {
    const property = endpoint.properties.get(name)
    if (property !== undefined) message[property] = path[name]
  }
  if (endpoint.seesRequest) values.set(httpRequest, req)
  if (streaming?.isAsked(message)) return streaming.answer(transport, message, values)
  const answer = await transport.unary(rpc, undefined, undefined, undefined, message, values)
  return endpoint.encode(answer.message)
}

function readMessage({ rpc, decode, checks, queryOnly }: Endpoint, parameters: Parameters): Record<string, unknown> {
  const reading: Reading = { failed: false, camelCase: false, unknown: false }
  const message = decode(parameters.json, reading)
  // What fits a field cannot nest deeply.
  if ((reading.failed || reading.unknown) && isTooDeep(parameters.json)) throw tooDeep()
  if (reading.failed || reading.camelCase) rejectBothSpellings(parameters.json, rpc.input)
  if (reading.failed && queryOnly) throw invalidParameter(`The parameters of ${rpc.name} could not be read.`)
  validate(checks, parameters.json, reading.failed, parameters.exact)
  return message
}
