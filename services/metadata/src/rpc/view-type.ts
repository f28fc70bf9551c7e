import { ViewType } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import type { LifecycleStage } from '../store/runs/search.ts'

/** The lifecycle stages that a view shows; active ones unless it says otherwise. */
export function stagesOf(view: ViewType | undefined): LifecycleStage[] {
  switch (view) {
    case ViewType.DELETED_ONLY:
      return ['deleted']
    case ViewType.ALL:
      return ['active', 'deleted']
    default:
      return ['active']
  }
}
