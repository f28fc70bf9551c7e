import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from './config.ts'
import { eventually, run, start, tempFolder } from './process.ts'

const vitest = join(repository, 'node_modules/.bin/vitest')
/** Begins servers when it is read. */
const FILE = 'services/artifacts/test/http.test.ts'
const TIMEOUT_MS = 120_000

/** Numbers of the processes that work below a folder. */
async function workingBelow(folder: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name))
  const places = await Promise.all(pids.map(pid => readlink(`/proc/${pid}/cwd`).catch(() => '')))
  return pids.filter((_, i) => places[i]?.startsWith(`${folder}/`))
}

test('a run whose tests are all left out leaves no server and no folder', { timeout: TIMEOUT_MS }, async () => {
  await using folder = await tempFolder('guard')
  const { code, stdout } = await run(vitest, ['run', FILE, '-t', 'no such'], { cwd: repository, env: { TMPDIR: folder.path } })
  expect(code, stdout).toBe(0)
  expect([await workingBelow(folder.path), await readdir(folder.path)]).toEqual([[], []])
})

test('a run that is killed leaves no server and no folder', { timeout: TIMEOUT_MS }, async () => {
  await using folder = await tempFolder('guard')
  await using output = await tempFolder('guard')
  await using running = await start({
    command: vitest,
    args: ['run', '--root', repository, FILE],
    cwd: output.path,
    env: { TMPDIR: folder.path },
  })
  await eventually('a server has begun', async () => ((await workingBelow(folder.path)).length > 0 ? true : undefined), TIMEOUT_MS)
  process.kill(running.pid, 'SIGKILL')
  await eventually('all is gone', async () =>
    (await workingBelow(folder.path)).length + (await readdir(folder.path)).length === 0 ? true : undefined,
  )
})
