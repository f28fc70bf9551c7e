import type { StoreDescriptor } from '../descriptor.ts'
import { localPath, openLocalScheme } from './scheme.ts'

export const LOCAL: StoreDescriptor<undefined, undefined> = {
  schemes: {
    '': { form: 'a path', check: localPath },
    file: { form: 'file:///absolute/path or file:relative/path', check: localPath },
  },
  capabilities: { parts: 'to the server', presigned: '' },
  read: () => undefined,
  check: () => undefined,
  open: openLocalScheme,
}
