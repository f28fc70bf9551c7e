import type { Connection } from '../connection.ts'
import type { AzureIdentityConfig } from '../identity-config.ts'
import { tokenOf } from './answer.ts'
import { STORAGE_RESOURCE, type TokenProvider } from './token.ts'

/** Elsewhere than in Azure nobody answers at the metadata service's address. */
const PROBE_TIMEOUT_MS = 1_500

/** IDENTITY_ENDPOINT and IDENTITY_HEADER, as App Service, Functions and Container Apps set them. */
export function appService({ managedIdentity, clientId }: AzureIdentityConfig, connection: Connection): TokenProvider {
  return {
    name: 'managed identity',
    async fetch(signal) {
      if (!managedIdentity) return undefined
      const url = `${managedIdentity.endpoint}?${query('2019-08-01', clientId)}`
      return tokenOf(await connection.send({ method: 'GET', url, headers: { 'x-identity-header': managedIdentity.header }, signal }))
    },
  }
}

/** The instance metadata service of virtual machines, scale sets and AKS. */
export function instanceMetadata({ imdsHost, clientId }: AzureIdentityConfig, connection: Connection): TokenProvider {
  const endpoint = `${imdsHost}/metadata/identity/oauth2/token`
  return {
    name: 'managed identity of the machine',
    async fetch(signal) {
      if (!(await answersAt(endpoint))) return undefined
      const url = `${endpoint}?${query('2018-02-01', clientId)}`
      return tokenOf(await connection.send({ method: 'GET', url, headers: { metadata: 'true' }, signal }))
    },
  }

  /** Without the header that it asks for the service refuses at once, but shows that it is there. */
  async function answersAt(url: string): Promise<boolean> {
    try {
      const answer = await connection.send({ method: 'GET', url, headers: {}, signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })
      answer.resume()
      return true
    } catch {
      return false
    }
  }
}

function query(version: string, clientId: string | undefined): string {
  const parameters = new URLSearchParams({ 'api-version': version, resource: STORAGE_RESOURCE })
  if (clientId) parameters.set('client_id', clientId)
  return parameters.toString()
}
