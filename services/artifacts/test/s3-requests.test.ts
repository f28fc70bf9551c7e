import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { bodyOf, generated, text } from '../src/conformance/bodies.ts'
import type { Driver } from '../src/driver.ts'
import type { S3Config } from '../src/drivers/s3/config.ts'
import { openS3Scheme } from '../src/drivers/s3/scheme.ts'
import { s3TestConfig } from './s3-server.ts'

interface Seen {
  line: string
  headers: IncomingHttpHeaders
}

/** A driver whose server only notes what it is asked. */
async function observe(changes: Partial<S3Config>, action: (driver: Driver) => Promise<void>): Promise<Seen[]> {
  const seen: Seen[] = []
  const server = createServer((req, res) => {
    seen.push({ line: `${req.method} ${req.url}`, headers: req.headers })
    req.resume()
    const xml = req.url?.includes('uploads') ? '<R><UploadId>u</UploadId></R>' : '<R><Contents><Key>p/k</Key></Contents></R>'
    const head = { ETag: '"e"', 'Content-Type': 'application/xml', 'Content-Length': xml.length }
    req.once('end', () => res.writeHead(200, head).end(req.method === 'HEAD' ? '' : xml))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl, ...changes })
  try {
    await action(await scheme.open('s3://bucket/p'))
  } finally {
    server.closeAllConnections()
    server.close()
  }
  return seen
}

async function everyCall(driver: Driver): Promise<void> {
  await driver.stat('k')
  await driver.write('k', bodyOf('1'))
  const { body } = await driver.read('k')
  body.resume()
  for await (const _ of driver.list('')) break
  await driver.remove('k')
  await driver.multipart?.start('k', 1)
  await driver.multipart?.complete('k', 'u', [{ partNumber: 1, etag: 'e', url: '' }])
  await driver.multipart?.abort('k', 'u')
  await driver.presign?.download('k', 60)
}

describe('S3 requests', () => {
  test('every call names the expected owner of the bucket', async () => {
    const seen = await observe({ expectedBucketOwner: '123456789012' }, everyCall)
    expect(seen.length).toBeGreaterThanOrEqual(10)
    for (const { line, headers } of seen) expect(headers['x-amz-expected-bucket-owner'], line).toBe('123456789012')
  })

  test.each(['<html>hello</html>', '', '<a/>'])('nothing is absent or removed where %j answers a listing', async page => {
    const server = createServer((req, res) => {
      req.resume()
      res.writeHead(200, { 'Content-Type': 'application/xml' }).end(req.method === 'HEAD' ? undefined : page)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl })
    try {
      const driver = await scheme.open('s3://bucket/p')
      await expect(driver.remove('k')).rejects.toThrow('What answers at the artifact location is not an S3 store')
      await expect(Array.fromAsync(driver.list(''))).rejects.toThrow('What answers at the artifact location is not an S3 store')
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  test('an upload that failed is forgotten by a store that was away and came back without knowing of it at first', async () => {
    const answers = [403, 404, 204]
    const asked: number[] = []
    const server = createServer((req, res) => {
      req.resume()
      if (req.method === 'DELETE') {
        const status = answers[asked.length] ?? 500
        asked.push(status)
        res.writeHead(status).end(status === 404 ? '<Error><Code>NoSuchUpload</Code></Error>' : '')
      } else if (req.method === 'POST') res.end('<R><UploadId>u</UploadId></R>')
      else res.writeHead(403).end()
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl })
    const driver = await scheme.open('s3://bucket/p')
    await expect(driver.write('k', generated(20_000_000))).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
    await expect.poll(() => asked).toEqual(answers)
    server.closeAllConnections()
    server.close()
  })

  test('presigned URLs carry the owner, so that clients need no header for it', async () => {
    await observe({ expectedBucketOwner: '123456789012' }, async driver => {
      const download = await driver.presign?.download('k', 60)
      expect(download?.url).toContain('x-amz-expected-bucket-owner=123456789012')
      const started = await driver.multipart?.start('k', 1)
      expect(started?.parts[0]?.url).toContain('x-amz-expected-bucket-owner=123456789012')
    })
  })

  test('uploads have the extra arguments and a type by name', async () => {
    const uploadExtraArgs = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'key', Metadata: { team: 'a' }, StorageClass: 'STANDARD_IA' }
    const seen = await observe({ uploadExtraArgs }, async driver => {
      await driver.write('k', bodyOf('1'), { contentType: 'text/csv', contentEncoding: 'gzip' })
      await driver.multipart?.start('k.png', 0)
      const { headers } = (await driver.presign?.upload?.('k', 60, 'text/csv')) ?? {}
      expect(headers).toMatchObject({ 'Content-Type': 'text/csv', 'x-amz-server-side-encryption': 'aws:kms', 'x-amz-meta-team': 'a' })
    })
    const expected = {
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-aws-kms-key-id': 'key',
      'x-amz-storage-class': 'STANDARD_IA',
      'x-amz-meta-team': 'a',
    }
    expect(seen[0]?.headers).toMatchObject({ ...expected, 'content-type': 'text/csv', 'content-encoding': 'gzip' })
    expect(seen[1]?.headers).toMatchObject({ ...expected, 'content-type': 'image/png' })
  })

  test('a checksum that is wanted goes with every part, and with the completion; clients make none', async () => {
    const sent: (string | undefined)[] = []
    let completion = ''
    const server = createServer((req, res) => {
      const checksum = req.headers['x-amz-checksum-sha256']?.toString()
      if (req.url?.includes('partNumber=')) sent.push(checksum)
      let body = ''
      req.on('data', chunk => {
        if (req.method === 'POST') body += chunk
      })
      req.once('end', () => {
        if (req.url?.includes('uploadId=') && req.method === 'POST') completion = body
        res.writeHead(200, { ETag: '"e"', ...(checksum ? { 'x-amz-checksum-sha256': checksum } : {}) }).end('<R><UploadId>u</UploadId></R>')
      })
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl, uploadExtraArgs: { ChecksumAlgorithm: 'SHA256' } })
    const driver = await scheme.open('s3://bucket/p')
    await driver.write('k', generated(20 * 1024 * 1024))
    expect(sent).toEqual(Array(3).fill(expect.stringMatching(/^[\w+/]{43}=$/)))
    for (const checksum of sent) expect(completion).toContain(`<ChecksumSHA256>${checksum}</ChecksumSHA256>`)
    const { headers } = (await driver.presign?.upload?.('k', 60, 'text/csv')) ?? {}
    expect(headers).toEqual({ 'Content-Type': 'text/csv' })
    server.closeAllConnections()
    server.close()
  })

  test('a download that is broken off goes on where it was, in the same version', async () => {
    const content = 'abcdefghij'
    const asked: unknown[] = []
    const server = createServer((req, res) => {
      asked.push([req.headers.range, req.headers['if-match']])
      if (asked.length === 1) {
        res.writeHead(200, { ETag: '"v"', 'Content-Length': content.length }).write(content.slice(0, 4))
        setTimeout(() => req.socket.destroy(), 50)
      } else res.writeHead(206, { ETag: '"v"', 'Content-Range': 'bytes 4-9/10', 'Content-Length': 6 }).end(content.slice(4))
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl })
    const { body, length } = await (await scheme.open('s3://bucket/p')).read('k')
    expect([length, await text(body)]).toEqual([10, content])
    expect(asked).toEqual([
      [undefined, undefined],
      ['bytes=4-9', '"v"'],
    ])
    server.closeAllConnections()
    server.close()
  })

  test('unsigned requests carry no signature and offer neither parts nor signed URLs', async () => {
    const seen = await observe({ unsigned: true }, async driver => {
      await driver.write('k', bodyOf('1'))
      expect([driver.multipart, driver.presign]).toEqual([undefined, undefined])
    })
    expect(seen[0]?.headers.authorization).toBeUndefined()
  })

  test.each([
    [403, 'AccessDenied', 'PERMISSION_DENIED'],
    [400, 'EntityTooLarge', 'INVALID_PARAMETER_VALUE'],
  ])('parts that a store answers with %i %s and does not read tell why', async (status, code, errorCode) => {
    const server = createServer((req, res) => void req.resume().once('end', () => res.end('<R><UploadId>u</UploadId></R>')))
    server.on('checkContinue', (req, res) => {
      const head = { 'Content-Type': 'application/xml', Connection: 'close' }
      res.writeHead(status, head).end(`<Error><Code>${code}</Code></Error>`, () => req.socket.destroy())
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl })
    const driver = await scheme.open('s3://bucket/p')
    const length = 20 * 1024 * 1024
    await expect(driver.write('k', generated(length), { length })).rejects.toMatchObject({
      errorCode,
      rawMessage: expect.stringContaining(code),
    })
    server.closeAllConnections()
    server.close()
  })

  test('a server that never answers is given up', async () => {
    const server = createServer(() => undefined)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using scheme = openS3Scheme({ ...s3TestConfig(), endpointUrl, timeoutMs: 300 })
    const driver = await scheme.open('s3://bucket/p')
    await expect(driver.stat('k')).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
    server.closeAllConnections()
    server.close()
  })
})
