import { generateKeyPairSync, sign } from 'node:crypto'
import { createServer } from 'node:http'
import { listenOnLoopback } from './process.ts'

/** Issues web identity tokens, and publishes the key that they are checked with. */
export interface Issuer extends AsyncDisposable {
  readonly url: string
  /** @param seconds of life left; negative: it ended before. */
  token(audience: string, seconds: number): string
}

export async function startIssuer(): Promise<Issuer> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'test', use: 'sig', alg: 'RS256' }] }
  const server = createServer((request, response) => {
    const about = request.url === '/jwks' ? jwks : { issuer: url, jwks_uri: `${url}/jwks` }
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(about))
  })
  const url = `http://127.0.0.1:${await listenOnLoopback(server)}`
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return {
    url,
    token(audience, seconds) {
      const now = Math.floor(Date.now() / 1000)
      const claims = { iss: url, aud: audience, sub: 'system:serviceaccount:ml:millrace', iat: now - 3600, exp: now + seconds }
      const text = `${part({ alg: 'RS256', typ: 'JWT', kid: 'test' })}.${part(claims)}`
      return `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
