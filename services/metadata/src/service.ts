import type { Route } from '@millrace/kit/rpc'
import type { MetadataConfig } from './config.ts'
import { openContext } from './context.ts'
import { routes } from './routes.ts'

export { checkMetadata, type MetadataConfig, readMetadata } from './config.ts'

/** The service in this process. Disposing it waits for the writes that were accepted and closes the database. */
export interface Metadata extends AsyncDisposable {
  readonly routes: Route[]
  /** @throws MlflowError TEMPORARILY_UNAVAILABLE when the database cannot be reached. */
  ready(): Promise<void>
}

/** @throws Error when the database cannot be opened or is of a revision that Millrace doesn't know. */
export async function openMetadata(config: MetadataConfig): Promise<Metadata> {
  const context = await openContext(config)
  return {
    routes: routes(context),
    async ready() {
      await context.db.get({ sql: 'SELECT 1', parameters: [] })
    },
    [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
  }
}
