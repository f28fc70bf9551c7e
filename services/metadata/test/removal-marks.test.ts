import { createClient } from '@connectrpc/connect'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { MaintenanceService } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'
import { expect, test } from 'vitest'
import { openDatabase } from '../src/store/open.ts'
import { onEachDatabase, openWorld, refusal, type World } from './world.ts'

const maintenanceOf = (world: World) => createClient(MaintenanceService, world.transport)

async function stageOf(world: World, runId: string): Promise<string | undefined> {
  return (await world.runs.getRun({ runId })).run?.info?.lifecycleStage
}

onEachDatabase('a removal that has begun', create => {
  test('keeps a run deleted: restore is refused, and deleting it again changes nothing', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const maintenance = maintenanceOf(world)
    const { runId, experimentId } = await world.newRun()
    const other = (await world.runs.createRun({ experimentId })).run?.info?.runId ?? ''
    expect(await refusal(maintenance.beginRunRemoval({ runId }))).toMatch(/^INVALID_PARAMETER_VALUE: Run .* is not in `deleted`/)
    await world.runs.deleteRun({ runId })
    expect(await refusal(maintenance.beginRunRemoval({ runId, deletedBefore: 5n }))).toMatch(/^INVALID_PARAMETER_VALUE: .*older/)
    await world.runs.restoreRun({ runId })
    await world.runs.deleteRun({ runId })
    for (const deletedBefore of [undefined, 5n]) {
      expect((await maintenance.beginRunRemoval({ runId, deletedBefore })).run).toMatchObject({ runId, beingRemoved: true })
    }
    const refused = `BAD_REQUEST: Run ${runId} is being permanently deleted and cannot be restored`
    expect(await refusal(world.runs.restoreRun({ runId }))).toBe(refused)
    const [before] = (await maintenance.lookupRuns({ runIds: [runId] })).runs
    await world.runs.deleteRun({ runId })
    expect((await maintenance.lookupRuns({ runIds: [runId] })).runs).toEqual([before])
    await world.experiments.deleteExperiment({ experimentId })
    await world.experiments.restoreExperiment({ experimentId })
    expect([await stageOf(world, runId), await stageOf(world, other)]).toEqual(['deleted', 'active'])
    expect(await refusal(world.runs.restoreRun({ runId }))).toBe(refused)
    expect((await maintenance.purgeRuns({ runIds: [runId] })).purged).toBe(1)
    expect(await refusal(world.runs.restoreRun({ runId }))).toMatch(/^RESOURCE_DOES_NOT_EXIST/)
    expect((await maintenance.beginRunRemoval({ runId })).run).toBeUndefined()
  })

  test('keeps an experiment deleted, and never begins for one that has runs', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const maintenance = maintenanceOf(world)
    const { runId, experimentId } = await world.newRun()
    expect(await refusal(maintenance.beginExperimentRemoval({ experimentId }))).toMatch(/is not in `deleted` lifecycle stage/)
    await world.experiments.deleteExperiment({ experimentId })
    const begin = (updatedBefore?: bigint) => refusal(maintenance.beginExperimentRemoval({ experimentId, updatedBefore }))
    expect(await begin()).toBe(`INVALID_STATE: Experiment ${experimentId} still has runs that were not removed`)
    await world.runs.restoreRun({ runId })
    expect(await begin()).toMatch(new RegExp(`^INVALID_STATE: Experiment ${experimentId} still has active runs .* ${runId}\\. Delete them`))
    await world.runs.deleteRun({ runId })
    await maintenance.purgeRuns({ runIds: [runId] })
    expect(await begin(5n)).toMatch(/^INVALID_PARAMETER_VALUE: .*older/)
    expect([await begin(), await begin(5n)]).toEqual(['accepted', 'accepted'])
    expect(await refusal(world.experiments.restoreExperiment({ experimentId }))).toBe(
      `BAD_REQUEST: Experiment ${experimentId} is being permanently deleted and cannot be restored`,
    )
    const { experiments } = await maintenance.lookupExperiments({ experimentIds: [experimentId] })
    expect(experiments).toMatchObject([{ lifecycleStage: 'deleted', beingRemoved: true }])
    expect((await maintenance.purgeExperiment({ experimentId })).purged).toBe(true)
  })

  test('is over for what MLflow restored meanwhile, and marks nothing that clients can write', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const maintenance = maintenanceOf(world)
    const { runId } = await world.newRun()
    const { experimentId = '' } = await world.experiments.createExperiment({ name: 'empty' })
    await world.runs.deleteRun({ runId })
    await world.experiments.deleteExperiment({ experimentId })
    await maintenance.beginRunRemoval({ runId })
    await maintenance.beginExperimentRemoval({ experimentId })
    {
      await using db = await openDatabase({ uri: database.url, poolSize: 2 })
      for (const sql of [
        `UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid = '${runId}'`,
        `UPDATE experiments SET lifecycle_stage = 'active' WHERE experiment_id = ${experimentId}`,
      ])
        await db.run({ sql, parameters: [] })
    }
    expect(await refusal(maintenance.purgeRuns({ runIds: [runId] }))).toMatch(/is not in `deleted` lifecycle stage/)
    expect(await refusal(maintenance.purgeExperiment({ experimentId }))).toMatch(/is not in `deleted` lifecycle stage/)
    await world.runs.deleteRun({ runId })
    await world.runs.restoreRun({ runId })
    await world.experiments.deleteExperiment({ experimentId })
    await world.experiments.restoreExperiment({ experimentId })
    expect(await stageOf(world, runId)).toBe('active')
    for (const key of ['#millrace.being-removed', 'millrace:being-removed']) {
      const { run } = await world.runs.createRun({ experimentId, tags: key.startsWith('#') ? [] : [{ key, value: key }] })
      if (key.startsWith('#'))
        expect(await refusal(world.experiments.setExperimentTag({ experimentId, key, value: '' }))).toMatch(/^INVALID_/)
      await world.experiments.deleteExperiment({ experimentId })
      await world.experiments.restoreExperiment({ experimentId })
      expect(await stageOf(world, run?.info?.runId ?? '')).toBe('active')
    }
  })
})

const ROUNDS = 5
const RUNS_AT_ONCE = 20

onEachDatabase('deleting an experiment', create => {
  test('leaves no active run in it, whatever is created beside it', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    let created = 0
    let refused = 0
    for (let round = 0; round < ROUNDS; round++) {
      const { experimentId = '' } = await world.experiments.createExperiment({ name: `round ${round}` })
      await world.runs.createRun({ experimentId })
      const making = Array.from({ length: RUNS_AT_ONCE }, async (_, i) => {
        await new Promise(resolve => setTimeout(resolve, i / 4))
        return refusal(world.runs.createRun({ experimentId }))
      })
      await new Promise(resolve => setTimeout(resolve, 2))
      const deleting = world.experiments.deleteExperiment({ experimentId })
      for (const outcome of await Promise.all(making)) {
        if (outcome === 'accepted') created++
        else refused++
        if (outcome !== 'accepted') {
          const why = `The experiment ${experimentId} must be in the 'active' state. Current state is deleted.`
          expect(outcome).toBe(`INVALID_PARAMETER_VALUE: ${why}`)
        }
      }
      await deleting
      const { runs } = await world.runs.searchRuns({ experimentIds: [experimentId], runViewType: 1 })
      expect(runs.map(run => run.info?.lifecycleStage)).toEqual([])
    }
    expect(created + refused).toBe(ROUNDS * RUNS_AT_ONCE)
  })

  test('lets no logged model begin in it afterwards', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const { experimentId = '' } = await world.experiments.createExperiment({ name: 'e' })
    await world.experiments.deleteExperiment({ experimentId })
    expect(await refusal(models.createLoggedModel({ experimentId, name: 'm' }))).toMatch(/^INVALID_PARAMETER_VALUE: The experiment/)
  })
})
