import { expect, test } from 'vitest'
import { onEachDatabase, openWorld, refusal } from './world.ts'

onEachDatabase('experiments', create => {
  test('create, get by id and by name, rename', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experiments } = world
    const { experimentId } = await experiments.createExperiment({ name: 'a', tags: [{ key: 'k', value: 'v' }] })
    expect(experimentId).toBe('1')
    const { experiment } = await experiments.getExperiment({ experimentId })
    expect(experiment).toMatchObject({ name: 'a', lifecycleStage: 'active', workspace: 'default', artifactLocation: 'mlflow-artifacts:/1' })
    expect(experiment?.tags).toMatchObject([{ key: 'k', value: 'v' }])
    expect((await experiments.getExperimentByName({ experimentName: 'a' })).experiment?.experimentId).toBe('1')
    await experiments.updateExperiment({ experimentId, newName: 'b' })
    expect((await experiments.getExperiment({ experimentId })).experiment?.name).toBe('b')
    expect(await refusal(experiments.getExperimentByName({ experimentName: 'a' }))).toBe(
      "RESOURCE_DOES_NOT_EXIST: Could not find experiment with name 'a'",
    )
  })

  test('a name is used once, by deleted experiments too', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experiments } = world
    const { experimentId } = await experiments.createExperiment({ name: 'a' })
    await experiments.deleteExperiment({ experimentId })
    expect(await refusal(experiments.createExperiment({ name: 'a' }))).toMatch(
      /^RESOURCE_ALREADY_EXISTS: Experiment\(name=a\) already exists/,
    )
    const other = await experiments.createExperiment({ name: 'b' })
    expect(await refusal(experiments.updateExperiment({ experimentId: other.experimentId, newName: 'a' }))).toMatch(
      /^BAD_REQUEST: (?!.*experiments)/,
    )
    expect(await refusal(experiments.updateExperiment({ experimentId, newName: 'c' }))).toBe(
      'INVALID_STATE: Cannot rename a non-active experiment.',
    )
  })

  test('delete and restore take the runs along', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experiments, runs } = world
    const { experimentId, runId } = await world.newRun()
    const stage = async () => (await runs.getRun({ runId })).run?.info?.lifecycleStage
    await experiments.deleteExperiment({ experimentId })
    expect(await stage()).toBe('deleted')
    expect(await refusal(experiments.deleteExperiment({ experimentId }))).toBe(
      `RESOURCE_DOES_NOT_EXIST: No Experiment with id=${experimentId} exists`,
    )
    expect(await refusal(runs.createRun({ experimentId }))).toBe(
      `INVALID_PARAMETER_VALUE: The experiment ${experimentId} must be in the 'active' state. Current state is deleted.`,
    )
    await experiments.restoreExperiment({ experimentId })
    expect(await stage()).toBe('active')
    expect(await refusal(experiments.restoreExperiment({ experimentId }))).toMatch(/^RESOURCE_DOES_NOT_EXIST/)
    await runs.createRun({ experimentId })
  })

  test('tags are set, overwritten and deleted', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experiments } = world
    const { experimentId } = await experiments.createExperiment({ name: 'a' })
    const id = { experimentId }
    await experiments.setExperimentTag({ ...id, key: 'k', value: '1' })
    await experiments.setExperimentTag({ ...id, key: 'k', value: '2' })
    expect((await experiments.getExperiment(id)).experiment?.tags).toMatchObject([{ key: 'k', value: '2' }])
    await experiments.deleteExperimentTag({ ...id, key: 'k' })
    expect(await refusal(experiments.deleteExperimentTag({ ...id, key: 'k' }))).toBe(
      'RESOURCE_DOES_NOT_EXIST: No tag with name: k in experiment with id 1',
    )
    expect(await refusal(experiments.setExperimentTag({ ...id, key: 'k', value: 'v'.repeat(20_001) }))).toBe(
      "INVALID_PARAMETER_VALUE: 'value' exceeds the maximum length of 20000 characters",
    )
    expect(await refusal(experiments.setExperimentTag({ ...id, key: 'mlflow.trace.archivalRetention', value: '{}' }))).toBe(
      "INVALID_PARAMETER_VALUE: Trace archival config must use type 'duration'.",
    )
  })

  test.each([
    ['abc', "INVALID_PARAMETER_VALUE: Invalid experiment ID 'abc'. Experiment ID must be a valid integer."],
    ['99', 'RESOURCE_DOES_NOT_EXIST: No Experiment with id=99 exists'],
    ['-1', 'RESOURCE_DOES_NOT_EXIST: No Experiment with id=-1 exists'],
    ['99999999999999999999', 'RESOURCE_DOES_NOT_EXIST: No Experiment with id=99999999999999999999 exists'],
  ])('the id %s is refused', async (experimentId, expected) => {
    await using database = await create()
    await using world = await openWorld(database.url)
    expect(await refusal(world.experiments.getExperiment({ experimentId }))).toBe(expected)
  })

  test('artifact locations are kept, made absolute or refused', async () => {
    await using database = await create()
    await using world = await openWorld(database.url, {
      artifactsDestination: 'sftp://files.example/root',
      profilePrefixes: ['ftp://lab.example/team'],
    })
    const { experiments } = world
    const make = async (artifactLocation: string) => {
      const { experimentId } = await experiments.createExperiment({ name: artifactLocation, artifactLocation })
      return { experimentId }
    }
    const stored = async (location: string) => (await experiments.getExperiment(await make(location))).experiment?.artifactLocation
    expect(await stored('s3://bucket/prefix/?region=x')).toBe('s3://bucket/prefix/?region=x')
    expect(await stored('relative/folder')).toBe(`${process.cwd()}/relative/folder`)
    expect(await stored('sftp://files.example:22/other')).toBe('sftp://files.example:22/other')
    expect(await stored('ftp://lab.example/anywhere')).toBe('ftp://lab.example/anywhere')
    expect(await refusal(make('webhdfs://elsewhere/x'))).toContain("cannot use the 'webhdfs' scheme")
    expect(await refusal(make('sftp://elsewhere/x'))).toMatch(/^INVALID_PARAMETER_VALUE: 'artifact_location' cannot use the 'sftp' scheme/)
    expect(await refusal(make('runs:/x'))).toBe("INVALID_PARAMETER_VALUE: Artifact location cannot be a runs:/ URI. Given: 'runs:/x'")
    expect(await refusal(make('s3://b/p#f'))).toBe("INVALID_PARAMETER_VALUE: 'artifact_location' URL can't include fragments or params.")
    expect(await refusal(make('s3://b/p?x=%252e%252e/y'))).toBe('INVALID_PARAMETER_VALUE: Invalid query string')
    expect(await refusal(make(`s3://b/${'x'.repeat(2048)}`))).toMatch(/^INVALID_PARAMETER_VALUE: Invalid artifact path length/)
    const run = await world.runs.createRun(await make('s3://bucket/p/?q=1'))
    expect(run.run?.info?.artifactUri).toBe(`s3://bucket/p/${run.run?.info?.runId}/artifacts?q=1`)
    expect(await stored('../beside/./it')).toBe(`${process.cwd()}/../beside/it`)
    expect(await stored('file:a%20b')).toBe(`file://${process.cwd()}/a b`)
    expect(await stored('C:/x')).toBe('C:/x')
    expect(await refusal(make('s3://[b/p'))).toBe("INVALID_PARAMETER_VALUE: 'artifact_location' is no URI: 's3://[b/p'")
    const other = (await world.runs.createRun(await make('s3://bucket'))).run?.info
    expect(other?.artifactUri).toBe(`s3://bucket/${other?.runId}/artifacts`)
  })

  test('a path follows whatever a root ends with', async () => {
    const roots = {
      's3://bucket': 's3://bucket/',
      's3://bucket/': 's3://bucket/',
      'gs://bucket?project=p': 'gs://bucket/ ?project=p',
      'abfss://container@account.dfs.core.windows.net': 'abfss://container@account.dfs.core.windows.net/',
      'file:///srv/art': 'file:///srv/art/',
      'file:/srv/art': 'file:///srv/art/',
      'file:///srv/art?param=value#fragment': 'file:///srv/art/ ?param=value#fragment',
      'hdfs:///art': 'hdfs:/art/',
      'mlflow-artifacts:/': 'mlflow-artifacts:/',
      '/srv/art': '/srv/art/',
    }
    await using database = await create()
    for (const [defaultArtifactRoot, expected] of Object.entries(roots)) {
      await using world = await openWorld(database.url, { defaultArtifactRoot })
      const [head, tail = ''] = expected.split(' ')
      const { experimentId } = await world.experiments.createExperiment({ name: defaultArtifactRoot })
      const { experiment } = await world.experiments.getExperiment({ experimentId })
      expect(experiment?.artifactLocation).toBe(`${head}${experimentId}${tail}`)
      const info = (await world.runs.createRun({ experimentId })).run?.info
      expect(info?.artifactUri).toBe(`${head}${experimentId}/${info?.runId}/artifacts${tail}`)
    }
  })

  test.each([
    ['s3://bucket', 's3://bucket/ID/artifacts'],
    ['s3://bucket?q=1', 's3://bucket/ID/artifacts?q=1'],
    ['file:///data', 'file:///data/ID/artifacts'],
    ['file:/data/', 'file:///data/ID/artifacts'],
    ['dbfs:/data', 'dbfs:/data/ID/artifacts'],
    ['/data', '/data/ID/artifacts'],
  ])('runs of an experiment at %s are at %s', async (artifactLocation, expected) => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId } = await world.experiments.createExperiment({ name: 'a', artifactLocation })
    const { info } = (await world.runs.createRun({ experimentId })).run ?? {}
    expect(info?.artifactUri).toBe(expected.replace('ID', info?.runId ?? ''))
  })

  test('a request without an id deletes no experiment and tags none', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experiments } = world
    const calls = [
      () => experiments.deleteExperiment({}),
      () => experiments.restoreExperiment({}),
      () => experiments.setExperimentTag({ key: 'k', value: 'v' }),
      () => experiments.deleteExperimentTag({ key: 'k' }),
    ]
    for (const call of calls) expect(await refusal(call())).toMatch(/^INVALID_PARAMETER_VALUE: Invalid experiment ID ''/)
    expect((await experiments.getExperiment({ experimentId: '0' })).experiment).toMatchObject({ lifecycleStage: 'active', tags: [] })
  })
})
