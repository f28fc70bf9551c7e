import { type AzureConfig, checkAzureConfig, readAzureConfig } from '../src/drivers/azure/config.ts'

export const azureConfig = (env: Record<string, string>): AzureConfig => checkAzureConfig(readAzureConfig(env))
