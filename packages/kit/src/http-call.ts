import type { IncomingMessage, ServerResponse } from 'node:http'
import { type ContextValues, createContextValues } from '@connectrpc/connect'
import { ANONYMOUS, type CallContext, callKey, checkRequestId, newRequestId, type Principal, REQUEST_ID_HEADER } from './call-context.ts'
import { clientGone, hasLeft } from './client-gone.ts'

/** The context of a request over HTTP. What it is made of comes into being when somebody asks for it: most requests need none of it. */
export class HttpCall implements CallContext {
  readonly deadline = undefined
  readonly principal: Principal
  /** The request's own id, if it came with one that can be used. */
  readonly sentId: string | undefined
  readonly #res: ServerResponse
  #signal: AbortSignal | undefined
  #requestId: string | undefined
  #values: ContextValues | undefined

  constructor({ headers }: IncomingMessage, res: ServerResponse, principal = ANONYMOUS) {
    const sent = headers[REQUEST_ID_HEADER]
    this.sentId = sent === undefined ? undefined : checkRequestId(sent)
    this.principal = principal
    this.#res = res
  }

  get signal(): AbortSignal {
    this.#signal ??= clientGone(this.#res)
    return this.#signal
  }

  get hasEnded(): boolean {
    return this.#signal?.aborted ?? hasLeft(this.#res)
  }

  get requestId(): string {
    this.#requestId ??= this.sentId ?? newRequestId()
    return this.#requestId
  }

  /** For the RPCs that it makes. */
  get values(): ContextValues {
    this.#values ??= createContextValues().set(callKey, this)
    return this.#values
  }
}
