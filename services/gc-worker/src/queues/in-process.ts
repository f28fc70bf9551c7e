import type { Engine } from './engine.ts'
import type { Runner } from './runner.ts'

/** Runs jobs in this process, `concurrency` at a time, first come first served. */
export function createInProcessRunner(engine: Engine, concurrency: number): Runner {
  const queue = new Set<string>()
  let active = 0
  let closed = false
  const next = () => {
    while (active < concurrency && !closed) {
      const [jobId] = queue
      if (jobId === undefined) return
      queue.delete(jobId)
      active++
      void engine.run(jobId).finally(() => {
        active--
        next()
      })
    }
  }
  return {
    async ring(jobId) {
      if (closed) return false
      if (!engine.isRunning(jobId)) queue.add(jobId)
      next()
      return true
    },
    async ready() {
      if (closed) throw new Error('the job runner is closed')
    },
    async [Symbol.asyncDispose]() {
      closed = true
      queue.clear()
    },
  }
}
