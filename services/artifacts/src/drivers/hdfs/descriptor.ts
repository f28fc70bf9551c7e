import type { StoreDescriptor } from '../descriptor.ts'
import { checkHdfsConfig, type HdfsConfig, type RawHdfsConfig, readHdfsConfig } from './config.ts'
import { parseHdfsUri } from './location.ts'
import { openHdfsScheme } from './scheme.ts'

export const HDFS: StoreDescriptor<RawHdfsConfig, HdfsConfig> = {
  schemes: {
    hdfs: { form: 'hdfs://host:port/path', check: parseHdfsUri, hosts: { family: 'hdfs', ports: [] } },
    viewfs: { form: 'viewfs://name/path', check: parseHdfsUri, hosts: { family: 'hdfs', ports: [] } },
    webhdfs: { form: 'webhdfs://host:port/path', check: parseHdfsUri, hosts: { family: 'webhdfs', ports: [9870] } },
    swebhdfs: { form: 'swebhdfs://host:port/path', check: parseHdfsUri, hosts: { family: 'swebhdfs', ports: [9871] } },
  },
  capabilities: { parts: 'to the server', presigned: '' },
  read: readHdfsConfig,
  check: checkHdfsConfig,
  open: openHdfsScheme,
}
