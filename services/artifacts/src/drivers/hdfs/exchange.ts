import type { IncomingMessage } from 'node:http'
import { type HttpCall, HttpCaller, textOf } from '../http-call.ts'
import { RemoteFailure } from './errors.ts'

/** Of a response that is read whole: a page of 1,000 files with names of 255 characters, escaped, fits. */
const RESPONSE_BYTES_MAX = 16 * 1024 * 1024

/** HTTP with name nodes, data nodes and gateways. */
export class Wire extends HttpCaller {
  /** @throws what the response says, unless it is a success or one of the redirections that WebHDFS is made of. */
  override async send(call: HttpCall): Promise<IncomingMessage> {
    return this.check(await this.respond(call))
  }

  /** The response of whatever status. */
  respond(call: HttpCall): Promise<IncomingMessage> {
    const withinMs = this.timeoutMs
    return super.send(call.method === 'PUT' && !call.body ? { ...call, withinMs, body: Buffer.alloc(0) } : { ...call, withinMs })
  }

  textOf(response: IncomingMessage): Promise<string> {
    return textOf(response, RESPONSE_BYTES_MAX, this.timeoutMs)
  }

  async check(response: IncomingMessage): Promise<IncomingMessage> {
    const { statusCode = 0 } = response
    if ((statusCode >= 200 && statusCode < 300) || statusCode === 307) return response
    throw failureOf(statusCode, await this.textOf(response))
  }
}

/** Source of the form: WebHDFS REST API, "Error Responses". */
function failureOf(status: number, text: string): RemoteFailure {
  try {
    const { RemoteException: about } = JSON.parse(text) as { RemoteException?: { exception?: unknown; message?: unknown } }
    if (typeof about?.exception === 'string') return new RemoteFailure(status, about.exception, String(about.message ?? ''))
  } catch {
    // A gateway's page, or nothing.
  }
  return new RemoteFailure(status, '', `HTTP ${status}`)
}
