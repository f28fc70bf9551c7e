import { readFile } from 'node:fs/promises'
import {
  AzureCliCredential,
  ClientAssertionCredential,
  ClientCertificateCredential,
  ClientSecretCredential,
  ManagedIdentityCredential,
  type TokenCredential,
} from '@azure/identity'
import type { HttpCaller } from '../http-call.ts'
import type { AzureCredentialKind, AzureIdentityConfig } from './identity-config.ts'
import { identityHttp } from './transport.ts'

const CLI_TIMEOUT_MS = 20_000

export interface NamedCredential {
  name: string
  /** Whether settings say that it is there; otherwise it may turn out to be none. */
  isCertain: boolean
  credential: TokenCredential
}

/** DefaultAzureCredential's order: a service principal from the environment, workload identity, managed identity, then the Azure CLI. */
export function credentialsOf(config: AzureIdentityConfig, caller: HttpCaller): NamedCredential[] {
  const { authorityHost, tenantId, clientId, clientSecret, certificate, federatedTokenFile, managedIdentity } = config
  const httpClient = identityHttp(caller)
  // The operator named the authority, so no other host is asked whether it is one.
  const options = { authorityHost, httpClient, disableInstanceDiscovery: true }
  const app = tenantId && clientId ? { tenantId, clientId } : undefined
  const byKind: Record<AzureCredentialKind, () => NamedCredential[]> = {
    EnvironmentCredential() {
      const name = 'service principal'
      if (app && clientSecret) {
        return [{ name, isCertain: true, credential: new ClientSecretCredential(app.tenantId, app.clientId, clientSecret, options) }]
      }
      if (!app || !certificate) return []
      return [{ name, isCertain: true, credential: new ClientCertificateCredential(app.tenantId, app.clientId, { certificate }, options) }]
    },
    WorkloadIdentityCredential() {
      if (!app || !federatedTokenFile) return []
      // WorkloadIdentityCredential reads the file once in five minutes only, and Kubernetes replaces it.
      const assertion = async () => (await readFile(federatedTokenFile, 'utf8')).trim()
      const credential = new ClientAssertionCredential(app.tenantId, app.clientId, assertion, options)
      return [{ name: 'workload identity', isCertain: true, credential }]
    },
    ManagedIdentityCredential() {
      // As DefaultAzureCredential has it: elsewhere than in Azure nobody answers at the metadata service's address.
      const probing = { ...(clientId ? { clientId } : {}), httpClient, retryOptions: { maxRetries: 0 }, sendProbeRequest: true }
      return [{ name: 'managed identity', isCertain: managedIdentity !== undefined, credential: new ManagedIdentityCredential(probing) }]
    },
    AzureCliCredential: () => [
      { name: 'signed-in Azure CLI', isCertain: false, credential: new AzureCliCredential({ processTimeoutInMs: CLI_TIMEOUT_MS }) },
    ],
  }
  return config.credentials.flatMap(kind => byKind[kind]())
}
