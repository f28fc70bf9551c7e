import type { StoreDescriptor } from '../descriptor.ts'
import { checkGcsConfig, type GcsConfig, type RawGcsConfig, readGcsConfig } from './config.ts'
import { parseGsUri } from './location.ts'
import { openGcsScheme } from './scheme.ts'

export const GCS: StoreDescriptor<RawGcsConfig, GcsConfig> = {
  schemes: { gs: { form: 'gs://bucket/path', check: parseGsUri } },
  capabilities: { parts: 'to the store', presigned: 'downloads, uploads' },
  profileEnv: { METADATA_SERVER_DETECTION: 'none' },
  read: readGcsConfig,
  check: checkGcsConfig,
  open: openGcsScheme,
}
