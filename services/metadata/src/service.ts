import { temporarilyUnavailable } from '@millrace/kit/errors'
import type { Route } from '@millrace/kit/rpc'
import type { MetadataConfig } from './config.ts'
import { type Overrides, openContext } from './context.ts'
import { routes } from './routes.ts'
import { READY_TIMEOUT_MS } from './store/db/readiness.ts'

export { checkMetadata, type MetadataConfig, readMetadata } from './config.ts'

/** The service in this process. Disposing it waits for the writes that were accepted and closes the database. */
export interface Metadata extends AsyncDisposable {
  readonly routes: Route[]
  /** @throws MlflowError TEMPORARILY_UNAVAILABLE when the database cannot be reached. */
  ready(): Promise<void>
}

/** @throws Error when the database cannot be opened or is of a revision that Millrace doesn't know. */
export async function openMetadata(config: MetadataConfig, overrides?: Overrides): Promise<Metadata> {
  const context = await openContext(config, overrides)
  return {
    routes: routes(context),
    ready: () => within(context.ready(), READY_TIMEOUT_MS),
    [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
  }
}

/** A free connection may take longer to come than anybody waits. */
async function within(work: Promise<void>, timeoutMs: number): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(temporarilyUnavailable('The tracking database does not answer')), timeoutMs)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
