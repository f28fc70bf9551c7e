import { gzipSync } from 'node:zlib'
import { create, type DescMessage, type DescMethod, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf'
import type { RestCall } from './contract.ts'
import type { Random } from './random.ts'
import type { Values } from './values.ts'

export interface Request {
  verb: string
  path: string
  body: Buffer | undefined
  headers: Record<string, string>
}

const DAMAGE: readonly ((body: Buffer, random: Random) => Buffer)[] = [
  body => body,
  body => body,
  body => body,
  (body, random) => body.subarray(0, random.below(body.length + 1)),
  (body, random) => {
    const copy = Buffer.from(body)
    for (let i = 0; i < 3 && copy.length > 0; i++) copy[random.below(copy.length)] = random.below(256)
    return copy
  },
  body => Buffer.concat([body, body]),
  (_body, random) =>
    Buffer.from(
      random.pick(['', 'null', '[]', '"{}"', '{"a":', '{"a":1}{"a":2}', '\xff\xfe', '[[[[', `${'['.repeat(3_000)}`, '{"a":NaN}', '1e999']),
    ),
]

/** A call of a method over REST. */
export function restRequest({ verb, pattern, method }: RestCall, values: Values, random: Random): Request {
  const path = pattern.replace(/\{(\w+)(=\*\*)?\}/g, (_, name: string) =>
    encodeURIComponent(values.text(name).toWellFormed()).slice(0, 3_000),
  )
  const json = values.message(method.input)
  if (verb === 'GET') {
    const query = Object.entries(json).flatMap(([name, value]) =>
      (Array.isArray(value) ? value.slice(0, 20) : [value]).map(
        one => `${name}=${encodeURIComponent(String(one).slice(0, 2_000).toWellFormed())}`,
      ),
    )
    return { verb, path: `${path}?${query.join('&')}`, body: undefined, headers: {} }
  }
  const body = random.pick(DAMAGE)(Buffer.from(JSON.stringify(json)), random)
  const type = random.chance(0.95)
    ? 'application/json'
    : random.pick(['text/plain', 'application/json; charset=utf-16', '', 'application/x-protobuf'])
  return { verb: random.chance(0.02) ? 'PATCH' : verb, path, body, headers: { 'content-type': type } }
}

const RAW = [
  ['GET', '/api/2.0/mlflow-artifacts/artifacts/'],
  ['PUT', '/api/2.0/mlflow-artifacts/artifacts/'],
  ['PUT', '/api/2.0/mlflow-artifacts/mpu/part/'],
  ['GET', '/get-artifact?run_id=RUN&path='],
  ['POST', '/ajax-api/2.0/mlflow/upload-artifact?run_uuid=RUN&path='],
  ['GET', '/ajax-api/2.0/mlflow/logged-models/MODEL/artifacts/files?artifact_file_path='],
] as const
const RANGES = ['', 'bytes=0-', 'bytes=-5', 'bytes=5-2', 'bytes=99999999999999999999-', 'bytes=0-0,1-1', 'items=1', 'bytes=x']

/** A call of a route that takes or gives bytes. */
export function rawRequest(values: Values, random: Random): Request {
  const [verb, start] = random.pick(RAW)
  const path = start.replace('RUN', encodeURIComponent(values.text('run_id').toWellFormed()).slice(0, 3_000)).replace('MODEL', 'm')
  const target = path + encodeURIComponent(values.text('path').toWellFormed()).slice(0, 6_000).replaceAll('%2F', '/')
  const body = verb === 'GET' ? undefined : Buffer.alloc(random.below(2_000))
  const range = random.pick(RANGES)
  return { verb, path: target, body, headers: (range === '' ? {} : { range }) as Record<string, string> }
}

/** A message of the type with odd values in it, as its binary form; empty where JSON of ours is no JSON of protobuf's. */
function binary(desc: DescMessage, values: Values): Buffer {
  try {
    return Buffer.from(
      toBinary(desc, fromJson(desc, JSON.parse(JSON.stringify(values.message(desc))) as JsonValue, { ignoreUnknownFields: true })),
    )
  } catch {
    return Buffer.from(toBinary(desc, create(desc)))
  }
}

/** A call of a method over Connect or gRPC-Web. */
export function rpcRequest(method: DescMethod, values: Values, random: Random): Request {
  const path = `/${method.parent.typeName}/${method.name}`
  const isJson = random.chance(0.5)
  const body = random.pick(DAMAGE)(
    isJson ? Buffer.from(JSON.stringify(values.message(method.input))) : binary(method.input, values),
    random,
  )
  const enveloped = method.methodKind !== 'unary'
  const kind = enveloped ? 'connect+' : ''
  const web = !enveloped && random.chance(0.2)
  const envelope = (bytes: Buffer) => {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(random.chance(0.9) ? bytes.length : random.below(2 ** 32), 1)
    head[0] = random.chance(0.9) ? 0 : random.below(256)
    return Buffer.concat([head, bytes])
  }
  const type = web ? `application/grpc-web+${isJson ? 'json' : 'proto'}` : `application/${kind}${isJson ? 'json' : 'proto'}`
  const bytes = enveloped || web ? envelope(body) : random.chance(0.1) ? gzipSync(body) : body
  const encoding = random.pick(['', '', '', '', 'gzip', 'br', 'nope'])
  const headers: Record<string, string> = { 'content-type': type }
  if (encoding !== '') headers[enveloped ? 'connect-content-encoding' : web ? 'grpc-encoding' : 'content-encoding'] = encoding
  if (random.chance(0.1)) headers['connect-timeout-ms'] = random.pick(['0', '-1', 'x', '99999999999', '5000'])
  return { verb: 'POST', path, body: bytes, headers }
}
