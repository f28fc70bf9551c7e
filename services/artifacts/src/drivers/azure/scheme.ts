import type { Scheme } from '../../driver.ts'
import type { AzureConfig } from './config.ts'
import type { Connection } from './connection.ts'
import { parseAzureUri } from './location.ts'
import type { TokenSource } from './tokens.ts'

/** One set of connections, and one token, for all accounts. Its parts and Azure's packages are loaded with the first location. */
export function openAzureScheme(config: AzureConfig): Scheme {
  const { timeoutMs, caBundle: ca, identity } = config
  const closing = new AbortController()
  let opened: Connection | undefined
  let tokens: TokenSource | undefined
  return {
    async open(root) {
      const uri = parseAzureUri(root)
      const [{ AzureDriver }, { openLocation }, { accountOf }, { storageHttp }, { Connection }, { TokenSource }] = await Promise.all([
        import('./driver.ts'),
        import('./blobs.ts'),
        import('./account.ts'),
        import('./transport.ts'),
        import('./connection.ts'),
        import('./tokens.ts'),
      ])
      opened ??= new Connection(timeoutMs, ca)
      const account = accountOf(uri, config)
      if (account.credential.kind === 'token') tokens ??= new TokenSource({ identity, timeoutMs, ca })
      const httpClient = storageHttp(opened, account.credential.kind === 'token' ? tokens : undefined)
      return new AzureDriver(openLocation(account, uri, httpClient), timeoutMs, closing.signal)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      opened?.[Symbol.dispose]()
    },
  }
}
