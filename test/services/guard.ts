import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of process groups that are at work, one file each; absent outside of test runs. */
const VARIABLE = 'MILLRACE_TEST_GROUPS'

/**
 * Gives the run a temporary folder and a process that watches it: once the run is over, however it ended, what `guarded` named is ended
 * and the folder removed. Vitest itself runs no afterAll of blocks whose tests are all skipped, and no teardown after Ctrl-C.
 */
export async function openGuard(): Promise<AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  await chmod(folder, 0o755)
  const groups = join(folder, 'groups')
  await mkdir(groups)
  const script = fileURLToPath(new URL('guard-process.ts', import.meta.url))
  const child = spawn(process.execPath, [script, folder], { stdio: ['pipe', 'inherit', 'inherit'], detached: true })
  child.unref()
  process.env[VARIABLE] = groups
  process.env.TMPDIR = folder
  return {
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit')
      child.ref()
      child.stdin.end()
      await exited
    },
  }
}

/** Has a process group ended with the run, unless it is let go before. @returns what lets it go. */
export function guarded(group: number): () => void {
  const groups = process.env[VARIABLE]
  if (groups === undefined) return () => {}
  const file = join(groups, String(group))
  writeFileSync(file, startOf(group))
  return () => rmSync(file, { force: true })
}

/** When a process started, in ticks; "" when it is gone. Tells it from a later one with its number. */
export function startOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
