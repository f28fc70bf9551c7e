import { checkGcsConfig, type GcsConfig, readGcsConfig } from '../src/drivers/gcs/config.ts'

export const gcsConfig = (env: Record<string, string>): GcsConfig => checkGcsConfig(readGcsConfig(env))
