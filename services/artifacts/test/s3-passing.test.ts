import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { listenOnLoopback } from '../../../test/services/process.ts'
import { digest, generated } from '../src/conformance/bodies.ts'
import type { Driver } from '../src/driver.ts'
import type { S3Config } from '../src/drivers/s3/config.ts'
import { openS3Scheme } from '../src/drivers/s3/scheme.ts'
import { HeldBytes } from '../src/held-bytes.ts'
import { s3TestConfig } from './s3-server.ts'

const MIB = 1024 * 1024
const LENGTH = 4 * MIB
const FULL = new HeldBytes(0)

type Answering = (message: IncomingMessage, response: ServerResponse, count: number) => void

const refuse = (response: ServerResponse, status: number, code: string) =>
  response.writeHead(status, { 'Content-Type': 'application/xml' }).end(`<Error><Code>${code}</Code><Message>no</Message></Error>`)

/** A driver without room for bodies, whose store answers by its requests' heads: one that is answered 200 was asked for its body. */
async function withStore(answer: Answering, action: (driver: Driver) => Promise<void>, changes: Partial<S3Config> = {}): Promise<void> {
  let count = 0
  const server = createServer({ requestTimeout: 0 })
  server.on('checkContinue', (message, response) => answer(message, response, ++count))
  const port = await listenOnLoopback(server)
  await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl: `http://127.0.0.1:${port}`, ...changes }, FULL)
  try {
    await action(await scheme.open('s3://bucket/p'))
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const take = async (message: IncomingMessage, response: ServerResponse) => {
  response.writeContinue()
  const taken = await digest(message)
  response.writeHead(200, { ETag: '"e"' }).end()
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
    await withStore(
      answer,
      driver => driver.write('k', generated(LENGTH), { length: LENGTH, contentType: 'text/csv', contentEncoding: 'gzip' }),
      { expectedBucketOwner: '123456789012', uploadExtraArgs },
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
    await withStore(answer, driver => driver.write('k', generated(LENGTH), { length: LENGTH }), {
      uploadExtraArgs: { ChecksumAlgorithm: 'SHA256' },
    })
    expect(heads[0]?.headers['x-amz-checksum-sha256']).toBeDefined()
  })

  test('are sent again while the store has taken nothing of them', async () => {
    const answer: Answering = (message, response, count) => {
      if (count === 1) refuse(response, 503, 'SlowDown')
      else if (count === 2) message.socket.destroy()
      else void take(message, response)
    }
    await withStore(answer, driver => driver.write('k', generated(LENGTH), { length: LENGTH }))
  })

  test('are not sent again once the store has taken something, and can be read to their end', async () => {
    for (const [fail, errorCode] of [
      [(response: ServerResponse) => void refuse(response, 503, 'SlowDown'), 'TEMPORARILY_UNAVAILABLE'],
      [(response: ServerResponse) => void refuse(response, 400, 'ExpiredToken'), 'PERMISSION_DENIED'],
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
      await withStore(answer, async driver => {
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
      await withStore(answer, async driver => {
        await expect(driver.write('k', generated(LENGTH), { length })).rejects.toMatchObject({ errorCode: 'CANCELLED' })
      })
      expect(isWhole).toBe(false)
    }
  })

  test('may be slower than the store is allowed to be', async () => {
    const timeoutMs = 300
    const slow = async function* () {
      for await (const chunk of generated(LENGTH)) {
        yield chunk
        if (chunk.readUInt32LE() === 10) await sleep(4 * timeoutMs)
      }
    }
    const answer: Answering = (message, response) => void take(message, response)
    const body = Readable.from(slow(), { objectMode: false })
    await withStore(answer, driver => driver.write('k', body, { length: LENGTH }), { timeoutMs })
  })

  test('are given up when the store takes no more, or does not answer', async () => {
    for (const resumes of [true, false]) {
      const answer: Answering = (message, response) => {
        response.writeContinue()
        if (resumes) message.resume()
      }
      await withStore(
        answer,
        async driver => {
          const writing = driver.write('k', generated(64 * MIB), { length: 64 * MIB })
          await expect(writing).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
        },
        { timeoutMs: 300 },
      )
    }
  })
})
