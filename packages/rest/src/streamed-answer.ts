import { type DescField, type DescMethod, type DescMethodServerStreaming, type DescMethodUnary, getOption } from '@bufbuild/protobuf'
import type { ContextValues, Transport } from '@connectrpc/connect'
import { old_name, streamed_by } from '@millrace/proto/millrace/options/v1/rest_pb'
import { type Encoder, encoderOf } from './codec/encode.ts'

/** JSON that is made while it is written. Disposing gives back what wasn't. */
export interface StreamedAnswer extends AsyncIterable<Buffer>, AsyncDisposable {}

/** How an RPC is answered by a streaming one (option `streamed_by`). */
export interface Streaming {
  /** Whether a request is, or the unary RPC itself is called. */
  isAsked(message: Message): boolean
  /** The whole JSON if it is short, else in parts as they come. */
  answer(transport: Transport, message: Message, values: ContextValues): Promise<Buffer[] | StreamedAnswer>
}

type Message = Readonly<Record<string, unknown>>
type Parts = AsyncIterator<object>
type Slices = { readonly items: Buffer; readonly isLast: boolean }

/** An answer up to this size is sent at once, with its length. */
const WHOLE_BYTES_MAX = 2 * 1024 * 1024
/** Of what is written at once of a longer one. */
const CHUNK_BYTES_MIN = 128 * 1024

const CLOSE = Buffer.from(']}')
const COMMA = Buffer.from(',')

/** Undefined for an RPC without the option. @throws when the option names what isn't there. */
export function streamingOf(rpc: DescMethodUnary): Streaming | undefined {
  const option = getOption(rpc, streamed_by)
  if (option.method === '') return undefined
  const method = rpc.parent.methods.find(one => one.name === option.method)
  const limit = rpc.input.fields.find(one => one.name === option.unless)
  if (!isServerStreaming(method) || !limit) throw new Error(`unknown method or field in streamed_by of ${rpc.name}`)
  const request = requestOf(rpc, method)
  const list = joinerOf(method)
  return {
    isAsked: message => message[limit.localName] === undefined,
    async answer(transport, message, values) {
      const answer = await transport.stream(method, undefined, undefined, undefined, only(request(message)), values)
      return list(answer.message[Symbol.asyncIterator]())
    },
  }
}

const isServerStreaming = (method: DescMethod | undefined): method is DescMethodServerStreaming => method?.methodKind === 'server_streaming'

/** The fields that both requests have. */
function requestOf(rpc: DescMethodUnary, method: DescMethodServerStreaming): (message: Message) => Message {
  const named = (name: string) => rpc.input.fields.find(one => one.name === name)
  const pairs = method.input.fields.flatMap((to): [string, DescField, DescField | undefined][] => {
    const from = named(to.name)
    return from ? [[to.localName, from, named(getOption(from, old_name))]] : []
  })
  return message => {
    const request: Record<string, unknown> = {}
    for (const [to, from, old] of pairs) request[to] = message[from.localName] || (old && message[old.localName]) || undefined
    return request
  }
}

/**
 * Joins the lists of many messages to the JSON of one. What is too long for one answer is written while it is read, so that a million items
 * are never objects and JSON at once.
 */
function joinerOf({ name, output }: DescMethodServerStreaming): (parts: Parts) => Promise<Buffer[] | StreamedAnswer> {
  const [list, ...others] = output.fields
  if (list?.fieldKind !== 'list' || others.length > 0) throw new Error(`the responses of ${name} are not one repeated field`)
  const open = Buffer.from(`{"${list.name}":[`)
  const encode = encoderOf(output)
  const next = (parts: Parts, bytesMin: number) => takeItems(parts, encode, open.length, bytesMin)
  return async parts => {
    const first = await next(parts, WHOLE_BYTES_MAX)
    if (first.isLast) return first.items.length === 0 ? [Buffer.from('{}')] : [Buffer.concat([open, first.items, CLOSE])]
    const chunks = joined(Buffer.concat([open, first.items]), () => next(parts, CHUNK_BYTES_MIN))
    return {
      [Symbol.asyncIterator]: () => chunks,
      async [Symbol.asyncDispose]() {
        await parts.return?.()
      },
    }
  }
}

async function* joined(first: Buffer, take: () => Promise<Slices>): AsyncGenerator<Buffer> {
  yield first
  for (let isLast = false; !isLast; ) {
    const next = await take()
    isLast = next.isLast
    if (next.items.length > 0) yield Buffer.concat([COMMA, next.items])
  }
  yield CLOSE
}

/** Items with commas between, until there are so many bytes of them or no more. */
async function takeItems(parts: Parts, encode: Encoder, openBytes: number, bytesMin: number): Promise<Slices> {
  const taken: Buffer[] = []
  let bytes = 0
  while (bytes < bytesMin) {
    const next = await parts.next()
    if (next.done) return { items: Buffer.concat(taken), isLast: true }
    if (taken.length > 0) taken.push(COMMA)
    const items = Buffer.concat(encode(next.value)).subarray(openBytes, -CLOSE.length)
    taken.push(items)
    bytes += items.length
  }
  return { items: Buffer.concat(taken), isLast: false }
}

async function* only<T>(value: T): AsyncGenerator<T> {
  yield value
}
