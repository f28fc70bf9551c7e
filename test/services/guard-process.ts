// Waits for the end of the test run, which closes standard input, and clears away what it left (see guard.ts).
import { once } from 'node:events'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startOf } from './guard.ts'

const STOP_MS_MAX = 5_000
const LOOK_EVERY_MS = 50

const folder = process.argv[2] ?? ''
const groups = join(folder, 'groups')

async function left(): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir(groups)) {
    const start = await readFile(join(groups, name), 'utf8').catch(() => '')
    if (start !== '' && start === startOf(Number(name))) found.push(Number(name))
  }
  return found
}

function end(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal)
  } catch {
    // It has ended meanwhile.
  }
}

process.stdin.resume()
await once(process.stdin, 'end')
const leftOver = await left()
for (const group of leftOver) end(group, 'SIGTERM')
const deadline = Date.now() + STOP_MS_MAX
while (Date.now() < deadline && (await left()).length > 0) await sleep(LOOK_EVERY_MS)
for (const group of leftOver) end(group, 'SIGKILL')
await rm(folder, { recursive: true, force: true, maxRetries: 3 }).catch(error => console.warn(`${folder} is left: ${error.message}`))
