import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type AccessToken, STORAGE_RESOURCE, type TokenProvider } from './token.ts'

const run = promisify(execFile)

/** Of whoever is signed in with `az login`: development. */
export function azureCli(): TokenProvider {
  return {
    name: 'signed-in Azure CLI',
    async fetch(signal): Promise<AccessToken | undefined> {
      try {
        const { stdout } = await run('az', ['account', 'get-access-token', '--output', 'json', '--resource', STORAGE_RESOURCE], { signal })
        const { accessToken, expires_on: expiresOn } = JSON.parse(stdout) as { accessToken?: unknown; expires_on?: unknown }
        return typeof accessToken === 'string' ? { token: accessToken, expiresTime: Number(expiresOn) * 1000 || Date.now() } : undefined
      } catch {
        // Not installed, or nobody is signed in.
        return undefined
      }
    },
  }
}
