import { describe, expect, test } from 'vitest'
import { accountOf } from '../src/drivers/azure/account.ts'
import { parseAzureUri } from '../src/drivers/azure/location.ts'
import { azureConfig } from './azure-server.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')
const WINDOWS = 'wasbs://c-1@acct.blob.core.windows.net/p'

const accountFor = (env: Record<string, string>, uri = WINDOWS) => {
  const { credential, ...account } = accountOf(parseAzureUri(uri), azureConfig(env))
  return { ...account, kind: credential.kind }
}

describe('locations in Azure', () => {
  test.each([
    [WINDOWS, { container: 'c-1', account: 'acct', host: 'acct.blob.core.windows.net', prefix: 'p' }],
    ['wasbs://c-1@acct.blob.core.chinacloudapi.cn', { host: 'acct.blob.core.chinacloudapi.cn', prefix: '' }],
    ['wasbs://c-1@acct.blob.core.usgovcloudapi.net//a/b%20c/', { host: 'acct.blob.core.usgovcloudapi.net', prefix: '/a/b%20c' }],
    ['wasbs://c-1@acct.blob.core.windows.net/a?b#c', { prefix: 'a' }],
    ['abfss://c-1@acct.dfs.core.windows.net/a%20b%2Fc/', { container: 'c-1', host: 'acct.blob.core.windows.net', prefix: 'a b/c' }],
    ['abfss://c-1@acct.dfs.core.chinacloudapi.cn/a%', { host: 'acct.blob.core.chinacloudapi.cn', prefix: 'a%' }],
    ['abfss://c-1@acct.z01.dfs.storage.azure.net/a', { account: 'acct', host: 'acct.z01.blob.storage.azure.net' }],
    ['wasbs://$root@acct.blob.core.windows.net/a', { container: '$root' }],
  ])('%s', (uri, expected) => {
    expect(parseAzureUri(uri)).toMatchObject(expected)
  })

  test.each([
    ['wasbs://c-1@acct.blob.core.example/a', 'WASBS URI must be of the form'],
    ['wasbs://c-1@acct.dfs.core.windows.net/a', 'WASBS URI must be of the form'],
    ['wasbs://acct.blob.core.windows.net/a', 'WASBS URI must be of the form'],
    ['wasbs://c-1@acct.blob.core.windows.net.evil.example/a', 'WASBS URI must be of the form'],
    ['abfss://c-1@acct.blob.core.windows.net/a', 'ABFSS URI must be of the form'],
    ['abfss://c-1@acct/a', 'ABFSS URI must be of the form'],
    ['wasbs://C_1@acct.blob.core.windows.net/a', 'is not the name of an Azure container'],
    ['wasbs://ab@acct.blob.core.windows.net/a', 'is not the name of an Azure container'],
  ])('%s is refused', (uri, message) => {
    expect(() => parseAzureUri(uri)).toThrow(message)
  })
})

describe('accounts in Azure', () => {
  test('the connection string wins, then the account key, then a SAS token, then tokens', () => {
    const AZURE_STORAGE_SAS_TOKEN = '?sv=x&sig=y'
    const keys = { AZURE_STORAGE_ACCESS_KEY: KEY, AZURE_STORAGE_SAS_TOKEN }
    const connection = (text: string) => ({ ...keys, AZURE_STORAGE_CONNECTION_STRING: text })
    expect(accountFor({})).toMatchObject({ name: 'acct', endpoint: 'https://acct.blob.core.windows.net', kind: 'token' })
    expect(accountFor({ AZURE_STORAGE_SAS_TOKEN })).toMatchObject({ kind: 'sas' })
    expect(accountFor(keys)).toMatchObject({ name: 'acct', kind: 'key' })
    expect(accountFor(connection(`AccountName=other;AccountKey=${KEY}`))).toEqual({
      name: 'other',
      endpoint: 'https://other.blob.core.windows.net',
      publicEndpoint: 'https://other.blob.core.windows.net',
      kind: 'key',
    })
    expect(accountFor(connection('AccountName=other;SharedAccessSignature=?sv=x&sig=y'))).toMatchObject({ name: 'other', kind: 'sas' })
    expect(accountFor({ AZURE_STORAGE_CONNECTION_STRING: 'BlobEndpoint=https://other.blob.private.example' })).toMatchObject({
      name: 'other',
      endpoint: 'https://other.blob.private.example',
      kind: 'token',
    })
  })

  test('endpoints: BlobEndpoint, else protocol and suffix, else the cloud of the location', () => {
    const endpointOf = (text: string, uri?: string) =>
      accountFor({ AZURE_STORAGE_CONNECTION_STRING: `AccountName=a;AccountKey=${KEY};${text}` }, uri).endpoint
    expect(endpointOf('BlobEndpoint=http://127.0.0.1:10000/a/')).toBe('http://127.0.0.1:10000/a')
    expect(endpointOf('DefaultEndpointsProtocol=https;EndpointSuffix=core.usgovcloudapi.net')).toBe('https://a.blob.core.usgovcloudapi.net')
    expect(endpointOf('DefaultEndpointsProtocol=http')).toBe('http://a.blob.core.windows.net')
    expect(endpointOf('', 'abfss://c-1@x.dfs.core.chinacloudapi.cn/p')).toBe('https://a.blob.core.chinacloudapi.cn')
  })

  test('defaults are MLflow’s', () => {
    expect(azureConfig({}).timeoutMs).toBe(600_000)
    expect(azureConfig({ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '-1' }).timeoutMs).toBe(86_400_000)
    expect(azureConfig({ MILLRACE_AZURE_PUBLIC_ENDPOINT: 'https://files.example/a/' }).publicEndpoint).toBe('https://files.example/a')
  })

  test.each([
    [{ AZURE_STORAGE_CONNECTION_STRING: 'AccountKey=c2VjcmV0' }, 'AZURE_STORAGE_CONNECTION_STRING'],
    [{ AZURE_STORAGE_CONNECTION_STRING: 'AccountName=a;AccountKey=not base 64 secret' }, 'AZURE_STORAGE_CONNECTION_STRING'],
    [{ AZURE_STORAGE_CONNECTION_STRING: 'c2VjcmV0' }, 'AZURE_STORAGE_CONNECTION_STRING'],
    [{ AZURE_STORAGE_CONNECTION_STRING: `AccountName=a;AccountKey=${KEY};BlobEndpoint=ftp://x` }, 'an http:// or https:// URL'],
    [{ AZURE_STORAGE_CONNECTION_STRING: 'AccountName=a;BlobEndpoint=http://x' }, 'must be https'],
    [{ AZURE_STORAGE_ACCESS_KEY: 'not base 64 secret' }, 'an account key in base64'],
    [{ MILLRACE_AZURE_PUBLIC_ENDPOINT: 'https://x/?sig=c2VjcmV0' }, 'MILLRACE_AZURE_PUBLIC_ENDPOINT'],
    [{ REQUESTS_CA_BUNDLE: '/nowhere.pem' }, 'REQUESTS_CA_BUNDLE'],
    [{ AZURE_CLIENT_CERTIFICATE_PATH: '/nowhere.pem' }, 'AZURE_CLIENT_CERTIFICATE_PATH'],
    [{ AZURE_AUTHORITY_HOST: 'ftp://x' }, 'AZURE_AUTHORITY_HOST'],
    [{ AZURE_AUTHORITY_HOST: 'http://x' }, 'an https:// URL'],
    [{ AZURE_TOKEN_CREDENTIALS: 'VisualStudio' }, 'prod, dev, EnvironmentCredential'],
    [{ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '0' }, 'MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'],
  ])('%j is refused with its name and without its secrets', (env, message) => {
    expect(() => azureConfig(env)).toThrow(message)
    expect(() => azureConfig(env)).not.toThrow(/c2VjcmV0|not base/)
  })
})
