import type { StoreDescriptor } from '../descriptor.ts'
import { type AzureConfig, checkAzureConfig, type RawAzureConfig, readAzureConfig } from './config.ts'
import { parseAzureUri } from './location.ts'
import { openAzureScheme } from './scheme.ts'

export const AZURE: StoreDescriptor<RawAzureConfig, AzureConfig> = {
  schemes: {
    wasbs: { form: 'wasbs://container@account.blob.core.windows.net/path', check: parseAzureUri },
    abfss: {
      form: 'abfss://filesystem@account.dfs.core.windows.net/path',
      check: parseAzureUri,
      hosts: { family: 'abfss', ports: [443] },
    },
  },
  capabilities: { parts: 'to the store', presigned: 'downloads, uploads' },
  profileEnv: { AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential' },
  read: readAzureConfig,
  check: checkAzureConfig,
  open: openAzureScheme,
}
