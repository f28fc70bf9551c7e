import type { IncomingMessage } from 'node:http'
import { badRequest, invalidParameter } from '@millrace/kit/errors'
import { parsePython } from '@millrace/kit/python-json'
import type { Json } from './codec/checks.ts'
import { textOf } from './codec/json-encoding.ts'

/** The largest JSON body that is read; a full log-batch is about 1 MiB. */
export const JSON_BODY_BYTES_MAX = 64 * 1024 * 1024

const EMPTY = Buffer.alloc(0)
const JSON_TYPE = 'application/json'

/** @throws MlflowError when a POST or PUT doesn't say that its body is JSON. */
export function checkContentType(req: IncomingMessage): void {
  const type = req.headers['content-type']
  if (type === JSON_TYPE || (req.method !== 'POST' && req.method !== 'PUT')) return
  if (type === undefined) throw invalidParameter('Bad Request. Content-Type header is missing.')
  if (type.split(';')[0] !== JSON_TYPE) throw invalidParameter(`Bad Request. Content-Type must be one of ['${JSON_TYPE}'].`)
}

/** A body over the limit; answered with status 413. */
export class BodyTooLarge extends Error {
  readonly answer = badRequest(`The request body is larger than ${JSON_BODY_BYTES_MAX} bytes.`)
}

/** Reads the whole body. @throws BodyTooLarge */
export function readBody(req: IncomingMessage): Promise<Buffer> {
  const length = req.headers['content-length']
  if (length === undefined ? req.headers['transfer-encoding'] === undefined && req.httpVersionMajor === 1 : length === '0') {
    return Promise.resolve(EMPTY)
  }
  return new Promise((resolve, reject) => {
    if (Number(length) > JSON_BODY_BYTES_MAX) return reject(new BodyTooLarge())
    let first: Buffer | undefined
    let chunks: Buffer[] | undefined
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > JSON_BODY_BYTES_MAX) {
        req.removeAllListeners('data')
        reject(new BodyTooLarge())
      } else if (first === undefined) first = chunk
      else if (chunks === undefined) chunks = [first, chunk]
      else chunks.push(chunk)
    })
    req.on('end', () => resolve(chunks ? Buffer.concat(chunks, size) : (first ?? EMPTY)))
    req.on('error', reject)
    req.on('aborted', () => reject(badRequest('The request body ended early.')))
  })
}

/** A request's parameters: as an object, and again with Python's types for the words of an error. */
export interface Parameters {
  readonly json: Json
  exact(): Json
}

const NOTHING: Parameters = { json: Object.freeze({}), exact: () => NOTHING.json }

/** Integers that a float can't hold exactly; digits after a point don't count. */
const LONG_INTEGER = /(?:^|[^.\d])\d{16}/

/**
 * The JSON object of a body. As with MLflow, text that isn't JSON counts as {} and a JSON string is read a second time.
 * @param mayBeEmpty no parameter is required: MLflow then takes lists and texts for {}, too.
 * @throws MlflowError for other JSON that isn't an object.
 */
export function parseBody(bytes: Buffer, mayBeEmpty = false): Parameters {
  if (bytes.length === 0) return NOTHING
  let text = textOf(bytes)
  if (text === undefined) return NOTHING
  let json = parseText(text)
  if (typeof json === 'string') {
    text = json
    json = parseText(text)
    if (json === undefined) throw notAnObject()
  }
  if (json === undefined || json === null) return NOTHING
  if (mayBeEmpty && (typeof json === 'string' || Array.isArray(json))) return NOTHING
  if (typeof json !== 'object' || Array.isArray(json)) throw notAnObject()
  return { json: json as Json, exact: () => (parseExactly(text) ?? json) as Json }
}

export const tooDeep = (cause?: unknown) => invalidParameter('The JSON of the request body is nested too deeply.', { cause })

const notAnObject = () => invalidParameter('The request body must be a JSON object.')

/** Undefined for text that isn't JSON to Python. */
function parseText(text: string): unknown {
  try {
    if (!LONG_INTEGER.test(text)) return JSON.parse(text)
  } catch {
    // Python also takes NaN, Infinity and -Infinity.
  }
  return parseExactly(text)
}

/** Undefined for text that isn't JSON to Python. @throws MlflowError where Python gives up. */
function parseExactly(text: string): unknown {
  try {
    return parsePython(text)
  } catch (reason) {
    if (reason instanceof RangeError) throw tooDeep(reason)
    return undefined
  }
}
