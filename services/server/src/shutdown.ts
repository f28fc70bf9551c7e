/** Why a process is to stop: a signal, or an error that nobody handled. */
export type Stop = { readonly signal: NodeJS.Signals } | { readonly failure: unknown }

/**
 * Resolves with the first SIGTERM or SIGINT, or with the first error that nobody handled: what is accepted can still be finished then.
 * @param again called at each later signal: the operator doesn't want to wait.
 * @param later called with each later error that nobody handled.
 */
export function untilShutdown(again: (signal: NodeJS.Signals) => void, later: (failure: unknown) => void): Promise<Stop> {
  return new Promise(resolve => {
    let stopping = false
    const on = (signal: NodeJS.Signals) => {
      if (stopping) return again(signal)
      stopping = true
      resolve({ signal })
    }
    process.on('SIGTERM', on)
    process.on('SIGINT', on)
    // Also called for promises that were rejected with nobody to see it.
    process.on('uncaughtException', failure => {
      if (stopping) return later(failure)
      stopping = true
      resolve({ failure })
    })
  })
}
