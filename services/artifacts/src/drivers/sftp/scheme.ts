import type { Scheme } from '../../driver.ts'
import type { SftpConfig } from './config.ts'
import { unreachable } from './errors.ts'
import { type Endpoint, parseSftpUri } from './location.ts'
import type { SessionPool } from './pool.ts'

/** One pool of connections for each user on each host, for all roots there. The SSH client is loaded with the first of them. */
export function openSftpScheme(config: SftpConfig): Scheme {
  const pools = new Map<string, SessionPool>()
  let loading: Promise<Loaded> | undefined
  let closed = false
  return {
    async open(root, { isTrusted } = { isTrusted: false }) {
      const { endpoint, root: folder } = parseSftpUri(root)
      loading ??= load(config)
      const { SftpDriver, openPool } = await loading
      const name = JSON.stringify([isTrusted, endpoint.user, endpoint.passwords, endpoint.host, endpoint.port])
      const pool = () => {
        if (closed) throw unreachable()
        const found = pools.get(name) ?? openPool(endpoint, isTrusted, () => pools.delete(name))
        pools.set(name, found)
        return found
      }
      return new SftpDriver(pool, folder)
    },
    async [Symbol.asyncDispose]() {
      closed = true
      for (const pool of pools.values()) await pool[Symbol.asyncDispose]()
      pools.clear()
    },
  }
}

type Loaded = Awaited<ReturnType<typeof load>>

async function load(config: SftpConfig) {
  const [{ SftpDriver }, { connect }, { KeyRing }, { SessionPool }] = await Promise.all([
    import('./driver.ts'),
    import('./connect.ts'),
    import('./credentials.ts'),
    import('./pool.ts'),
  ])
  const keys = new KeyRing(config.passphrase)
  const withoutSecrets = { ...config, password: undefined, privateKeyFile: undefined }
  const openPool = (endpoint: Endpoint, isTrusted: boolean, onUnused: () => void) => {
    const settings = isTrusted ? config : withoutSecrets
    const open = () => connect(endpoint, settings, keys)
    return new SessionPool({ open, sessionsMax: config.connectionsMax, waitMs: config.timeoutMs, onUnused })
  }
  return { SftpDriver, openPool }
}
