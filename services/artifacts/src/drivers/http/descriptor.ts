import type { StoreDescriptor } from '../descriptor.ts'
import { checkHttpConfig, type HttpConfig, type RawHttpConfig, readHttpConfig } from './config.ts'
import { parseHttpUri } from './location.ts'
import { openHttpScheme } from './scheme.ts'

const check = (root: string) => parseHttpUri(root)

export const HTTP: StoreDescriptor<RawHttpConfig, HttpConfig> = {
  schemes: {
    http: { form: 'http://host:port/api/2.0/mlflow-artifacts/artifacts/path', check, hosts: { family: 'http', ports: [80] } },
    https: { form: 'https://host/api/2.0/mlflow-artifacts/artifacts/path', check, hosts: { family: 'http', ports: [443] } },
    'mlflow-artifacts': {
      form: 'mlflow-artifacts://host:port/path',
      check,
      hosts: { family: 'http', ports: [80, 443], optional: true },
    },
  },
  capabilities: { parts: 'as it offers, else to the server', presigned: 'downloads, as it offers' },
  read: readHttpConfig,
  check: checkHttpConfig,
  open: openHttpScheme,
}
