import type { Scheme } from '../../driver.ts'
import type { FtpConfig } from './config.ts'
import { parseFtpUri } from './location.ts'
import type { FtpPool } from './pool.ts'

const POOLS_MAX = 1_000

/** One pool of connections for every server and user. The library is loaded with the first of them. */
export function openFtpScheme(config: FtpConfig): Scheme {
  const pools = new Map<string, FtpPool>()
  return {
    async open(root, { isTrusted } = { isTrusted: false }) {
      const location = parseFtpUri(root)
      location.credentials ??= isTrusted ? config.credentials : undefined
      const [{ FtpDriver }, { FtpPool }] = await Promise.all([import('./driver.ts'), import('./pool.ts')])
      const name = JSON.stringify([location.hostname, location.port, location.credentials])
      if (pools.size > POOLS_MAX) for (const [other, pool] of pools) if (other !== name && pool.isUnused) pools.delete(other)
      const pool = pools.get(name) ?? new FtpPool(location, config)
      pools.set(name, pool)
      return new FtpDriver(pool, location)
    },
    async [Symbol.asyncDispose]() {
      for (const pool of pools.values()) pool[Symbol.dispose]()
    },
  }
}
