import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  type GarbageCollectionItemSchema,
  type GarbageCollectionSchema,
  ItemKind,
  ItemState,
  JobState,
} from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import type { Counts, Item, ItemKind as StoredItemKind, ItemState as StoredItemState } from '../store/items.ts'
import type { Job, JobState as StoredJobState } from '../store/jobs.ts'

const JOB_STATES: Record<StoredJobState, JobState> = {
  SELECTING: JobState.PENDING,
  PENDING: JobState.PENDING,
  RUNNING: JobState.RUNNING,
  SUCCEEDED: JobState.SUCCEEDED,
  FAILED: JobState.FAILED,
}
const ITEM_KINDS: Record<StoredItemKind, ItemKind> = {
  RUN: ItemKind.RUN,
  LOGGED_MODEL: ItemKind.LOGGED_MODEL,
  EXPERIMENT: ItemKind.EXPERIMENT,
  JOB: ItemKind.JOB,
}
const ITEM_STATES: Record<StoredItemState, ItemState> = {
  PENDING: ItemState.PENDING,
  ARTIFACTS_REMOVED: ItemState.ARTIFACTS_REMOVED,
  DONE: ItemState.DONE,
  FAILED: ItemState.FAILED,
}

export function isEnded(job: Job): boolean {
  return job.state === 'SUCCEEDED' || job.state === 'FAILED'
}

export function jobMessage(job: Job, counts: Counts | undefined): MessageInitShape<typeof GarbageCollectionSchema> {
  return {
    jobId: job.id,
    state: JOB_STATES[job.state],
    dryRun: job.dryRun,
    totalItems: counts?.total ?? 0,
    doneItems: counts?.done ?? 0,
    failedItems: counts?.failed ?? 0,
    createdTime: job.createdTime,
    endedTime: job.endedTime ?? undefined,
  }
}

export function itemMessage(item: Item): MessageInitShape<typeof GarbageCollectionItemSchema> {
  return { kind: ITEM_KINDS[item.kind], id: item.subjectId, state: ITEM_STATES[item.state], error: item.error }
}
