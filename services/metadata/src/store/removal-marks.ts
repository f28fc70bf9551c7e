import { badRequest, type MlflowError } from '@millrace/kit/errors'

/**
 * Says in `runs.entry_point_name` that the removal of a deleted run has begun; see docs/decisions/removal-marks.md. No client can write
 * there, and a mark in the row itself is looked at again by whoever waited for the row's lock.
 */
export const RUN_MARK = 'millrace:being-removed'

/** The same for experiments, which have no column to spare: a tag by a name that no client can give one. */
export const EXPERIMENT_MARK_KEY = '#millrace.being-removed'

/** Holds for a row of `runs` that must not become active again. An active run with a mark was restored by MLflow. */
export const RUN_IS_BEING_REMOVED = `lifecycle_stage = 'deleted' AND coalesce(entry_point_name, '') = '${RUN_MARK}'`

/** `entry_point_name` without the mark; what versions of MLflow before 1.0 wrote there stays. */
export const RUN_WITHOUT_MARK = `nullif(entry_point_name, '${RUN_MARK}')`

export const beingRemoved = (what: 'Run' | 'Experiment', id: string): MlflowError =>
  badRequest(`${what} ${id} is being permanently deleted and cannot be restored`)
