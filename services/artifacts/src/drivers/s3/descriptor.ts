import type { StoreDescriptor } from '../descriptor.ts'
import { checkS3Config, type RawS3Config, readS3Config, type S3Config } from './config.ts'
import { B2, parseB2Uri, parseR2Uri, R2 } from './hosting.ts'
import { parseS3Uri } from './location.ts'
import { openS3Scheme } from './scheme.ts'

export const S3: StoreDescriptor<RawS3Config, S3Config> = {
  schemes: {
    s3: { form: 's3://bucket/path', check: parseS3Uri },
    r2: { form: R2.form, check: parseR2Uri, hosts: { family: 'r2', ports: [443] } },
    b2: { form: B2.form, check: parseB2Uri, hosts: { family: 'b2', ports: [443] } },
  },
  capabilities: { parts: 'to the store', presigned: 'downloads, uploads' },
  profileEnv: { AWS_EC2_METADATA_DISABLED: 'true' },
  read: readS3Config,
  check: checkS3Config,
  open: openS3Scheme,
}
