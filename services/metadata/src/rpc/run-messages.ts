import type { Metric } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { type Param, type Run, type RunInfo, RunStatus, type RunTag } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import type {
  DatasetInputRecord,
  LoggedModelEdgeRecord,
  MetricColumns,
  RunInfoRecord,
  RunRecord,
  TextColumns,
} from '../store/runs/records.ts'

/** Messages are written as literals: a page of 1,000 runs has 26,000 of them, and create() costs three times as much. */

const STATUS: Record<string, RunStatus> = {
  RUNNING: RunStatus.RUNNING,
  SCHEDULED: RunStatus.SCHEDULED,
  FINISHED: RunStatus.FINISHED,
  FAILED: RunStatus.FAILED,
  KILLED: RunStatus.KILLED,
}

/** @param withModelInputs A search leaves the models that went into a run out, as MLflow's does. */
export function runMessage(record: RunRecord, withModelInputs: boolean): Run {
  const [info, metrics, params, tags, datasetInputs, loggedModelEdges] = record
  return {
    $typeName: 'millrace.tracking.v1.Run',
    info: infoMessage(info),
    data: {
      $typeName: 'millrace.tracking.v1.RunData',
      metrics: metricMessages(metrics),
      params: paramMessages(params),
      tags: tagMessages(tags),
    },
    inputs: {
      $typeName: 'millrace.tracking.v1.RunInputs',
      datasetInputs: datasetInputs.length > 0 ? datasetInputs.map(datasetInputMessage) : [],
      modelInputs: withModelInputs ? modelInputs(loggedModelEdges) : [],
    },
    outputs: { $typeName: 'millrace.tracking.v1.RunOutputs', modelOutputs: modelOutputs(loggedModelEdges) },
  }
}

function infoMessage([runId, name, userId, status, startTime, endTime, lifecycleStage, artifactUri, experimentId]: RunInfoRecord): RunInfo {
  return {
    $typeName: 'millrace.tracking.v1.RunInfo',
    runUuid: runId,
    experimentId: String(experimentId),
    runName: name ?? undefined,
    userId: userId ?? '',
    status: STATUS[status] ?? RunStatus.UNSPECIFIED,
    startTime: BigInt(startTime ?? 0),
    endTime: endTime ? BigInt(endTime) : undefined,
    artifactUri: artifactUri || undefined,
    lifecycleStage,
    runId,
  }
}

function metricMessages([keys, values, timestamps, steps]: MetricColumns): Metric[] {
  const count = keys?.length ?? 0
  const messages: Metric[] = new Array(count)
  for (let i = 0; i < count; i++) {
    messages[i] = {
      $typeName: 'millrace.tracking.v1.Metric',
      key: keys?.[i],
      value: values?.[i] ?? Number.NaN,
      timestamp: BigInt(timestamps?.[i] ?? 0),
      step: BigInt(steps?.[i] ?? 0),
    }
  }
  return messages
}

const paramMessages = ([keys, values]: TextColumns): Param[] =>
  (keys ?? []).map((key, i) => ({ $typeName: 'millrace.tracking.v1.Param', key, value: values?.[i] ?? '' }))

const tagMessages = ([keys, values]: TextColumns): RunTag[] =>
  (keys ?? []).map((key, i) => ({ $typeName: 'millrace.tracking.v1.RunTag', key, value: values?.[i] ?? '' }))

function datasetInputMessage([[, , name, digest, sourceType, source, schema, profile], tags]: DatasetInputRecord) {
  return {
    $typeName: 'millrace.tracking.v1.DatasetInput' as const,
    tags: tags.map(([key, value]) => ({ $typeName: 'millrace.tracking.v1.InputTag' as const, key, value: value ?? '' })),
    dataset: {
      $typeName: 'millrace.tracking.v1.Dataset' as const,
      name,
      digest,
      sourceType,
      source,
      schema: schema || undefined,
      profile: profile || undefined,
    },
  }
}

const modelInputs = (edges: readonly LoggedModelEdgeRecord[]) =>
  edges
    .filter(([, , , type]) => type === 'RUN_INPUT')
    .map(([, modelId]) => ({ $typeName: 'millrace.tracking.v1.ModelInput' as const, modelId }))

const modelOutputs = (edges: readonly LoggedModelEdgeRecord[]) =>
  edges
    .filter(([, , , type]) => type === 'RUN_OUTPUT')
    .map(([, modelId, step]) => ({ $typeName: 'millrace.tracking.v1.ModelOutput' as const, modelId, step: BigInt(step) }))
