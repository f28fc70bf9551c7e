import { PutObjectCommand, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import type { HttpCall } from '../http-call.ts'
import { isTaken, type StreamedBody } from '../streamed-body.ts'
import { BodyTaken } from './errors.ts'
import type { S3Location } from './location.ts'

/** What the SDK says of bytes. */
const DEFAULT_TYPE = 'application/octet-stream'

/** What of the SDK's request is looked at. */
interface SdkRequest {
  protocol: string
  hostname: string
  port?: number
  method: string
  path: string
  query?: Record<string, string | string[] | null>
  headers: Record<string, string>
}

/**
 * Puts a body as one object without holding it. The SDK makes, signs and repeats the call, with none of the body: it would read on for
 * a store that has refused, and takes a client's pause for the store's. Bytes that pass have no signature, so the call's says so.
 */
export async function passThrough(
  location: S3Location,
  about: PutObjectCommandInput,
  body: StreamedBody,
  signal?: AbortSignal,
): Promise<void> {
  const command = new PutObjectCommand({ ...about, ContentType: about.ContentType ?? DEFAULT_TYPE, ContentLength: body.length })
  command.middlewareStack.add(
    next => async args => {
      const { headers } = args.request as SdkRequest
      headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
      headers.expect = '100-continue'
      return next(args)
    },
    { name: 'leavePayloadUnsigned', step: 'build' },
  )
  command.middlewareStack.add(
    next => async args => {
      try {
        return await next(args)
      } catch (error) {
        throw isTaken(body) ? new BodyTaken(error) : error
      }
    },
    { name: 'takeBodyOnce', step: 'finalizeRequest', priority: 'low' },
  )
  command.middlewareStack.add(
    () => async args => {
      const answer = await location.caller.send(callOf(args.request as SdkRequest, body, signal))
      const headers = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]))
      return {
        response: { statusCode: answer.statusCode, reason: answer.statusMessage, headers, body: answer },
        output: undefined as never,
      }
    },
    { name: 'sendBody', step: 'deserialize', priority: 'low' },
  )
  await location.client.send(command, { abortSignal: signal })
}

function callOf(
  { method, protocol, hostname, port, path, query, headers }: SdkRequest,
  body: StreamedBody,
  signal?: AbortSignal,
): HttpCall {
  const written = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {})) written.append(name, String(value ?? ''))
  const url = `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}${written.size > 0 ? `?${written}` : ''}`
  return { method, url, headers, body, signal }
}
