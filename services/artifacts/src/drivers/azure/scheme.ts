import type { Scheme } from '../../driver.ts'
import type { AzureConfig } from './config.ts'
import type { Connection } from './connection.ts'
import { parseAzureUri } from './location.ts'
import type { TokenSource } from './tokens/token.ts'

/** One set of connections for all accounts. Its parts are loaded with the first location. */
export function openAzureScheme(config: AzureConfig): Scheme {
  const closing = new AbortController()
  let opened: Connection | undefined
  let tokens: TokenSource | undefined
  return {
    async open(root) {
      const uri = parseAzureUri(root)
      const [{ AzureDriver }, { BlobClient }, { accountOf }, { Connection }, { defaultTokenSource }] = await Promise.all([
        import('./driver.ts'),
        import('./client.ts'),
        import('./account.ts'),
        import('./connection.ts'),
        import('./tokens/default.ts'),
      ])
      opened ??= new Connection(config.timeoutMs, config.caBundle)
      const connection = opened
      const account = accountOf(uri, config, () => (tokens ??= defaultTokenSource(config.identity, connection)))
      const { container, prefix } = uri
      return new AzureDriver({ client: new BlobClient(account, connection), container, prefix }, closing.signal)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      opened?.[Symbol.dispose]()
    },
  }
}
