import type { Scheme } from '../../driver.ts'
import { HttpCaller } from '../http-call.ts'
import type { AzureConfig } from './config.ts'
import { parseAzureUri } from './location.ts'
import type { TokenSource } from './tokens.ts'

/** One set of connections, and one token, for all accounts. Its parts and Azure's packages are loaded with the first location. */
export function openAzureScheme(config: AzureConfig): Scheme {
  const { timeoutMs, caBundle, proxies, identity } = config
  const http = { timeoutMs, tls: { ca: caBundle }, proxies }
  const closing = new AbortController()
  const caller = new HttpCaller(http)
  let tokens: TokenSource | undefined
  return {
    async open(root) {
      const uri = parseAzureUri(root)
      const [{ AzureDriver }, { openLocation }, { accountOf }, { storageHttp }, { TokenSource }] = await Promise.all([
        import('./driver.ts'),
        import('./blobs.ts'),
        import('./account.ts'),
        import('./transport.ts'),
        import('./tokens.ts'),
      ])
      const account = accountOf(uri, config)
      if (account.credential.kind === 'token') tokens ??= new TokenSource({ identity, http })
      const httpClient = storageHttp(caller, account.credential.kind === 'token' ? tokens : undefined)
      return new AzureDriver(openLocation(account, uri, httpClient), timeoutMs, closing.signal)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      caller[Symbol.dispose]()
    },
  }
}
