import type { Env, Flags } from '@millrace/kit/config'
import type { Logger } from '@millrace/kit/logger'

/** What a target is started with. */
export interface Setup {
  readonly env: Env
  readonly flags: Flags
  readonly log: Logger
}

/** A target at work. Disposing it stops accepting, finishes what was accepted and closes the stores. */
export interface Opened extends AsyncDisposable {
  readonly url: string
}
