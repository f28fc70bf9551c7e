import type { Scheme } from '../../driver.ts'
import { HttpClient } from './client.ts'
import type { HttpConfig } from './config.ts'
import { HttpDriver } from './driver.ts'
import { parseHttpUri } from './location.ts'
import { Remote } from './remote.ts'

const REMOTES_MAX = 1_000

/** Other tracking servers. What a URI says of credentials goes before the configured ones, which only hosts that the operator named see. */
export function openHttpScheme(config: HttpConfig): Scheme {
  const client = new HttpClient(config)
  const remotes = new Map<string, Remote>()
  return {
    async open(root, { isTrusted } = { isTrusted: false }) {
      const location = parseHttpUri(root, config)
      location.authorization ??= isTrusted ? config.authorization : undefined
      const { protocol, hostname, port, prefix, authorization } = location
      const name = JSON.stringify([protocol, hostname, port, prefix, authorization])
      const remote = remotes.get(name) ?? new Remote(client, location)
      remotes.set(name, remote)
      const oldest = remotes.size > REMOTES_MAX ? remotes.keys().next().value : undefined
      if (oldest !== undefined) remotes.delete(oldest)
      await remote.known()
      return new HttpDriver(client, location, remote)
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]()
    },
  }
}
