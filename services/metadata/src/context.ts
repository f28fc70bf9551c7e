import type { MetadataConfig } from './config.ts'
import { type AnyDatabase, openDatabase } from './store/db.ts'
import { Experiments } from './store/experiments/experiments.ts'
import { openReads, type Reads } from './store/reads.ts'
import { openRunWrites } from './store/runs/open-writes.ts'
import { Runs } from './store/runs/runs.ts'
import type { RunWrites } from './store/runs/writes.ts'

/** What every handler is given. */
export interface MetadataContext extends AsyncDisposable {
  readonly config: MetadataConfig
  readonly db: AnyDatabase
  readonly reads: Reads
  readonly experiments: Experiments
  readonly runs: Runs
  readonly writes: RunWrites
}

export async function openContext(config: MetadataConfig): Promise<MetadataContext> {
  await using stack = new AsyncDisposableStack()
  const db = stack.use(await openDatabase({ uri: config.backendStoreUri, poolSize: config.poolSize }))
  const reads = stack.use(openReads(db))
  const experiments = new Experiments(db, config)
  await experiments.checkWorkspaces()
  await experiments.ensureDefault()
  const writes = stack.use(openRunWrites(db))
  const owned = stack.move()
  return { config, db, reads, experiments, runs: new Runs(db), writes, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
