/**
 * Resolves with the first SIGTERM or SIGINT.
 * @param again called at each later signal: the operator doesn't want to wait.
 */
export function untilShutdown(again: (signal: NodeJS.Signals) => void): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    let stopping = false
    const on = (signal: NodeJS.Signals) => {
      if (stopping) return again(signal)
      stopping = true
      resolve(signal)
    }
    process.on('SIGTERM', on)
    process.on('SIGINT', on)
  })
}
