import { type Route, route } from '@millrace/kit/rpc'
import { DatasetService } from '@millrace/proto/millrace/tracking/v1/datasets_pb'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { MaintenanceService } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import type { MetadataContext } from './context.ts'
import { datasets } from './rpc/datasets.ts'
import { experimentSearch } from './rpc/experiment-search.ts'
import { experiments } from './rpc/experiments.ts'
import { loggedModels } from './rpc/logged-models.ts'
import { maintenance } from './rpc/maintenance.ts'
import { metricHistory } from './rpc/metric-history.ts'
import { metricWrites } from './rpc/metrics.ts'
import { runReads } from './rpc/run-reads.ts'
import { runs } from './rpc/runs.ts'

export const routes = (ctx: MetadataContext): Route[] => [
  route(ExperimentService, { ...experiments(ctx), ...experimentSearch(ctx) }),
  route(RunService, { ...runs(ctx), ...runReads(ctx) }),
  route(MetricService, { ...metricWrites(ctx), ...metricHistory(ctx) }),
  route(DatasetService, datasets(ctx)),
  route(LoggedModelService, loggedModels(ctx)),
  route(MaintenanceService, maintenance(ctx)),
]
