import { setTimeout as sleep } from 'node:timers/promises'

/** Turns at a SQLite database, among all that use the same lock file in this process and in others. */
export interface Turns extends Disposable {
  /**
   * Runs `work` while nobody else has the turn; `work` must not take another one. A process that dies gives its turn back.
   * @throws what isBusy knows when the turn doesn't come within TURN_WAIT_MS_MAX.
   */
  take<T>(work: () => Promise<T>): Promise<T>
}

const TURN_WAIT_MS_MAX = 5_000
const LOOK_EVERY_MS = 5

/** @param path of the lock file: an empty SQLite database, whose locks the operating system takes back from the dead. */
export async function openTurns(path: string): Promise<Turns> {
  const { default: Database } = await import('better-sqlite3')
  const lock = new Database(path, { timeout: 0 })
  let last: Promise<unknown> = Promise.resolve()
  const acquire = async (deadline: number) => {
    for (;;) {
      try {
        lock.exec('BEGIN EXCLUSIVE')
        return
      } catch (reason) {
        if (!isBusy(reason) || Date.now() > deadline) throw reason
      }
      await sleep(LOOK_EVERY_MS)
    }
  }
  return {
    take(work) {
      const deadline = Date.now() + TURN_WAIT_MS_MAX
      const turn = last.then(async () => {
        await acquire(deadline)
        try {
          return await work()
        } finally {
          lock.exec('ROLLBACK')
        }
      })
      last = turn.catch(() => undefined)
      return turn
    },
    [Symbol.dispose]: () => void lock.close(),
  }
}

export function isBusy(reason: unknown): boolean {
  return (
    reason instanceof Error &&
    /SQLITE_BUSY|database is locked|SocketTimeout|timed out/i.test(`${Reflect.get(reason, 'code')} ${reason.message}`)
  )
}
