import type { StoreDescriptor } from '../descriptor.ts'
import { checkFtpConfig, type FtpConfig, type RawFtpConfig, readFtpConfig } from './config.ts'
import { parseFtpUri } from './location.ts'
import { openFtpScheme } from './scheme.ts'

export const FTP: StoreDescriptor<RawFtpConfig, FtpConfig> = {
  schemes: {
    ftp: { form: 'ftp://user:password@host:port/path', check: parseFtpUri, hosts: { family: 'ftp', ports: [21] } },
  },
  capabilities: { parts: 'to the server', presigned: '' },
  read: readFtpConfig,
  check: checkFtpConfig,
  open: openFtpScheme,
}
