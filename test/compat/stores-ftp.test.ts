import { beforeAll, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { startTlsFtp, startVsftpd } from '../services/ftp.ts'
import { mlflowVenv } from '../services/install.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 480_000

beforeAll(async () => {
  await mlflowVenv()
})

await describeWithServer('vsftpd', startVsftpd, ({ url }) => {
  test('the Python client with FTP behind the server', { timeout: SESSION_TIMEOUT_MS }, () =>
    storeSession('ftp', { destination: `${url}/artifacts` }),
  )
})

await describeWithServer('pyftpdlib with TLS', startTlsFtp, ({ url, caFile = '' }) => {
  test('the Python client with FTP over TLS behind the server', { timeout: SESSION_TIMEOUT_MS }, () =>
    storeSession('ftps', { destination: `${url}/artifacts`, env: { MILLRACE_FTP_TLS: 'true', MILLRACE_FTP_CA_FILE: caFile } }),
  )
})
