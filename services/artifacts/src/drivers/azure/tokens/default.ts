import { MlflowError } from '@millrace/kit/errors'
import type { Connection } from '../connection.ts'
import type { AzureCredentialKind, AzureIdentityConfig } from '../identity-config.ts'
import { azureCli } from './azure-cli.ts'
import { appService, instanceMetadata } from './managed-identity.ts'
import { servicePrincipal, workloadIdentity } from './service-principal.ts'
import type { AccessToken, TokenProvider, TokenSource } from './token.ts'

/** A token is renewed while it still has this long. */
const RENEWAL_MS = 5 * 60_000
const FETCH_TIMEOUT_MS = 30_000

/** DefaultAzureCredential's order: a service principal from the environment, workload identity, managed identity, then the Azure CLI. */
export function defaultTokenSource(config: AzureIdentityConfig, connection: Connection): TokenSource {
  const byKind: Record<AzureCredentialKind, () => TokenProvider[]> = {
    EnvironmentCredential: () => [servicePrincipal(config, connection)],
    WorkloadIdentityCredential: () => [workloadIdentity(config, connection)],
    ManagedIdentityCredential: () => [appService(config, connection), instanceMetadata(config, connection)],
    AzureCliCredential: () => [azureCli()],
  }
  return cachedTokens(config.credentials.flatMap(kind => byKind[kind]()))
}

/** Tokens of the first provider that has one. */
export function cachedTokens(providers: readonly TokenProvider[]): TokenSource {
  let current: AccessToken | undefined
  let fetching: Promise<AccessToken> | undefined
  const fetch = async () => {
    for (const { name, fetch: fetchOne } of providers) {
      const token = await fetchOne(AbortSignal.timeout(FETCH_TIMEOUT_MS)).catch(cause => {
        throw new MlflowError('UNAUTHENTICATED', `Azure gave the server no token by its ${name}`, { cause })
      })
      if (token) return token
    }
    throw new MlflowError(
      'UNAUTHENTICATED',
      `The server has no credentials for Azure: neither a connection string, an account key nor a ${providers.map(({ name }) => name).join(', ')}`,
    )
  }
  return {
    async token() {
      if (current && current.expiresTime - Date.now() > RENEWAL_MS) return current.token
      // Shared by everybody who asks meanwhile, so no single caller's signal ends it.
      fetching ??= fetch().finally(() => {
        fetching = undefined
      })
      try {
        current = await fetching
      } catch (error) {
        if (!current || current.expiresTime <= Date.now()) throw error
      }
      return current.token
    },
    forget(refused) {
      if (current?.token === refused) current = undefined
    },
  }
}
