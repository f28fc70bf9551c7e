import type { IncomingMessage } from 'node:http'
import { badRequest, invalidParameter, type MlflowError, temporarilyUnavailable } from '@millrace/kit/errors'
import { parsePython, TooMuchJson } from '@millrace/kit/python-json'
import type { HeldBody } from './body-budget.ts'
import type { Json } from './codec/checks.ts'
import { isWide, textOf } from './codec/json-encoding.ts'
import { JSON_MEMBERS_MAX, JSON_VALUES_MAX, JsonScan, SCANNED_BYTES_MIN } from './json-scan.ts'

/** The largest JSON body of a method that doesn't say otherwise (option `body_bytes_max`): MLflow's longest texts fit several times over. */
export const JSON_BODY_BYTES_MAX = 4 * 1024 * 1024

const EMPTY = Buffer.alloc(0)
const JSON_TYPE = 'application/json'

/** @throws MlflowError when a POST or PUT doesn't say that its body is JSON. */
export function checkContentType(req: IncomingMessage): void {
  const type = req.headers['content-type']
  if (type === JSON_TYPE || (req.method !== 'POST' && req.method !== 'PUT')) return
  if (type === undefined) throw invalidParameter('Bad Request. Content-Type header is missing.')
  if (type.split(';')[0] !== JSON_TYPE) throw invalidParameter(`Bad Request. Content-Type must be one of ['${JSON_TYPE}'].`)
}

/** The body is larger than the limit: status 413. */
export class BodyTooLarge extends Error {
  readonly answer: MlflowError

  constructor(bytesMax: number) {
    super('body too large')
    this.answer = badRequest(`The request body is larger than ${bytesMax} bytes.`)
  }
}

/** A body. `longInteger` is set when it was scanned. */
interface Body {
  readonly bytes: Buffer
  readonly longInteger?: boolean
}

const NO_BODY: Body = { bytes: EMPTY }

/** Reads the whole body, whose size counts in `held` until that is disposed. @throws BodyTooLarge; MlflowError for a body that must not be parsed. */
export function readBody(req: IncomingMessage, bytesMax: number, held: HeldBody): Promise<Body> {
  const length = req.headers['content-length']
  if (length === undefined ? req.headers['transfer-encoding'] === undefined && req.httpVersionMajor === 1 : length === '0') {
    return Promise.resolve(NO_BODY)
  }
  return new Promise((resolve, reject) => {
    if (Number(length) > bytesMax) return reject(new BodyTooLarge(bytesMax))
    let chunks: Buffer[] = []
    let size = 0
    let scan: JsonScan | undefined
    const refuse = (reason: Error) => {
      req.removeAllListeners('data')
      chunks = []
      reject(reason)
    }
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > bytesMax) return refuse(new BodyTooLarge(bytesMax))
      if (!held.grow(size)) return refuse(bodiesBusy())
      chunks.push(chunk)
      if (size < SCANNED_BYTES_MIN) return
      if (scan === undefined && isWide(chunks[0] as Buffer)) return refuse(wideAndLong())
      const unseen = scan ? [chunk] : chunks
      scan ??= new JsonScan()
      for (const one of unseen) if (!scan.add(one)) return refuse(tooManyValues())
    })
    let ended = false
    req.on('end', () => {
      ended = true
      const [only = EMPTY] = chunks
      resolve({ bytes: chunks.length > 1 ? Buffer.concat(chunks, size) : only, longInteger: scan?.longInteger })
    })
    const cutOff = () => {
      if (!ended) refuse(badRequest('The request body ended early.'))
    }
    req.on('error', cutOff)
    req.on('close', cutOff)
  })
}

const tooManyValues = () =>
  invalidParameter(`The JSON of the request body holds more than ${JSON_VALUES_MAX} values or ${JSON_MEMBERS_MAX} members of objects.`)

const wideAndLong = () => invalidParameter(`A request body in UTF-16 or UTF-32 may have ${SCANNED_BYTES_MIN} bytes.`)

const bodiesBusy = () => temporarilyUnavailable('The server is busy with other request bodies', { retryAfterSeconds: 1 })

/** A request's parameters: as an object, and parsed again with Python's types for error messages. */
export interface Parameters {
  readonly json: Json
  exact(): Json
}

const NOTHING: Parameters = { json: Object.freeze({}), exact: () => NOTHING.json }

/** Integers that a double can't represent exactly. Digits after a decimal point don't count. */
const LONG_INTEGER = /(?:^|[^.\d])\d{16}/

/**
 * The JSON object of a body. As with MLflow, text that isn't JSON counts as {} and a JSON string is read a second time.
 * @param mayBeEmpty no parameter is required: MLflow then takes lists and texts for {}, too.
 * @throws MlflowError for other JSON that isn't an object.
 */
export function parseBody(bytes: Buffer, mayBeEmpty = false, longInteger?: boolean): Parameters {
  if (bytes.length === 0) return NOTHING
  let text = textOf(bytes)
  if (text === undefined) return NOTHING
  let json = parseText(text, longInteger)
  if (typeof json === 'string') {
    text = json
    json = parseInner(text)
    if (json === undefined) throw notAnObject()
  }
  if (json === undefined || json === null) return NOTHING
  if (mayBeEmpty && (typeof json === 'string' || Array.isArray(json))) return NOTHING
  if (typeof json !== 'object' || Array.isArray(json)) throw notAnObject()
  return { json: json as Json, exact: () => (parseExactly(text) ?? json) as Json }
}

/** Parses a JSON string of the body, whose content was not scanned. */
function parseInner(text: string): unknown {
  if (text.length < SCANNED_BYTES_MIN) return parseText(text)
  const scan = new JsonScan()
  if (!scan.add(Buffer.from(text))) throw tooManyValues()
  return parseText(text, scan.longInteger)
}

export const tooDeep = (cause?: unknown) => invalidParameter('The JSON of the request body is nested too deeply.', { cause })

const notAnObject = () => invalidParameter('The request body must be a JSON object.')

/** Undefined for text that isn't JSON to Python. */
function parseText(text: string, longInteger = LONG_INTEGER.test(text)): unknown {
  try {
    if (!longInteger) return JSON.parse(text)
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
    if (reason instanceof TooMuchJson) throw invalidParameter(`The JSON of the request body holds ${reason.message}.`, { cause: reason })
    if (reason instanceof RangeError) throw tooDeep(reason)
    return undefined
  }
}
