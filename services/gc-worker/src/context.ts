import type { Logger } from '@millrace/kit/logger'
import type { Clients } from './dependencies.ts'
import type { Notifier } from './notifier.ts'
import type { ItemStore } from './store/items.ts'
import type { JobStore } from './store/jobs.ts'
import type { UploadStore } from './store/uploads.ts'

/** What the handlers work with. */
export interface Context {
  readonly jobs: JobStore
  readonly items: ItemStore
  readonly uploads: UploadStore
  readonly clients: Clients
  readonly notifier: Notifier
  readonly log: Logger
  /** Sees to it that a due job is started soon; never rejects. */
  ring(jobId: string): Promise<void>
}

/** How often somebody who waits looks into the control database: another process may run the job. */
export const POLL_MS = 500
