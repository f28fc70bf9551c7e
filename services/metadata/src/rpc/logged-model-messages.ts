import type { LoggedModel, LoggedModelStatus } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import type { Metric } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import type { LoggedModelMetricRecord, LoggedModelRecord } from '../store/logged-models/logged-models.ts'

export function loggedModelMessage([info, params, tags, metrics]: LoggedModelRecord): LoggedModel {
  const [modelId, experimentId, name, artifactUri, created, updated, status, modelType, sourceRunId, statusMessage] = info
  return {
    $typeName: 'millrace.tracking.v1.LoggedModel',
    info: {
      $typeName: 'millrace.tracking.v1.LoggedModelInfo',
      modelId,
      experimentId: String(experimentId),
      name,
      creationTimestampMs: BigInt(created),
      lastUpdatedTimestampMs: BigInt(updated),
      artifactUri,
      status: status as LoggedModelStatus,
      modelType: modelType ?? undefined,
      sourceRunId: sourceRunId ?? undefined,
      statusMessage: statusMessage ?? undefined,
      tags: tags.map(([key, value]) => ({ $typeName: 'millrace.tracking.v1.LoggedModelTag', key, value: value ?? '' })),
      registrations: [],
    },
    data: {
      $typeName: 'millrace.tracking.v1.LoggedModelData',
      params: params.map(([key, value]) => ({ $typeName: 'millrace.tracking.v1.LoggedModelParameter', key, value: value ?? '' })),
      metrics: metrics.map(metric => metricMessage(modelId, metric)),
    },
  }
}

function metricMessage(modelId: string, [key, value, timestamp, step, runId, datasetName, datasetDigest]: LoggedModelMetricRecord): Metric {
  return {
    $typeName: 'millrace.tracking.v1.Metric',
    key,
    // SQLite has no NaN; an answer without a value is MLflow's, too.
    value: value === null ? undefined : Number(value),
    timestamp: BigInt(timestamp),
    step: BigInt(step),
    datasetName: datasetName ?? undefined,
    datasetDigest: datasetDigest ?? undefined,
    modelId,
    runId,
  }
}
