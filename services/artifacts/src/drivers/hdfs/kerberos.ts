import { createRequire } from 'node:module'
import { internalError } from '@millrace/kit/errors'
import type { KerberosConfig } from './config.ts'
import { NoTicket } from './errors.ts'
import type { Identity } from './identity.ts'

/** What is used of the npm package `kerberos`, which binds the system's GSSAPI. */
interface Gssapi {
  readonly GSS_MECH_OID_SPNEGO: number
  initializeClient(service: string, options: { principal?: string; mechOID: number }): Promise<{ step(challenge: string): Promise<string> }>
}

const COOKIE = 'hadoop.auth'

/** One negotiation at a time: the library finds its ticket cache in the environment of the process. */
let turn: Promise<unknown> = Promise.resolve()

/**
 * Kerberos over SPNEGO (RFC 4559), without delegation. An endpoint's cookie stands for the ticket until the endpoint refuses it, so a
 * ticket cache that is renewed is noticed.
 */
export class KerberosIdentity implements Identity {
  readonly query = {}
  readonly isRenewable = true
  readonly #config: KerberosConfig
  readonly #gssapi: Gssapi
  readonly #cookies = new Map<string, string>()

  constructor(config: KerberosConfig) {
    this.#config = config
    this.#gssapi = loadGssapi(config.module)
  }

  async headers(endpoint: URL, refused: boolean): Promise<Record<string, string>> {
    if (refused) this.#cookies.delete(endpoint.origin)
    const cookie = this.#cookies.get(endpoint.origin)
    if (cookie !== undefined) return { Cookie: `${COOKIE}=${cookie}` }
    const negotiation = turn.then(() => this.#negotiate(endpoint.hostname))
    turn = negotiation.catch(() => undefined)
    return { Authorization: `Negotiate ${await negotiation}` }
  }

  accept(endpoint: URL, setCookie: readonly string[] = []): void {
    const value = setCookie.findLast(line => line.startsWith(`${COOKIE}=`))?.match(/=("[^"]+"|[^";]+)/)?.[1]
    if (value) this.#cookies.set(endpoint.origin, value)
  }

  async #negotiate(host: string): Promise<string> {
    const { ticketCache, principal } = this.#config
    if (ticketCache !== undefined) process.env.KRB5CCNAME = ticketCache
    try {
      const client = await this.#gssapi.initializeClient(`HTTP@${host}`, { principal, mechOID: this.#gssapi.GSS_MECH_OID_SPNEGO })
      return await client.step('')
    } catch (error) {
      throw new NoTicket(error)
    }
  }
}

function loadGssapi(module: string): Gssapi {
  try {
    return createRequire(import.meta.url)(module) as Gssapi
  } catch (error) {
    throw internalError("Artifact stores with Kerberos need the npm package 'kerberos', which is not installed", { cause: error })
  }
}
