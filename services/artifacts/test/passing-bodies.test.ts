import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { listenOnLoopback } from '../../../test/services/process.ts'
import { digest, generated } from '../src/conformance/bodies.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { openAzureScheme } from '../src/drivers/azure/scheme.ts'
import { openGcsScheme } from '../src/drivers/gcs/scheme.ts'
import { checkS3Config, readS3Config, type S3Config } from '../src/drivers/s3/config.ts'
import { openS3Scheme } from '../src/drivers/s3/scheme.ts'
import { HeldBytes } from '../src/held-bytes.ts'
import { azureConfig } from './azure-server.ts'
import { gcsConfig } from './gcs-server.ts'
import { s3TestConfig } from './s3-server.ts'

const MIB = 1024 * 1024
const LENGTH = 4 * MIB
const FULL = new HeldBytes(0)

type Answering = (message: IncomingMessage, response: ServerResponse, count: number) => void

const refuse = (response: ServerResponse, status: number, code: string) =>
  response
    .writeHead(status, { 'Content-Type': 'application/xml', 'x-ms-error-code': code })
    .end(`<Error><Code>${code}</Code><Message>no</Message></Error>`)

type Open = (endpoint: string, timeoutMs: number) => { scheme: Scheme; root: string }

const openS3 =
  (changes: Partial<S3Config> = {}): Open =>
  (endpointUrl, timeoutMs) => ({
    scheme: openS3Scheme({ ...s3TestConfig(), ...changes, endpointUrl, timeoutMs }, FULL),
    root: 's3://bucket/p',
  })

const openGcsWith =
  (held: HeldBytes): Open =>
  (endpoint, timeoutMs) => ({
    scheme: openGcsScheme({ ...gcsConfig({ STORAGE_EMULATOR_HOST: endpoint }), timeoutMs }, held),
    root: 'gs://bucket/p',
  })
const openGcs = openGcsWith(FULL)

const openAzure: Open = (endpoint, timeoutMs) => {
  const connection = `AccountName=acct;AccountKey=${Buffer.alloc(32).toString('base64')};BlobEndpoint=${endpoint}/acct`
  return {
    scheme: openAzureScheme({ ...azureConfig({ AZURE_STORAGE_CONNECTION_STRING: connection }), timeoutMs }),
    root: 'wasbs://container@acct.blob.core.windows.net/p',
  }
}

/** A driver of a store that is asked whether it wants a body. */
async function withStore(open: Open, answer: Answering, action: (driver: Driver) => Promise<void>, timeoutMs = 20_000): Promise<void> {
  let count = 0
  const server = createServer({ requestTimeout: 0 })
  server.on('checkContinue', (message, response) => answer(message, response, ++count))
  const port = await listenOnLoopback(server)
  const { scheme, root } = open(`http://127.0.0.1:${port}`, timeoutMs)
  try {
    await action(await scheme.open(root))
  } finally {
    await scheme[Symbol.asyncDispose]()
    server.closeAllConnections()
    server.close()
  }
}

const take = async (message: IncomingMessage, response: ServerResponse) => {
  response.writeContinue()
  const taken = await digest(message)
  // Azure's word for a blob that is there.
  response.writeHead(message.headers['x-ms-version'] ? 201 : 200, { ETag: '"e"' }).end('{}')
  return taken
}

describe('bodies that pass through to S3', () => {
  test('go as one PUT of their length, with what is known of them', async () => {
    const heads: IncomingMessage[] = []
    const taken: Promise<unknown>[] = []
    const answer: Answering = (message, response) => {
      heads.push(message)
      taken.push(take(message, response))
    }
    const uploadExtraArgs = { ServerSideEncryption: 'AES256', Metadata: { team: 'a' } }
    await withStore(openS3({ expectedBucketOwner: '123456789012', uploadExtraArgs }), answer, driver =>
      driver.write('k', generated(LENGTH), { length: LENGTH, contentType: 'text/csv', contentEncoding: 'gzip' }),
    )
    expect(heads.map(({ method, url }) => `${method} ${url?.split('?')[0]}`)).toEqual(['PUT /bucket/p/k'])
    expect(heads[0]?.headers).toMatchObject({
      'content-length': String(LENGTH),
      'content-type': 'text/csv',
      'content-encoding': 'gzip',
      'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
      'x-amz-expected-bucket-owner': '123456789012',
      'x-amz-server-side-encryption': 'AES256',
      'x-amz-meta-team': 'a',
    })
    expect(await taken[0]).toEqual(await digest(generated(LENGTH)))
  })

  test('are held when a checksum is wanted of them', async () => {
    const heads: IncomingMessage[] = []
    const answer: Answering = (message, response) => {
      heads.push(message)
      void take(message, response)
    }
    await withStore(openS3({ uploadExtraArgs: { ChecksumAlgorithm: 'SHA256' } }), answer, driver =>
      driver.write('k', generated(LENGTH), { length: LENGTH }),
    )
    expect(heads[0]?.headers['x-amz-checksum-sha256']).toBeDefined()
  })

  test('get new keys while the store has taken nothing of them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-keys-'))
    const file = join(folder, 'credentials')
    const keys = (id: string) => writeFile(file, `[default]\naws_access_key_id = ${id}\naws_secret_access_key = secret of ${id}\n`)
    await keys('OLD')
    const { identity } = checkS3Config(readS3Config({ AWS_SHARED_CREDENTIALS_FILE: file, AWS_CONFIG_FILE: join(folder, 'none') }))
    const used: (string | undefined)[] = []
    const answer: Answering = (message, response) => {
      used.push(/Credential=(\w+)/.exec(message.headers.authorization ?? '')?.[1])
      if (used.at(-1) === 'NEW') void take(message, response)
      else void keys('NEW').then(() => refuse(response, 400, 'ExpiredToken'))
    }
    await withStore(openS3({ identity, credentials: undefined }), answer, driver =>
      driver.write('k', generated(LENGTH), { length: LENGTH }),
    )
    expect(used).toEqual(['OLD', 'NEW'])
    await rm(folder, { recursive: true })
  })
})

test('bodies that pass through to Google Cloud Storage go as one request, with their type', async () => {
  const heads: IncomingMessage[] = []
  const answer: Answering = (message, response) => {
    heads.push(message)
    void take(message, response)
  }
  await withStore(openGcs, answer, driver => driver.write('k', generated(LENGTH), { length: LENGTH, contentType: 'text/csv' }))
  expect(heads.map(({ method, url }) => `${method} ${url}`)).toEqual([
    'POST /upload/storage/v1/b/bucket/o?uploadType=media&name=p%2Fk&fields=size',
  ])
  expect(heads[0]?.headers).toMatchObject({ 'content-length': String(LENGTH), 'content-type': 'text/csv' })
})

test('long bodies pass through to Google Cloud Storage when no size of chunks is configured, though there is room', async () => {
  const lengths: unknown[] = []
  const answer: Answering = (message, response) => {
    lengths.push(message.headers['content-length'])
    void take(message, response)
  }
  const length = 17 * MIB
  await withStore(openGcsWith(new HeldBytes()), answer, driver => driver.write('k', generated(length), { length }))
  expect(lengths).toEqual([String(length)])
})

describe.each([
  { name: 'S3', open: openS3(), outdated: [400, 'ExpiredToken', 'PERMISSION_DENIED'] as const },
  { name: 'Google Cloud Storage', open: openGcs, outdated: [401, 'authError', 'UNAUTHENTICATED'] as const },
  { name: 'Azure', open: openAzure, outdated: [401, 'InvalidAuthenticationInfo', 'UNAUTHENTICATED'] as const },
])('bodies that pass through to $name', ({ open, outdated: [status, code, denied] }) => {
  test('are sent again while the store has taken nothing of them', async () => {
    const answer: Answering = (message, response, count) => {
      if (count === 1) refuse(response, 503, 'SlowDown')
      else if (count === 2) message.socket.destroy()
      else void take(message, response)
    }
    await withStore(open, answer, driver => driver.write('k', generated(LENGTH), { length: LENGTH }))
  })

  test('are sent again by a store that refuses in the breath in which it asks for them', async () => {
    const answer: Answering = (message, response, count) => {
      if (count > 1) return void take(message, response)
      message.socket.cork()
      response.writeContinue()
      refuse(response, 503, 'SlowDown')
      message.socket.uncork()
    }
    await withStore(open, answer, driver => driver.write('k', generated(LENGTH), { length: LENGTH }))
  })

  test('are not sent again once the store has taken something, and can be read to their end', async () => {
    for (const [fail, errorCode] of [
      [(response: ServerResponse) => void refuse(response, 503, 'SlowDown'), 'TEMPORARILY_UNAVAILABLE'],
      [(response: ServerResponse) => void refuse(response, status, code), denied],
      [(response: ServerResponse) => response.socket?.destroy(), 'TEMPORARILY_UNAVAILABLE'],
    ] as const) {
      let calls = 0
      const body = generated(64 * MIB)
      const answer: Answering = (message, response, count) => {
        calls = count
        response.writeContinue()
        message.once('data', () => {
          message.pause()
          fail(response)
        })
      }
      await withStore(open, answer, async driver => {
        await expect(driver.write('k', body, { length: 64 * MIB })).rejects.toMatchObject({ errorCode })
      })
      expect(calls).toBe(1)
      const { length } = await digest(body)
      expect(length).toBeGreaterThan(0)
    }
  })

  test('are refused when they are shorter or longer than announced, before the store has them whole', async () => {
    for (const length of [3 * MIB, 5 * MIB]) {
      let isWhole = false
      const answer: Answering = (message, response) => {
        response.writeContinue()
        message.on('error', () => undefined).resume()
        message.once('end', () => {
          isWhole = true
        })
      }
      await withStore(open, answer, async driver => {
        await expect(driver.write('k', generated(LENGTH), { length })).rejects.toMatchObject({ errorCode: 'CANCELLED' })
      })
      expect(isWhole).toBe(false)
    }
  })

  test('may be slower than the store is allowed to be', async () => {
    const timeoutMs = 300
    const slow = async function* () {
      yield Buffer.alloc(LENGTH / 2)
      await sleep(4 * timeoutMs)
      yield Buffer.alloc(LENGTH / 2)
    }
    const answer: Answering = (message, response) => void take(message, response)
    const body = Readable.from(slow(), { objectMode: false })
    await withStore(open, answer, driver => driver.write('k', body, { length: LENGTH }), timeoutMs)
  })

  test('are given up when the store takes no more, or does not answer', async () => {
    for (const resumes of [true, false]) {
      const answer: Answering = (message, response) => {
        response.writeContinue()
        if (resumes) message.resume()
      }
      await withStore(
        open,
        answer,
        async driver => {
          const writing = driver.write('k', generated(64 * MIB), { length: 64 * MIB })
          await expect(writing).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
        },
        300,
      )
    }
  })
})
