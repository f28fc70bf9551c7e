import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createClient } from '@connectrpc/connect'
import { createDirectTransport } from '@millrace/kit/rpc'
import { ArtifactStoreService, PresignMethod } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createBucket, describeWith } from '../../../test/services/backends.ts'
import { freePort, type TempFolder, tempFolder } from '../../../test/services/process.ts'
import { type S3Server, startS3 } from '../../../test/services/s3.ts'
import { type Certificates, makeCertificates } from '../../../test/services/tls.ts'
import { startToxicProxy } from '../../../test/services/toxic.ts'
import { bodyOf, text } from '../src/conformance/bodies.ts'
import { type Artifacts, checkArtifacts, openArtifacts, readArtifacts } from '../src/service.ts'

const open = async (env: Record<string, string | undefined>, artifactsDestination: string): Promise<Artifacts> =>
  openArtifacts(checkArtifacts(readArtifacts({ AWS_EC2_METADATA_DISABLED: 'true', ...env }, { artifactsDestination })))

const uri = (path: string) => `mlflow-artifacts:/#${path}`

async function roundTrip({ bytes }: Artifacts): Promise<string> {
  await bytes.write(uri('r/x'), bodyOf('kept'))
  return text((await bytes.read(uri('r/x'))).body)
}

const PASSING_BYTES = 1024 * 1024

/** Of a body that passes through where nothing is held. */
async function longRoundTrip({ bytes }: Artifacts): Promise<string> {
  await bytes.write(uri('r/y'), bodyOf('kept'.padEnd(PASSING_BYTES)), { length: PASSING_BYTES })
  return (await text((await bytes.read(uri('r/y'))).body)).trim()
}

const store = ({ routes }: Artifacts) => createClient(ArtifactStoreService, createDirectTransport(routes))

describeWith(['s3'], 'S3 over TLS', () => {
  let folder: TempFolder
  let s3: S3Server
  let certificates: Certificates
  let env: Record<string, string>
  let bucket: string
  beforeAll(async () => {
    folder = await tempFolder('tls')
    certificates = await makeCertificates(folder.path, 'right')
    const port = await freePort()
    s3 = await startS3({ tls: { ...certificates, port } })
    bucket = `s3://tls-${randomBytes(4).toString('hex')}`
    const endpoint = `https://127.0.0.1:${port}`
    const keys = { AWS_ACCESS_KEY_ID: s3.accessKey, AWS_SECRET_ACCESS_KEY: s3.secretKey }
    env = { MLFLOW_S3_ENDPOINT_URL: endpoint, ...keys, MILLRACE_ARTIFACT_HELD_BYTES_MAX: '0' }
  }, 60_000)
  afterAll(async () => {
    await s3?.[Symbol.asyncDispose]()
    await folder?.[Symbol.asyncDispose]()
  })

  test('the authority that AWS_CA_BUNDLE names is trusted', async () => {
    await using artifacts = await open({ ...env, AWS_CA_BUNDLE: certificates.caFile }, bucket)
    for (const trip of [roundTrip, longRoundTrip]) expect(await trip(artifacts)).toBe('kept')
  })

  test('so is the one of the profile', async () => {
    const config = join(folder.path, 'config')
    await writeFile(config, `[profile lab]\nca_bundle = ${certificates.caFile}\n`)
    const profile = { AWS_PROFILE: 'lab', AWS_CONFIG_FILE: config }
    await using artifacts = await open({ ...env, ...profile }, bucket)
    expect(await roundTrip(artifacts)).toBe('kept')
    await writeFile(config, '[profile lab]\nca_bundle = /absent.pem\n')
    await expect(open({ ...env, ...profile }, bucket)).rejects.toThrow("Invalid value for ca_bundle of the AWS profile: '/absent.pem'")
  })

  test('another authority, or none, is refused', async () => {
    const { caFile } = await makeCertificates(folder.path, 'wrong')
    for (const trust of [{ AWS_CA_BUNDLE: caFile }, {}]) {
      await using artifacts = await open({ ...env, ...trust }, bucket)
      for (const trip of [roundTrip, longRoundTrip]) {
        const error: unknown = await trip(artifacts).catch((reason: unknown) => reason)
        expect(error).toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE', rawMessage: expect.stringContaining('No trusted connection') })
      }
    }
  })

  test('MLFLOW_S3_IGNORE_TLS trusts whoever answers', async () => {
    await using artifacts = await open({ ...env, MLFLOW_S3_IGNORE_TLS: 'true' }, bucket)
    for (const trip of [roundTrip, longRoundTrip]) expect(await trip(artifacts)).toBe('kept')
  })
})

describeWith(['s3'], 'S3 at other places', () => {
  test('signed URLs and parts name the public endpoint and hold there', async () => {
    await using bucket = await createBucket('public')
    await using forwarder = await startToxicProxy({ port: Number(new URL(bucket.env.MLFLOW_S3_ENDPOINT_URL ?? '').port) })
    const publicHost = `127.0.0.1:${forwarder.port}`
    await using artifacts = await open({ ...bucket.env, MILLRACE_S3_PUBLIC_ENDPOINT: `http://${publicHost}` }, bucket.uri)
    const client = store(artifacts)

    const upload = await client.presign({ uri: uri('d/up.txt'), method: PresignMethod.PUT })
    expect(new URL(upload.url).host).toBe(publicHost)
    expect((await fetch(upload.url, { method: 'PUT', headers: upload.headers, body: 'by its client' })).status).toBe(200)

    const download = await client.presign({ uri: uri('d/up.txt'), method: PresignMethod.GET })
    expect(new URL(download.url).host).toBe(publicHost)
    expect(await (await fetch(download.url, { headers: download.headers })).text()).toBe('by its client')
    const moved = download.url.replace(publicHost, new URL(bucket.env.MLFLOW_S3_ENDPOINT_URL ?? '').host)
    expect((await fetch(moved)).status).toBe(403)

    const { uploadId, parts } = await client.startMultipart({ uri: uri('d/parts'), numParts: 2 })
    const bodies = [Buffer.alloc(5 * 1024 * 1024, 'a'), Buffer.from('end')]
    const sent = await Promise.all(
      parts.map(async ({ partNumber, url }, i) => {
        expect(new URL(url).host).toBe(publicHost)
        const answer = await fetch(url, { method: 'PUT', body: bodies[i] ?? '' })
        expect(answer.status).toBe(200)
        return { partNumber, etag: answer.headers.get('etag') ?? '', url }
      }),
    )
    await client.completeMultipart({ uri: uri('d/parts'), uploadId, parts: sent })
    expect((await artifacts.bytes.read(uri('d/parts'))).size).toBe(5 * 1024 * 1024 + 3)

    await forwarder.set({ mode: 'refuse' })
    expect(await roundTrip(artifacts)).toBe('kept')
  })

  test.each([
    ['r2', 'account0.r2.cloudflarestorage.com', 'MILLRACE_R2_ENDPOINT_URL'],
    ['r2', 'account0.eu.r2.cloudflarestorage.com', 'MILLRACE_R2_ENDPOINT_URL'],
    ['b2', 's3.us-west-004.backblazeb2.com', 'MILLRACE_B2_ENDPOINT_URL'],
  ])('%s://BUCKET@%s keeps, lists, signs and removes', async (scheme, host, variable) => {
    await using bucket = await createBucket(scheme)
    const { MLFLOW_S3_ENDPOINT_URL: endpoint = '', ...keys } = bucket.env
    const root = `${scheme}://${bucket.uri.slice('s3://'.length)}@${host}/pre/fix`
    await using artifacts = await open({ ...keys, [variable]: endpoint, MLFLOW_S3_ENDPOINT_URL: 'http://127.0.0.1:1' }, root)
    expect(await roundTrip(artifacts)).toBe('kept')
    expect(await bucket.keys()).toEqual(['pre/fix/r/x'])
    const client = store(artifacts)
    expect((await client.list({ uri: uri('r') })).files).toMatchObject([{ path: 'x', fileSize: 4n }])
    const { url } = await client.presign({ uri: uri('r/x') })
    expect(await (await fetch(url)).text()).toBe('kept')
    const { uploadId } = await client.startMultipart({ uri: uri('r/m'), numParts: 1 })
    await client.abortMultipart({ uri: uri('r/m'), uploadId })
    await client.delete({ uri: uri('r') })
    expect(await bucket.keys()).toEqual([])
    await expect(artifacts.bytes.read(`${scheme}://b@other.${host}/x#y`)).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
  })
})

describe('hosts in URIs', () => {
  test.each([
    ['r2://bucket@evil.example/x', 'r2://bucket@account.r2.cloudflarestorage.com/path'],
    ['r2://account.r2.cloudflarestorage.com/x', 'r2://bucket@account.r2.cloudflarestorage.com/path'],
    ['b2://bucket@s3.us-west-004.backblazeb2.com.evil.example/x', 'b2://bucket@s3.region.backblazeb2.com/path'],
    ['b2://bucket@backblazeb2.com/x', 'b2://bucket@s3.region.backblazeb2.com/path'],
  ])('%s is refused as a destination', async (destination, form) => {
    await expect(open({}, destination)).rejects.toThrow(`Allowed: ${form}.`)
  })

  test('Backblaze knows MLflow’s traffic by its name, and the region comes from the host', async () => {
    const seen: IncomingHttpHeaders[] = []
    const server = createServer((req, res) => {
      seen.push(req.headers)
      res.setHeader('ETag', '"e"').end()
      req.resume()
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const keys = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key', AWS_REGION: 'elsewhere-1' }
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using artifacts = await open({ ...keys, MILLRACE_B2_ENDPOINT_URL: endpoint }, 'b2://bucket@s3.eu-central-003.backblazeb2.com')
    await artifacts.bytes.write(uri('x'), bodyOf('1'))
    expect(seen[0]?.['user-agent']).toContain('b2ai-mlflow')
    expect(seen[0]?.authorization).toContain('/eu-central-003/s3/')
    server.closeAllConnections()
    server.close()
  })
})
