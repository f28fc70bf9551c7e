import { randomBytes } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../services/backends.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'
import { type S3Identity, type S3Server, startS3 } from '../services/s3.ts'

const run = randomBytes(4).toString('hex')
const rights = ['Read', 'Write', 'List', 'Tagging']
const identity = (name: string, actions: string[]): S3Identity => ({
  name,
  accessKey: `${name}-key`,
  secretKey: `${name}-hunter2-${randomBytes(8).toString('hex')}`,
  actions,
})
const owner = identity('owner', ['Admin', ...rights])
const shared = identity(
  'shared',
  rights.map(right => `${right}:shared-${run}`),
)
const team = identity(
  'team',
  rights.map(right => `${right}:team-${run}`),
)
const secrets = [shared.secretKey, team.secretKey, owner.secretKey]

const keysOf = ({ accessKey, secretKey }: S3Identity) => ({ AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey })

/** Statuses of an upload, a list and a download of a run whose experiment is at `location`, or at the server's own. */
async function use(client: HttpClient, location?: string): Promise<number[]> {
  const name = randomBytes(4).toString('hex')
  const api = '/api/2.0/mlflow'
  const created = await client.ok<{ experiment_id: string }>('POST', `${api}/experiments/create`, { name, artifact_location: location })
  const about = { experiment_id: created.experiment_id, start_time: 1 }
  const { run: made } = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, about)
  const id = made.info.run_id
  const up = await client.send('POST', `/ajax-api/2.0/mlflow/upload-artifact?run_uuid=${id}&path=d/x.txt`, 'kept', {
    'content-type': 'text/plain',
  })
  const list = await client.send('GET', `${api}/artifacts/list?run_id=${id}&path=d`)
  const down = await client.send('GET', `/get-artifact?run_id=${id}&path=d/x.txt`)
  if (down.status === 200) expect(down.text).toBe('kept')
  return [up.status, list.status, down.status]
}

test('an experiment may be at a host that a profile names, and at no other', async () => {
  await using folder = await tempFolder('profile-host')
  const cwd = folder.path
  const file = (name: string) => join(cwd, name)
  await using lab = await startMillrace({ cwd, backendStoreUri: `sqlite:///${file('lab.db')}`, artifactsDestination: file('lab') })
  const at = ({ url }: Millrace, path: string) => `${url.replace('http:', 'mlflow-artifacts:')}/${path}`
  await writeFile(file('profiles.json'), JSON.stringify({ lab: { prefixes: [at(lab, 'team')], settings: {} } }))
  await using server = await startMillrace({
    cwd,
    backendStoreUri: `sqlite:///${file('own.db')}`,
    artifactsDestination: file('own'),
    env: { MILLRACE_STORAGE_PROFILES: file('profiles.json') },
  })
  using client = httpClient(server.url)
  expect(await use(client, at(lab, 'team/experiment'))).toEqual([200, 200, 200])
  expect(await readdir(file('lab/team/experiment'))).toHaveLength(1)
  const elsewhere = { name: 'elsewhere', artifact_location: 'sftp://127.0.0.1/team' }
  const refused = await client.send('POST', '/api/2.0/mlflow/experiments/create', JSON.stringify(elsewhere), {
    'content-type': 'application/json',
  })
  expect([refused.status, refused.text]).toEqual([400, expect.stringContaining("'sftp' scheme addresses a host other than")])
})

describeWith(['s3'], 'storage profiles: two buckets, each with an identity of its own', () => {
  let folder: TempFolder
  let s3: S3Server
  let admin: S3Client
  const servers: Millrace[] = []
  const answers: string[] = []
  beforeAll(async () => {
    folder = await tempFolder('profiles')
    s3 = await startS3({ identities: [owner, shared, team] })
    const credentials = { accessKeyId: owner.accessKey, secretAccessKey: owner.secretKey }
    admin = new S3Client({ endpoint: s3.endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
    for (const name of ['shared', 'team']) await admin.send(new CreateBucketCommand({ Bucket: `${name}-${run}` }))
  }, 60_000)
  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]()
    admin?.destroy()
    await s3?.[Symbol.asyncDispose]()
    await folder?.[Symbol.asyncDispose]()
  })

  /** A server whose own credentials are the shared ones, and whose profile for the team's bucket has `settings`. */
  async function start(name: string, settings: Record<string, string> | undefined): Promise<HttpClient> {
    const profiles = join(folder.path, `${name}.json`)
    if (settings) await writeFile(profiles, JSON.stringify({ lab: { prefixes: [`s3://team-${run}`], settings } }))
    const server = await startMillrace({
      cwd: folder.path,
      backendStoreUri: `sqlite:///${folder.path}/${name}.db`,
      artifactsDestination: `s3://shared-${run}/proxied`,
      env: {
        ...keysOf(shared),
        MLFLOW_S3_ENDPOINT_URL: s3.endpoint,
        AWS_REGION: 'us-east-1',
        AWS_EC2_METADATA_DISABLED: 'true',
        MILLRACE_LOG_LEVEL: 'debug',
        ...(settings ? { MILLRACE_STORAGE_PROFILES: profiles } : {}),
      },
    })
    servers.push(server)
    const client = httpClient(server.url)
    return {
      ...client,
      async send(...given) {
        const answer = await client.send(...given)
        answers.push(answer.text, JSON.stringify(answer.headers))
        return answer
      },
    }
  }

  const count = async (bucket: string) => (await admin.send(new ListObjectsV2Command({ Bucket: `${bucket}-${run}` }))).Contents?.length ?? 0

  test('each location goes with its own credentials', async () => {
    const client = await start('with', { ...keysOf(team), MLFLOW_S3_ENDPOINT_URL: s3.endpoint })
    expect(await use(client)).toEqual([200, 200, 200])
    expect(await use(client, `s3://shared-${run}/experiment`)).toEqual([200, 200, 200])
    expect(await count('team')).toBe(0)
    expect(await use(client, `s3://team-${run}/experiment`)).toEqual([200, 200, 200])
    expect([await count('shared'), await count('team')]).toEqual([2, 1])
    const ready = await client.send('GET', '/ready')
    expect([ready.status, ready.json()]).toMatchObject([200, { status: 'ready' }])
  })

  test('the shared credentials do not reach the team’s bucket, nor the team’s a neighbour’s', async () => {
    const without = await start('without', undefined)
    expect(await use(without, `s3://team-${run}/experiment`)).toEqual([403, 403, 403])
    expect(await use(without)).toEqual([200, 200, 200])
    const prefixed = await start('prefixed', { ...keysOf(team), MLFLOW_S3_ENDPOINT_URL: s3.endpoint })
    expect(await use(prefixed, `s3://team-${run}x/experiment`)).toEqual([403, 403, 403])
  })

  test('a profile without credentials has none: the server’s own are not its', async () => {
    const client = await start('empty', { MLFLOW_S3_ENDPOINT_URL: s3.endpoint })
    expect(await use(client, `s3://team-${run}/experiment`)).toEqual([403, 403, 403])
    expect(await use(client)).toEqual([200, 200, 200])
    expect((await client.send('GET', '/ready')).status).toBe(200)
  })

  test('a wrong secret is an error of that location alone', async () => {
    const wrong = { ...keysOf(team), AWS_SECRET_ACCESS_KEY: `${team.secretKey}-wrong`, MLFLOW_S3_ENDPOINT_URL: s3.endpoint }
    const client = await start('wrong', wrong)
    expect(await use(client, `s3://team-${run}/experiment`)).toEqual([401, 401, 401])
    expect(await use(client)).toEqual([200, 200, 200])
  })

  test('a store that is away is named in the log without its secrets', async () => {
    const client = await start('away', { ...keysOf(team), MLFLOW_S3_ENDPOINT_URL: 'http://user:url-hunter2@127.0.0.1:1' })
    expect(await use(client, `s3://team-${run}/experiment`)).toEqual([503, 503, 503])
    expect(servers.at(-1)?.process.log()).toContain('a request failed')
  })

  test('no secret is in any answer or log', () => {
    const said = [...answers, ...servers.map(server => server.process.log())]
    expect(said.length).toBeGreaterThan(50)
    for (const text of said) {
      expect(text).not.toContain('hunter2')
      for (const secret of secrets) expect(text).not.toContain(secret)
    }
  })
})
