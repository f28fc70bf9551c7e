import { MlflowError, temporarilyUnavailable } from '@millrace/kit/errors'
import type { ControlClient, ControlDatabase } from '../../../../prisma/control/open.ts'
import type { ControlTarget } from '../../../../prisma/control/target.ts'

/** The control database, opened (and Prisma loaded) by the first use. A failed opening is tried again by the next use. */
export class Control implements ControlDatabase {
  readonly #target: ControlTarget
  #opening: Promise<ControlDatabase> | undefined
  #closed = false

  constructor(target: ControlTarget) {
    this.#target = target
  }

  get opened(): boolean {
    return this.#opening !== undefined
  }

  /** @throws MlflowError TEMPORARILY_UNAVAILABLE when the database can't be reached. */
  async use<T>(work: (client: ControlClient) => Promise<T>): Promise<T> {
    try {
      return await (await this.#open()).use(work)
    } catch (reason) {
      throw translate(reason)
    }
  }

  #open(): Promise<ControlDatabase> {
    if (this.#closed) throw temporarilyUnavailable('The control database is closed')
    this.#opening ??= import('../../../../prisma/control/open.ts')
      .then(module => module.openControl(this.#target))
      .catch(reason => {
        this.#opening = undefined
        throw inUse(reason) ?? temporarilyUnavailable('The control database cannot be opened', { cause: reason })
      })
    return this.#opening
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    const opening = this.#opening
    if (opening) await (await opening.catch(() => undefined))?.[Symbol.asyncDispose]()
  }
}

/** Prisma's codes for a database that is away or busy (Prisma error reference), and the drivers'. */
const AWAY = new Set([
  'P1001',
  'P1002',
  'P1008',
  'P1017',
  'P2024',
  'P2028',
  'P2034',
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'SQLITE_BUSY',
])

function translate(reason: unknown): unknown {
  if (reason instanceof MlflowError || !(reason instanceof Error)) return reason
  const busy = inUse(reason)
  if (busy) return busy
  const away = AWAY.has(String(Reflect.get(reason, 'code'))) || /connection terminated|closed the connection|timeout/i.test(reason.message)
  return away ? temporarilyUnavailable('The control database cannot be reached', { cause: reason }) : reason
}

function inUse(cause: unknown): MlflowError | undefined {
  const says = cause instanceof Error && cause.message.endsWith('in use by another process')
  return says ? temporarilyUnavailable(cause.message, { cause }) : undefined
}
