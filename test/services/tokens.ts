import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { listenOnLoopback } from './process.ts'

const LIFE_SECONDS = 3_600

/** Gives out bearer tokens as OAuth's token endpoints do, and knows which of them are good. */
export interface TokenService extends AsyncDisposable {
  readonly url: string
  /** Tokens that were given out. */
  given(): number
  /** From now on none of them is good. */
  endAll(): void
  /** @param authorization a request's header. */
  isGood(authorization: string | undefined): boolean
}

export async function startTokenService(make: () => string = () => randomBytes(16).toString('hex')): Promise<TokenService> {
  let given = 0
  const good = new Set<string>()
  const server = createServer((request, response) => {
    const token = make()
    given++
    good.add(`Bearer ${token}`)
    request.resume()
    const times = { expires_in: LIFE_SECONDS, expires_on: String(Math.floor(Date.now() / 1000) + LIFE_SECONDS) }
    const body = { access_token: token, token_type: 'Bearer', issued_token_type: 'access_token', ...times }
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(body))
  })
  const port = await listenOnLoopback(server)
  return {
    url: `http://127.0.0.1:${port}`,
    given: () => given,
    endAll: () => good.clear(),
    isGood: authorization => good.has(authorization ?? ''),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
