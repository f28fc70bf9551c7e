import { setTimeout as sleep } from 'node:timers/promises'

/** A lock of a SQLite database, among all that use the same lock file in this process and in others. */
export interface FileLock extends Disposable {
  /**
   * Runs `work` while it holds the lock; `work` must not ask for it again. A process that dies releases it.
   * @throws what isBusy knows when others keep the lock for LOCK_WAIT_MS_MAX.
   */
  hold<T>(work: () => Promise<T>): Promise<T>
}

const LOCK_WAIT_MS_MAX = 5_000
const LOOK_EVERY_MS = 5

/** @param path of the lock file: an empty SQLite database, whose locks the operating system takes back from the dead. */
export async function openFileLock(path: string): Promise<FileLock> {
  const { default: Database } = await import('better-sqlite3')
  const lock = new Database(path, { timeout: 0 })
  let last: Promise<unknown> = Promise.resolve()
  // Those that wait here for each other don't wait for another process.
  let heldTime = 0
  const acquire = async (askedTime: number) => {
    for (;;) {
      try {
        lock.exec('BEGIN EXCLUSIVE')
        return
      } catch (reason) {
        if (!isBusy(reason) || Date.now() > Math.max(askedTime, heldTime) + LOCK_WAIT_MS_MAX) throw reason
      }
      await sleep(LOOK_EVERY_MS)
    }
  }
  return {
    hold(work) {
      const askedTime = Date.now()
      const done = last.then(async () => {
        await acquire(askedTime)
        try {
          return await work()
        } finally {
          lock.exec('ROLLBACK')
          heldTime = Date.now()
        }
      })
      last = done.catch(() => undefined)
      return done
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
