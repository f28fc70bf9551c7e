import { readFile } from 'node:fs/promises'

/** Has a process collect its garbage all the time: what the collector has not come to yet isn't held by anybody. */
export const collecting = (intervalMs = 50) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(`
    import { setFlagsFromString } from 'node:v8'
    import { runInNewContext } from 'node:vm'
    import { isMainThread } from 'node:worker_threads'
    setFlagsFromString('--expose-gc')
    if (isMainThread) setInterval(runInNewContext('gc'), ${intervalMs}).unref()
  `)}`,
})

/** Resident memory of a process now. */
export async function residentBytes(pid: number): Promise<number> {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? []
  if (!kib) throw new Error('the process does not say what it holds')
  return Number(kib) * 1024
}
