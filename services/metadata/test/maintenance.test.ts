import { createClient } from '@connectrpc/connect'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { MaintenanceService } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'
import { expect, test } from 'vitest'
import { openDatabase } from '../src/store/open.ts'
import { PURGE_CHUNK_ROWS } from '../src/store/purge.ts'
import { onEachDatabase, openWorld, refusal, type World } from './world.ts'

const TABLES = [
  ...['experiments', 'experiment_tags', 'runs', 'metrics', 'latest_metrics', 'params', 'tags', 'datasets', 'inputs', 'input_tags'],
  ...['logged_models', 'logged_model_params', 'logged_model_tags', 'logged_model_metrics', 'trace_info', 'trace_tags', 'assessments'],
  ...['spans', 'entity_associations', 'issues', 'scorers', 'scorer_versions', 'sql_trace_metric_daily_rollups'],
]

async function rows(url: string): Promise<Record<string, number>> {
  await using db = await openDatabase({ uri: url, poolSize: 4 })
  const counts: Record<string, number> = {}
  for (const table of TABLES)
    counts[table] = (await db.get<{ n: number }>({ sql: `SELECT count(*) AS n FROM ${table}`, parameters: [] }))?.n ?? 0
  return counts
}

const maintenanceOf = (world: World) => createClient(MaintenanceService, world.transport)

/** A run with everything a run can have. */
async function fullRun(world: World, points = 3) {
  const { experimentId, runId } = await world.newRun()
  const models = createClient(LoggedModelService, world.transport)
  const { model } = await models.createLoggedModel({
    experimentId,
    name: 'm',
    params: [{ key: 'p', value: '1' }],
    tags: [{ key: 't', value: '1' }],
  })
  const modelId = model?.info?.modelId ?? ''
  for (let at = 0; at < points; at += 1000) {
    const metrics = Array.from({ length: Math.min(1000, points - at) }, (_, i) => ({
      key: 'm',
      value: i,
      timestamp: 1n,
      step: BigInt(at + i),
    }))
    await world.runs.logBatch({ runId, metrics })
  }
  await world.metrics.logMetric({ runId, key: 'k', value: 1, timestamp: 1n, modelId })
  await world.runs.logBatch({ runId, params: [{ key: 'p', value: '1' }], tags: [{ key: 't', value: '1' }] })
  const dataset = { name: 'd', digest: '1', sourceType: 'local', source: 's' }
  await world.runs.logInputs({ runId, datasets: [{ dataset, tags: [{ key: 'mlflow.data.context', value: 'x' }] }], models: [{ modelId }] })
  await world.runs.logOutputs({ runId, models: [{ modelId }] })
  return { experimentId, runId, modelId }
}

onEachDatabase('maintenance', create => {
  test('a purged run leaves no row, and its neighbours keep theirs', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const maintenance = maintenanceOf(world)
    const kept = await fullRun(world)
    const before = await rows(database.url)
    const { experimentId, runId, modelId } = await fullRun(world, PURGE_CHUNK_ROWS + 10)
    expect(await refusal(maintenance.purgeRuns({ runIds: [runId] }))).toBe(
      `INVALID_PARAMETER_VALUE: Run ${runId} is not in \`deleted\` lifecycle stage. Only runs in \`deleted\` lifecycle stage can be deleted.`,
    )
    await world.runs.deleteRun({ runId })
    expect(await refusal(maintenance.purgeRuns({ runIds: [runId, kept.runId] }))).toMatch(/^INVALID_PARAMETER_VALUE: Run/)
    expect((await maintenance.lookupRuns({ runIds: [runId, 'absent'] })).runs).toMatchObject([
      { runId, experimentId, lifecycleStage: 'deleted' },
    ])
    expect((await maintenance.purgeRuns({ runIds: [runId, 'absent'] })).purged).toBe(1)
    expect((await maintenance.purgeRuns({ runIds: [runId] })).purged).toBe(0)
    const after = await rows(database.url)
    const ofExperiment = { experiments: 1, logged_models: 1, logged_model_params: 1, logged_model_tags: 1, datasets: 1 }
    expect(after).toEqual(Object.fromEntries(TABLES.map(t => [t, (before[t] ?? 0) + ((ofExperiment as Record<string, number>)[t] ?? 0)])))
    expect((await world.runs.getRun({ runId: kept.runId })).run?.inputs?.datasetInputs.length).toBe(1)
    expect((await createClient(LoggedModelService, world.transport).getLoggedModel({ modelId })).model).toBeDefined()
  })

  test('a purged experiment takes everything along that hangs on it', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const maintenance = maintenanceOf(world)
    await fullRun(world)
    const before = await rows(database.url)
    const { experimentId } = await fullRun(world)
    await world.experiments.setExperimentTag({ experimentId, key: 'k', value: 'v' })
    {
      await using db = await openDatabase({ uri: database.url, poolSize: 4 })
      const run = (sql: string) => db.run({ sql, parameters: [] })
      await run(`INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('tr-1', ${experimentId}, 1, 'OK')`)
      await run("INSERT INTO trace_tags (key, value, request_id) VALUES ('k', 'v', 'tr-1')")
      await run(
        "INSERT INTO entity_associations (association_id, source_type, source_id, destination_type, destination_id) VALUES ('a', 'trace', 'tr-1', 'run', 'r')",
      )
      await run(
        `INSERT INTO entity_associations (association_id, source_type, source_id, destination_type, destination_id) VALUES ('b', 'evaluation_dataset', 'd', 'experiment', '${experimentId}')`,
      )
      await run(`INSERT INTO scorers (experiment_id, scorer_name, scorer_id) VALUES (${experimentId}, 's', 's1')`)
      await run("INSERT INTO scorer_versions (scorer_id, scorer_version, serialized_scorer) VALUES ('s1', 1, '{}')")
      await run(
        `INSERT INTO issues (issue_id, experiment_id, name, description, status, created_timestamp, last_updated_timestamp) VALUES ('i', ${experimentId}, 'n', 'd', 's', 1, 1)`,
      )
    }
    expect(await refusal(maintenance.purgeExperiment({ experimentId }))).toMatch(/^INVALID_PARAMETER_VALUE: Experiment/)
    await world.experiments.deleteExperiment({ experimentId })
    expect((await maintenance.listDeletedExperiments({ pageSize: 10 })).experiments).toMatchObject([
      { experimentId, lifecycleStage: 'deleted' },
    ])
    expect((await maintenance.purgeExperiment({ experimentId })).purged).toBe(true)
    expect((await maintenance.purgeExperiment({ experimentId })).purged).toBe(false)
    expect(await rows(database.url)).toEqual(before)
  })

  test('deleted runs are listed oldest first, a page at a time', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const maintenance = maintenanceOf(world)
    const deleted: string[] = []
    let experimentId = ''
    for (let i = 0; i < 5; i++) {
      const made = await world.newRun()
      if (i < 4) {
        await world.runs.deleteRun({ runId: made.runId })
        deleted.push(made.runId)
        experimentId = made.experimentId
        await new Promise(resolve => setTimeout(resolve, 3))
      }
    }
    const listed: string[] = []
    let pageToken = ''
    do {
      const page = await maintenance.listDeletedRuns({ pageSize: 2, pageToken })
      listed.push(...page.runs.map(run => run.runId))
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(listed).toEqual(deleted)
    expect((await maintenance.listDeletedRuns({ experimentIds: [experimentId] })).runs.map(run => run.runId)).toEqual(deleted.slice(3))
    expect((await maintenance.listDeletedRuns({ deletedBefore: 5n })).runs).toEqual([])
  })

  test('jobs that have ended are listed a page at a time and purged with their locks, others stay', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const maintenance = maintenanceOf(world)
    await using db = await openDatabase({ uri: database.url, poolSize: 4 })
    const write = (sql: string) => db.run({ sql, parameters: [] })
    for (let status = 0; status <= 6; status++) {
      for (const [id, time] of [
        [`a-${status}`, 2_000],
        [`b-${status}`, 1_000],
      ])
        await write(`INSERT INTO jobs (id, creation_time, job_name, params, status, retry_count, last_update_time)
          VALUES ('${id}', ${time}, 'j', '{}', ${status}, 0, ${time})`)
    }
    for (const id of ['a-2', 'a-1']) await write(`INSERT INTO job_locks (lock_key, job_id, acquired_at) VALUES ('${id}', '${id}', 1)`)
    const listed: string[][] = []
    let pageToken = ''
    do {
      const page = await maintenance.listEndedJobs({ pageSize: 3, pageToken })
      listed.push(page.jobIds)
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(listed).toEqual([
      ['b-2', 'b-3', 'b-4'],
      ['b-5', 'a-2', 'a-3'],
      ['a-4', 'a-5'],
    ])
    expect((await maintenance.listEndedJobs({ createdBefore: 2_000n, jobIds: ['a-2', 'b-3', 'b-1', 'x'] })).jobIds).toEqual(['b-3'])
    expect((await maintenance.purgeJobs({ jobIds: ['a-2', 'a-1', 'x'] })).purged).toBe(1)
    expect((await maintenance.purgeJobs({ jobIds: ['a-2'] })).purged).toBe(0)
    expect(await db.all({ sql: 'SELECT lock_key FROM job_locks', parameters: [] })).toEqual([{ lock_key: 'a-1' }])
    expect((await db.get<{ n: number }>({ sql: 'SELECT count(*) AS n FROM jobs', parameters: [] }))?.n).toBe(13)
  })

  test('writers get their turn while a long history is purged', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await fullRun(world, 40_000)
    const other = await world.newRun()
    await world.runs.deleteRun({ runId })
    let longest = 0
    let done = false
    const purge = maintenanceOf(world)
      .purgeRuns({ runIds: [runId] })
      .then(() => {
        done = true
      })
    for (let i = 0; !done; i++) {
      const start = performance.now()
      await world.metrics.logMetric({ runId: other.runId, key: 'm', value: i, timestamp: 1n, step: BigInt(i) })
      longest = Math.max(longest, performance.now() - start)
    }
    await purge
    expect(longest).toBeLessThan(1000)
  })
})
