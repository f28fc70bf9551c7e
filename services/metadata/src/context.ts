import type { MetadataConfig } from './config.ts'
import { Datasets } from './store/datasets.ts'
import { Experiments } from './store/experiments/experiments.ts'
import { Inputs } from './store/inputs.ts'
import { LoggedModels } from './store/logged-models/logged-models.ts'
import { Maintenance } from './store/maintenance.ts'
import { MetricHistory } from './store/metrics/history.ts'
import { openStore } from './store/open.ts'
import { RunReader } from './store/runs/reader.ts'
import { Runs } from './store/runs/runs.ts'
import type { RunWrites } from './store/runs/writes.ts'
import { PortableRunWrites } from './store/runs/writes-portable.ts'
import { PlainReads } from './store/shapes/plain-reads.ts'

/** What every handler is given: the stores. */
export interface MetadataContext extends AsyncDisposable {
  readonly config: MetadataConfig
  readonly experiments: Experiments
  readonly runs: Runs
  readonly runReader: RunReader
  readonly runWrites: RunWrites
  readonly inputs: Inputs
  readonly metricHistory: MetricHistory
  readonly datasets: Datasets
  readonly loggedModels: LoggedModels
  readonly maintenance: Maintenance
  /** @throws MlflowError TEMPORARILY_UNAVAILABLE when the database is out of reach, or had no room for a write a moment ago. */
  ready(): Promise<void>
}

export interface Overrides {
  /** Reads and writes as on a database that has no way of its own. */
  readonly portable?: boolean
}

export async function openContext(config: MetadataConfig, { portable = false }: Overrides = {}): Promise<MetadataContext> {
  await using stack = new AsyncDisposableStack()
  const { db, ...own } = await openStore({ uri: config.backendStoreUri, poolSize: config.poolSize })
  stack.use(db)
  const { openReads = () => new PlainReads(db), openRunWrites = () => new PortableRunWrites(db) } = portable ? {} : own
  const reads = stack.use(openReads())
  const experiments = new Experiments(db, reads, config)
  await experiments.checkWorkspaces()
  await experiments.ensureDefault()
  const runWrites = stack.use(openRunWrites())
  const owned = stack.move()
  return {
    config,
    experiments,
    runs: new Runs(db),
    runReader: new RunReader(reads),
    runWrites,
    inputs: new Inputs(db),
    metricHistory: new MetricHistory(reads),
    datasets: new Datasets(reads),
    loggedModels: new LoggedModels(db, reads, experiments),
    maintenance: new Maintenance(db),
    ready: () => db.ready(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
