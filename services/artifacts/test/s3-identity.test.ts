import { randomBytes } from 'node:crypto'
import { rename, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { describeWith } from '../../../test/services/backends.ts'
import { type Issuer, startIssuer } from '../../../test/services/oidc.ts'
import { type TempFolder, tempFolder } from '../../../test/services/process.ts'
import { bucketRole, type S3Server, startS3 } from '../../../test/services/s3.ts'
import { bodyOf, text } from '../src/conformance/bodies.ts'
import { createS3Client } from '../src/drivers/s3/client.ts'
import { checkS3Config, readS3Config } from '../src/drivers/s3/config.ts'
import { type Artifacts, checkArtifacts, openArtifacts, readArtifacts } from '../src/service.ts'

const ROLE = 'arn:aws:iam::000000000000:role/Store'
const OWNER = { name: 'owner', accessKey: 'owner', secretKey: 'owner-hunter2', actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'] }
const CALLER = { name: 'caller', accessKey: 'caller', secretKey: 'caller-hunter2', actions: ['Read:nothing'] }
const BUCKET = `identity-${randomBytes(4).toString('hex')}`

const open = async (env: Record<string, string | undefined>, root = `s3://${BUCKET}`): Promise<Artifacts> =>
  openArtifacts(checkArtifacts(readArtifacts({ AWS_EC2_METADATA_DISABLED: 'true', ...env }, { artifactsDestination: root })))

async function roundTrip({ bytes }: Artifacts): Promise<string> {
  await bytes.write('mlflow-artifacts:/#r/x', bodyOf('kept'))
  return text((await bytes.read('mlflow-artifacts:/#r/x')).body)
}

/** Replaced at once, as kubelet and credential tools do. */
async function replace(file: string, content: string): Promise<string> {
  await writeFile(`${file}.new`, content)
  await rename(`${file}.new`, file)
  return file
}

describeWith(['s3'], 'roles and profiles on a real S3 and STS', () => {
  let folder: TempFolder
  let issuer: Issuer
  let s3: S3Server
  let place: Record<string, string>
  beforeAll(async () => {
    folder = await tempFolder('identity')
    issuer = await startIssuer()
    const provider = { name: 'idp', config: { issuer: issuer.url, clientId: 'millrace', jwksUri: `${issuer.url}/jwks` } }
    s3 = await startS3({ identities: [OWNER, CALLER], iam: bucketRole({ name: 'Store', bucket: BUCKET, provider }) })
    place = { MLFLOW_S3_ENDPOINT_URL: s3.endpoint, AWS_ENDPOINT_URL_STS: s3.endpoint }
    const keys = { AWS_ACCESS_KEY_ID: OWNER.accessKey, AWS_SECRET_ACCESS_KEY: OWNER.secretKey }
    const owner = createS3Client(checkS3Config(readS3Config({ ...place, ...keys })))
    for (const Bucket of [BUCKET, `${BUCKET}-other`]) await owner.send(new CreateBucketCommand({ Bucket }))
    owner.destroy()
  }, 60_000)
  afterAll(async () => {
    await s3?.[Symbol.asyncDispose]()
    await issuer?.[Symbol.asyncDispose]()
    await folder?.[Symbol.asyncDispose]()
  })

  const callerKeys = { AWS_ACCESS_KEY_ID: CALLER.accessKey, AWS_SECRET_ACCESS_KEY: CALLER.secretKey }

  test('keys assume a role, which may what they may not', async () => {
    await using alone = await open({ ...place, ...callerKeys })
    await expect(roundTrip(alone)).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
    await using assumed = await open({ ...place, ...callerKeys, AWS_ROLE_ARN: ROLE })
    expect(await roundTrip(assumed)).toBe('kept')
    await using elsewhere = await open({ ...place, ...callerKeys, AWS_ROLE_ARN: ROLE }, `s3://${BUCKET}-other`)
    await expect(roundTrip(elsewhere)).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
  })

  test('a signed URL of a role works without a header', async () => {
    await using assumed = await open({ ...place, ...callerKeys, AWS_ROLE_ARN: ROLE })
    await roundTrip(assumed)
    const { createClient } = await import('@connectrpc/connect')
    const { createDirectTransport } = await import('@millrace/kit/rpc')
    const { ArtifactStoreService } = await import('@millrace/proto/millrace/artifacts/v1/store_pb')
    const client = createClient(ArtifactStoreService, createDirectTransport(assumed.routes))
    const { url } = await client.presign({ uri: 'mlflow-artifacts:/#r/x' })
    expect(await (await fetch(url)).text()).toBe('kept')
  })

  test('wrong keys get no role', async () => {
    await using wrong = await open({ ...place, ...callerKeys, AWS_SECRET_ACCESS_KEY: 'wrong-hunter2', AWS_ROLE_ARN: ROLE })
    const error: unknown = await roundTrip(wrong).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ errorCode: 'PERMISSION_DENIED' })
    expect(String(error)).not.toContain('hunter2')
  })

  test('a profile has a region, keys, and a role by way of another profile', async () => {
    const config = `[default]\nregion = eu-west-3\n[profile lab]\nrole_arn = ${ROLE}\nsource_profile = people\n[profile plain]\nregion=us-west-1\n`
    const people = `[people]\naws_access_key_id=${CALLER.accessKey}\naws_secret_access_key = ${CALLER.secretKey}\n`
    const own = `[plain]\naws_access_key_id=${OWNER.accessKey}\naws_secret_access_key = ${OWNER.secretKey}\n`
    const files = {
      AWS_CONFIG_FILE: await replace(join(folder.path, 'config'), config),
      AWS_SHARED_CREDENTIALS_FILE: await replace(join(folder.path, 'credentials'), people + own),
    }
    const named = (AWS_PROFILE: string) => ({ ...place, ...files, AWS_PROFILE })
    expect(checkS3Config(readS3Config(named('plain'))).region).toBe('us-west-1')
    for (const profile of ['lab', 'plain']) {
      await using artifacts = await open(named(profile))
      expect(await roundTrip(artifacts), profile).toBe('kept')
    }
    await using people2 = await open(named('people'))
    await expect(roundTrip(people2)).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
    await expect(open(named('nobody'))).rejects.toThrow("Invalid value for AWS_PROFILE: 'nobody'")
  })

  test('a web identity is checked by STS; a new token is taken up without a restart', async () => {
    const file = join(folder.path, 'token')
    await replace(file, issuer.token('millrace', -60))
    await using artifacts = await open({ ...place, AWS_ROLE_ARN: ROLE, AWS_WEB_IDENTITY_TOKEN_FILE: file })
    await expect(roundTrip(artifacts)).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
    await expect(artifacts.ready()).rejects.toBeDefined()
    await replace(file, issuer.token('millrace', 600))
    expect(await roundTrip(artifacts)).toBe('kept')
    await artifacts.ready()
  })

  test('keys in a file that were rotated are taken up without a restart', async () => {
    const keys = (secret: string) => `[default]\naws_access_key_id=${OWNER.accessKey}\naws_secret_access_key=${secret}\n`
    const file = await replace(join(folder.path, 'rotated'), keys('old-hunter2'))
    await using artifacts = await open({ ...place, AWS_SHARED_CREDENTIALS_FILE: file })
    await expect(roundTrip(artifacts)).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    await replace(file, keys(OWNER.secretKey))
    await expect.poll(() => roundTrip(artifacts).catch(() => 'refused'), { timeout: 10_000 }).toBe('kept')
  })
})

/** Stands in for STS and S3 where a real one can't be told to fail: a session ends when the test says so. */
async function startStandIn() {
  let sessions = 0
  let ended = 0
  const seen: { form: URLSearchParams; authorization: string }[] = []
  const sts = (body: string) => {
    sessions++
    const ends = new Date(Date.now() + 3_600_000).toISOString()
    const form = new URLSearchParams(body)
    const credentials = `<AccessKeyId>ASIA${sessions}</AccessKeyId><SecretAccessKey>s${sessions}</SecretAccessKey><SessionToken>token-${sessions}</SessionToken><Expiration>${ends}</Expiration>`
    const action = form.get('Action')
    return `<${action}Response><${action}Result><Credentials>${credentials}</Credentials></${action}Result></${action}Response>`
  }
  const serve = (req: IncomingMessage, res: ServerResponse, body: string) => {
    seen.push({ form: new URLSearchParams(body), authorization: req.headers.authorization ?? '' })
    res.setHeader('Content-Type', 'application/xml')
    if (body.includes('Action=AssumeRole')) return res.end(sts(body))
    const session = Number(/token-(\d+)/.exec(String(req.headers['x-amz-security-token']))?.[1])
    if (session <= ended) return res.writeHead(400).end('<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>')
    res.setHeader('ETag', '"e"').end(req.method === 'GET' ? 'kept' : '')
  }
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', chunk => chunks.push(chunk))
    req.once('end', () => serve(req, res, Buffer.concat(chunks).toString()))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    sessions: () => sessions,
    endAll: () => {
      ended = sessions
    },
    endFuture: () => {
      ended = Number.MAX_SAFE_INTEGER
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

describe('sessions and where identities come from', () => {
  afterEach(() => vi.unstubAllEnvs())

  const keys = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key', AWS_ROLE_ARN: ROLE }

  test('STS is told the session and the external id, once for many calls', async () => {
    await using standIn = await startStandIn()
    const role = { ...keys, MILLRACE_S3_ROLE_EXTERNAL_ID: 'team-7', AWS_ROLE_SESSION_NAME: 'tracking' }
    await using artifacts = await open({ AWS_ENDPOINT_URL: standIn.url, ...role })
    await Promise.all(Array.from({ length: 8 }, () => roundTrip(artifacts)))
    expect(Object.fromEntries(standIn.seen[0]?.form ?? [])).toMatchObject({
      RoleArn: ROLE,
      ExternalId: 'team-7',
      RoleSessionName: 'tracking',
    })
    expect(standIn.seen[0]?.authorization).toContain('Credential=id/')
    expect(standIn.sessions()).toBe(1)
  })

  test('a session that ends is replaced within the call; one that can not be is an error until it can', async () => {
    await using standIn = await startStandIn()
    await using artifacts = await open({ AWS_ENDPOINT_URL: standIn.url, ...keys })
    expect(await roundTrip(artifacts)).toBe('kept')
    standIn.endAll()
    expect(await roundTrip(artifacts)).toBe('kept')
    expect(standIn.sessions()).toBe(2)
    standIn.endFuture()
    await expect(roundTrip(artifacts)).rejects.toMatchObject({
      errorCode: 'PERMISSION_DENIED',
      rawMessage: expect.stringContaining('ExpiredToken'),
    })
    standIn.endAll()
    await expect.poll(() => roundTrip(artifacts).catch(() => 'refused'), { timeout: 10_000, interval: 500 }).toBe('kept')
  })

  test('nothing comes from the process itself', async () => {
    await using mine = await startStandIn()
    await using theirs = await startStandIn()
    await using folder = await tempFolder('poison')
    const poison = { aws_access_key_id: 'poison', aws_secret_access_key: 'poison', region: 'poison-1', endpoint_url: theirs.url }
    const lines = Object.entries(poison).map(([name, value]) => `${name} = ${value}`)
    const file = await replace(join(folder.path, 'file'), `[default]\n${lines.join('\n')}\n[profile poison]\n${lines.join('\n')}\n`)
    for (const [name, value] of Object.entries({
      AWS_PROFILE: 'poison',
      AWS_CONFIG_FILE: file,
      AWS_SHARED_CREDENTIALS_FILE: file,
      AWS_ENDPOINT_URL: theirs.url,
      AWS_ENDPOINT_URL_S3: theirs.url,
      AWS_ENDPOINT_URL_STS: theirs.url,
      AWS_ACCESS_KEY_ID: 'poison',
      AWS_SECRET_ACCESS_KEY: 'poison',
      AWS_SESSION_TOKEN: 'poison',
      AWS_ROLE_ARN: 'arn:aws:iam::1:role/poison',
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
      AWS_REGION: 'poison-1',
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${theirs.url}/poison`,
      AWS_USE_DUALSTACK_ENDPOINT: 'true',
      AWS_MAX_ATTEMPTS: 'poison',
      AWS_RETRY_MODE: 'poison',
    }))
      vi.stubEnv(name, value)
    await using artifacts = await open({ MLFLOW_S3_ENDPOINT_URL: mine.url, AWS_ENDPOINT_URL_STS: mine.url, ...keys })
    expect(await roundTrip(artifacts)).toBe('kept')
    await using bare = await open({ MLFLOW_S3_ENDPOINT_URL: mine.url })
    await expect(roundTrip(bare)).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
    for (const { authorization } of mine.seen) expect(authorization).toMatch(/Credential=(id|ASIA1)\/\d+\/us-east-1\//)
    expect(theirs.seen).toEqual([])
  })

  test('a container’s and a program’s keys are used', async () => {
    await using standIn = await startStandIn()
    await using folder = await tempFolder('program')
    const answer = { AccessKeyId: 'given', SecretAccessKey: 'x', Token: 'token-1', SessionToken: 'token-1', Version: 1 }
    const ends = { Expiration: new Date(Date.now() + 3_600_000).toISOString() }
    const agent = createServer((req, res) => res.end(JSON.stringify({ ...answer, ...ends, Auth: req.headers.authorization })))
    await new Promise<void>(resolve => agent.listen(0, '127.0.0.1', resolve))
    const uri = `http://127.0.0.1:${(agent.address() as AddressInfo).port}/keys`
    const said = await replace(join(folder.path, 'said.json'), JSON.stringify({ ...answer, ...ends }))
    const sections = ['[default]', 'region = eu-west-3', '[profile tool]', `credential_process = cat ${said}`]
    sections.push('[profile role]', `role_arn = ${ROLE}`, 'credential_source = EcsContainer')
    const config = await replace(join(folder.path, 'config'), `${sections.join('\n')}\n`)
    const container = { AWS_CONTAINER_CREDENTIALS_FULL_URI: uri }
    for (const env of [container, { AWS_CONFIG_FILE: config, ...container }, { AWS_CONFIG_FILE: config, AWS_PROFILE: 'tool' }]) {
      await using artifacts = await open({ MLFLOW_S3_ENDPOINT_URL: standIn.url, ...env })
      expect(await roundTrip(artifacts)).toBe('kept')
      expect(standIn.seen.at(-1)?.authorization).toContain('Credential=given/')
    }
    await using assumed = await open({ AWS_ENDPOINT_URL: standIn.url, AWS_CONFIG_FILE: config, AWS_PROFILE: 'role', ...container })
    expect(await roundTrip(assumed)).toBe('kept')
    expect(standIn.seen.at(-1)?.authorization).toContain('Credential=ASIA1/')
    agent.close()
  })
})
