import type { StoreDescriptor } from '../descriptor.ts'
import { checkSftpConfig, type RawSftpConfig, readSftpConfig, type SftpConfig } from './config.ts'
import { parseSftpUri } from './location.ts'
import { openSftpScheme } from './scheme.ts'

export const SFTP: StoreDescriptor<RawSftpConfig, SftpConfig> = {
  schemes: {
    sftp: { form: 'sftp://user:password@host:port/path', check: parseSftpUri, hosts: { family: 'sftp', ports: [22] } },
  },
  capabilities: { parts: 'to the server', presigned: '' },
  read: readSftpConfig,
  check: checkSftpConfig,
  open: openSftpScheme,
}
