import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer as createSecureServer, request as requestSecurely } from 'node:https'
import { pipeline } from 'node:stream'
import { listenOnLoopback } from './process.ts'
import type { Certificates } from './tls.ts'

/** What is answered in the place of the server. */
export interface Canned {
  status: number
  headers?: Record<string, string>
  body?: string
}

export interface CannedRule {
  answer: Canned
  /** A method whose requests pass. */
  except?: string
  /** So many requests are answered; the others pass. No bound when absent. */
  times?: number
}

export interface AnsweringProxy extends AsyncDisposable {
  readonly port: number
  /** Answers requests as the rule says from now on; passes all of them on without one. */
  set(rule?: CannedRule): void
  /** The next request that `is` finds doesn't reach the server, or its answer doesn't come back. Resolves when that has happened. */
  lose(what: 'request' | 'answer', is: (message: IncomingMessage) => boolean): Promise<void>
}

interface Target {
  host?: string
  port: number
  /** Of both sides, which speak TLS then. */
  certificates?: Certificates
}

/**
 * An HTTP proxy on loopback that can answer by itself, as a store does that is busy or refuses a token. Requests that `refuse` has an
 * answer for never pass.
 */
export async function startAnsweringProxy(
  target: Target,
  refuse: (message: IncomingMessage) => Canned | undefined = () => undefined,
): Promise<AnsweringProxy> {
  let rule: CannedRule | undefined
  let left = 0
  let loss: { what: 'request' | 'answer'; is: (message: IncomingMessage) => boolean; happened: () => void } | undefined
  const canned = (message: IncomingMessage): Canned | undefined => {
    if (!rule || rule.except === message.method || left === 0) return undefined
    left--
    return rule.answer
  }
  const secrets = target.certificates && (await readAll(target.certificates))
  const options = { keepAliveTimeout: 0, requestTimeout: 0 }
  const serve = (message: IncomingMessage, response: ServerResponse) => {
    if (loss?.is(message)) {
      const { what, happened } = loss
      loss = undefined
      return what === 'request' ? happened() : pass(target, secrets?.ca, message, response, happened)
    }
    const answer = refuse(message) ?? canned(message)
    if (!answer) return pass(target, secrets?.ca, message, response)
    message.resume()
    response.writeHead(answer.status, answer.headers)
    response.end(answer.body)
  }
  const server = secrets ? createSecureServer({ ...options, ...secrets }, serve) : createServer(options, serve)
  const port = await listenOnLoopback(server)
  return {
    port,
    set(next) {
      rule = next
      left = next?.times ?? Number.POSITIVE_INFINITY
    },
    lose: (what, is) =>
      new Promise(happened => {
        loss = { what, is, happened }
      }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function readAll({ certFile, keyFile, caFile }: Certificates) {
  const [cert, key, ca] = await Promise.all([certFile, keyFile, caFile].map(file => readFile(file, 'utf8')))
  return { cert, key, ca }
}

/** One side's broken connection breaks the other's. With `lost` no answer is passed on, and it is called when one has come. */
function pass(
  { host = '127.0.0.1', port }: Target,
  ca: string | undefined,
  message: IncomingMessage,
  response: ServerResponse,
  lost?: () => void,
): void {
  const { expect: _, ...headers } = message.headers
  const options = { host, port, method: message.method, path: message.url, headers, agent: false as const }
  const sent = ca === undefined ? request(options) : requestSecurely({ ...options, ca })
  sent.once('response', answer => {
    if (lost) return answer.resume().once('end', lost)
    response.writeHead(answer.statusCode ?? 500, answer.rawHeaders)
    pipeline(answer, response, () => {})
  })
  sent.once('error', () => message.socket.destroy())
  response.once('close', () => {
    if (!response.writableFinished) sent.destroy()
  })
  pipeline(message, sent, () => {})
}
