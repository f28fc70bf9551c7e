import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describeWithServer } from '../../../test/services/backends.ts'
import { type FtpServer, startTlsFtp, startVsftpd } from '../../../test/services/ftp.ts'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { checkFtpConfig, readFtpConfig } from '../src/drivers/ftp/config.ts'
import { openFtpScheme } from '../src/drivers/ftp/scheme.ts'

type Env = Record<string, string>

const settingsFor = ({ caFile }: FtpServer): Env => ({
  MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '20',
  ...(caFile ? { MILLRACE_FTP_TLS: 'true', MILLRACE_FTP_CA_FILE: caFile } : {}),
})

function openStore(root: string, env: Env): { scheme: Scheme; driver: Promise<Driver> } {
  const scheme = openFtpScheme(checkFtpConfig(readFtpConfig(env)))
  return { scheme, driver: Promise.resolve(scheme.open(root, { isTrusted: true })) }
}

function harness(server: FtpServer, unfitKeys: string[]): Harness {
  const { url, folder, password } = server
  const schemes: Scheme[] = []
  const env = settingsFor(server)
  const open = (root: string, changes: Env = {}) => {
    const { scheme, driver } = openStore(root, { ...env, ...changes })
    schemes.push(scheme)
    return driver
  }
  const names = new WeakMap<Driver, string>()
  let count = 0
  return {
    capabilities: { multipart: true, presign: false },
    unfitKeys,
    async openEmpty() {
      const name = `tests/root ${count++}`
      const driver = await open(`${url}/${name}`)
      names.set(driver, name)
      return driver
    },
    failing: [
      {
        name: 'a wrong password',
        open: () => open(`${url.replace(encodeURIComponent(password), 'wrong-secret')}/x`),
        codes: ['UNAUTHENTICATED'],
      },
      { name: 'an unknown user', open: () => open(`${url.replace('artifacts', 'others')}/x`), codes: ['UNAUTHENTICATED'] },
      { name: 'a closed port', open: () => open('ftp://u:secret@127.0.0.1:1/x'), codes: ['TEMPORARILY_UNAVAILABLE'] },
    ],
    leftovers: driver => readdir(join(folder, names.get(driver) ?? ''), { recursive: true }).catch(() => []),
    async [Symbol.asyncDispose]() {
      for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
    },
  }
}

await describeWithServer('vsftpd', startVsftpd, server => {
  testArtifactDriver('ftp', async () => harness(server, []))
})

await describeWithServer('pyftpdlib with TLS', startTlsFtp, server => {
  testArtifactDriver('ftp', async () => harness(server, []))
})
