import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createClient } from '@connectrpc/connect'
import { createDirectTransport } from '@millrace/kit/rpc'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bodyOf, text } from '../src/conformance/bodies.ts'
import { checkHost } from '../src/host-policy.ts'
import { type Artifacts, checkArtifacts, openArtifacts, readArtifacts } from '../src/service.ts'

describe('stores by URI', () => {
  let data: string
  let artifacts: Artifacts
  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'millrace stores -'))
    const flags = { artifactsDestination: data, allowedArtifactFolders: '/tmp' }
    artifacts = await openArtifacts(checkArtifacts(readArtifacts({}, flags)))
  })
  afterAll(async () => {
    await artifacts[Symbol.asyncDispose]()
    await rm(data, { recursive: true })
  })
  const client = () => createClient(ArtifactStoreService, createDirectTransport(artifacts.routes))

  test('one place has many URIs', async () => {
    await artifacts.bytes.write('mlflow-artifacts:/1/run/artifacts#m/q?mark %20.txt', bodyOf('here'))
    for (const uri of [
      'mlflow-artifacts:/#1/run/artifacts/m/q?mark %20.txt',
      'mlflow-artifacts://some-host:5000/1/run#artifacts/m/q?mark %20.txt',
      'http://any/prefix/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts#m/q?mark %20.txt',
      `${data}/1/run/artifacts#m/q?mark %20.txt`,
      `${pathToFileURL(data)}/1/run#artifacts/m/q?mark %20.txt`,
      `${data}#./1//run/artifacts/m/q?mark %20.txt`,
    ]) {
      expect(await text((await artifacts.bytes.read(uri)).body), uri).toBe('here')
    }
    expect(await text((await artifacts.bytes.read(`${data}/1/run/artifacts/m/q?mark %2520.txt`)).body)).toBe('here')
  })

  test('a root may have # in it', async () => {
    for (const root of [`${data}/c#/1`, `${pathToFileURL(data)}/d/1?query#fragment`]) {
      await artifacts.bytes.write(`${root}#a/b.txt`, bodyOf('12'))
      expect(await text((await artifacts.bytes.read(`${root}#a/b.txt`)).body)).toBe('12')
      expect((await client().list({ uri: `${root}#` })).files).toMatchObject([{ path: 'a', isDir: true }])
    }
    const files = await Promise.all(['c#/1/a/b.txt', 'd/1/a/b.txt'].map(file => readFile(join(data, file), 'utf8')))
    expect(files).toEqual(['12', '12'])
    await client().delete({ uri: `${data}/c#/1#` })
    expect(await client().stat({ uri: `${data}/c#/1#` })).toMatchObject({ exists: false })
    expect(await client().stat({ uri: `${data}/c##` })).toMatchObject({ exists: true })
  })

  test('a root is listed, asked for and deleted', async () => {
    const uri = 'mlflow-artifacts:/2/run/artifacts'
    await artifacts.bytes.write(`${uri}#a/b.txt`, bodyOf('12'))
    expect((await client().list({ uri: `${uri}#a` })).files).toMatchObject([{ path: 'b.txt', isDir: false, fileSize: 2n }])
    expect(await client().stat({ uri })).toMatchObject({ exists: true, isDir: true })
    await client().delete({ uri })
    await client().delete({ uri })
    expect(await client().stat({ uri })).toMatchObject({ exists: false })
    await expect(client().delete({ uri: 'mlflow-artifacts:/#.' })).rejects.toMatchObject({ rawMessage: 'Invalid path' })
    expect(await client().capabilities({ uri: '' })).toMatchObject({ multipart: true, presignedDownload: false, scheme: 'file' })
    await expect(client().startMultipart({ uri, numParts: 1 })).resolves.toMatchObject({ received: true })
  })

  test.each([
    [
      'rados://bucket/x',
      /^Could not find a registered artifact repository for: rados:\/\/bucket\/x\. Currently registered schemes are: \[/,
    ],
    ['constructor:/x', /^Could not find a registered artifact repository/],
    ['file:', /names no folder$/],
    ['/tmp/a%00b', /names no folder$/],
    ['s3:///no-bucket', /is not of the form s3:\/\/bucket\/path$/],
    [
      'ftp://u:secret@inside/x',
      /^The tracking server does not connect to artifact location 'ftp:\/\/u:\*\*\*@inside\/x': the 'ftp' scheme/,
    ],
    ['http://169.254.169.254/latest', /^The tracking server does not connect/],
    ['/tmp#../etc/passwd', /^Invalid path$/],
    ['/tmp#a\0b', /^Invalid path$/],
  ])('%s is refused', async (uri, message) => {
    const error = await artifacts.bytes.read(uri).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE', rawMessage: expect.stringMatching(message) })
  })

  test.each([
    ['ftp://files/x', true],
    ['ftp://other@FILES:21/y', true],
    ['ftp://files:2121/x', false],
    ['ftp://evil/@files/x', false],
    ['ftp://evil\\@files/x', false],
    ['sftp://anywhere/x', true],
    ['https://files/x', false],
    ['viewfs://name/x', true],
    ['mlflow-artifacts:/x', true],
    ['s3://anyone/x', true],
  ])('the host of %s is allowed: %s', (uri, allowed) => {
    const policy = { trusted: ['ftp://user:pw@files/root', 'hdfs://name/root'], allowedSchemes: ['sftp'] }
    if (allowed) expect(() => checkHost(uri, policy)).not.toThrow()
    else expect(() => checkHost(uri, policy)).toThrow(/does not connect to artifact location/)
  })
})
