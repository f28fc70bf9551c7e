import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { python } from '../compat/python.ts'
import { createDatabase, describeWith } from '../services/backends.ts'
import { mlflowVenv } from '../services/install.ts'
import { startMillrace } from '../services/millrace.ts'
import { startMlflow } from '../services/mlflow.ts'
import { tempFolder } from '../services/process.ts'

const TAKEOVER_TIMEOUT_MS = 600_000

interface Site {
  cwd: string
  backendStoreUri: string
  artifactsDestination: string
}

type Start = (site: Site) => Promise<AsyncDisposable & { url: string }>

/** Runs `history.py` against a server that is there only for that long; answers the last snapshot taken. */
async function served(start: Start, site: Site, ...steps: string[]): Promise<unknown> {
  await using server = await start(site)
  let snapshot: unknown
  for (const step of steps) {
    const printed = await python('../takeover/history.py', server.url, { cwd: site.cwd, args: [step] })
    if (step === 'snapshot') snapshot = JSON.parse(printed)
  }
  return snapshot
}

function bothWays(makeUri: (cwd: string) => Promise<AsyncDisposable & { url: string }>): void {
  test('MLflow writes, Millrace serves it and writes on, MLflow serves all of it again', { timeout: TAKEOVER_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('takeover')
    await using database = await makeUri(folder.path)
    const site = { cwd: folder.path, backendStoreUri: database.url, artifactsDestination: join(folder.path, 'artifacts') }
    const byMlflow = await served(startMlflow, site, 'write', 'snapshot')
    expect(await served(startMillrace, site, 'snapshot')).toEqual(byMlflow)
    const writtenOn = await served(startMillrace, site, 'append', 'snapshot')
    expect(writtenOn).not.toEqual(byMlflow)
    expect(await served(startMlflow, site, 'snapshot')).toEqual(writtenOn)
  })

  test('Millrace makes the database and writes, MLflow serves it with nothing lost', { timeout: TAKEOVER_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('handback')
    await using database = await makeUri(folder.path)
    const site = { cwd: folder.path, backendStoreUri: database.url, artifactsDestination: join(folder.path, 'artifacts') }
    const byMillrace = await served(startMillrace, site, 'write', 'snapshot')
    expect(await served(startMlflow, site, 'snapshot')).toEqual(byMillrace)
  })
}

beforeAll(async () => {
  await mlflowVenv()
})

describe('on SQLite', () => {
  bothWays(async cwd => ({ url: `sqlite:///${cwd}/mlflow.db`, async [Symbol.asyncDispose]() {} }))
})

describeWith(['postgres'], 'on PostgreSQL', () => {
  bothWays(() => createDatabase('takeover'))
})
