import { type ClientRequest, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { PutObjectCommand, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import { isTaken, type StreamedBody, sendStreamed } from '../streamed-body.ts'
import type { S3Config } from './config.ts'
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
      const call = begin(args.request as SdkRequest, location.config, signal)
      const answer = await sendStreamed(call, body, location.config.timeoutMs)
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

function begin(request: SdkRequest, { caBundle, verifyTls }: S3Config, signal?: AbortSignal): ClientRequest {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(request.query ?? {})) query.append(name, String(value ?? ''))
  const options = {
    method: request.method,
    host: request.hostname.replace(/^\[|\]$/g, ''),
    port: request.port,
    path: query.size > 0 ? `${request.path}?${query}` : request.path,
    headers: request.headers,
    agent: false as const,
    signal,
  }
  if (request.protocol !== 'https:') return requestHttp(options)
  return requestHttps({ ...options, ca: caBundle, rejectUnauthorized: verifyTls })
}
