import { once } from 'node:events'
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createByteClient } from '../src/byte-client/client.ts'
import { bodyOf, cutOff, digest, generated, text } from '../src/conformance/bodies.ts'
import { byteHandler } from '../src/http-bytes.ts'
import { type Artifacts, checkArtifacts, openArtifacts, readArtifacts } from '../src/service.ts'

const REFUSED_URL = 'http://127.0.0.1:1'

/** A body without its first bytes, fewer than a chunk. */
function without(count: number, body: Readable): Readable {
  let isFirst = true
  return body.map((chunk: Buffer) => {
    const kept = isFirst ? chunk.subarray(count) : chunk
    isFirst = false
    return kept
  })
}

describe('bytes between processes', () => {
  let data: string
  let artifacts: Artifacts
  let server: Server
  let url: string
  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'millrace-bytes-'))
    artifacts = await openArtifacts(checkArtifacts(readArtifacts({}, { artifactsDestination: data })))
    server = createServer(byteHandler(artifacts.bytes))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(async () => {
    server.closeAllConnections()
    server.close()
    await artifacts[Symbol.asyncDispose]()
    await rm(data, { recursive: true })
  })

  const uri = (path: string) => `mlflow-artifacts:/#${path}`

  test('what one process writes another reads, whole and in ranges', async () => {
    using client = createByteClient(() => url)
    await client.write(uri('d/日本 %23?.bin'), generated(5_000_000))
    const read = await client.read(uri('d/日本 %23?.bin'))
    expect(read).toMatchObject({ length: 5_000_000, size: 5_000_000, start: 0 })
    expect(read.etag).toMatch(/^"/)
    expect(await digest(read.body)).toEqual(await digest(generated(5_000_000)))
    await client.write(uri('small'), bodyOf('0123456789'), { length: 10 })
    const part = await client.read(uri('small'), { range: { start: -4 } })
    expect(part).toMatchObject({ length: 4, size: 10, start: 6 })
    expect(await text(part.body)).toBe('6789')
  })

  test('a replica that refuses connections costs nothing', async () => {
    const turns = [REFUSED_URL, url, REFUSED_URL, url]
    using client = createByteClient(() => turns.shift() ?? url)
    await client.write(uri('turns'), bodyOf('whole'))
    expect(await text((await client.read(uri('turns'))).body)).toBe('whole')
    using lonely = createByteClient(() => REFUSED_URL)
    await expect(lonely.read(uri('turns'))).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
  })

  test('a replica that goes away in the middle costs a small upload nothing', async () => {
    const dying = createServer(req => req.once('data', () => req.socket.destroy()))
    await new Promise<void>(resolve => dying.listen(0, '127.0.0.1', resolve))
    const dyingUrl = `http://127.0.0.1:${(dying.address() as AddressInfo).port}`
    const turns = [dyingUrl, url]
    const avoided: string[] = []
    using client = createByteClient(
      () => turns.shift() ?? dyingUrl,
      gone => avoided.push(gone),
    )
    await client.write(uri('replayed'), bodyOf('whole'), { length: 5 })
    turns.push(url)
    expect(await text((await client.read(uri('replayed'))).body)).toBe('whole')
    expect(avoided).toEqual([dyingUrl])
    await expect(client.write(uri('lost'), generated(10_000_000), { length: 10_000_000 })).rejects.toMatchObject({
      errorCode: 'TEMPORARILY_UNAVAILABLE',
    })
    dying.close()
  })

  test('a replica that goes away in the middle of a download: another one goes on, in the same version', async () => {
    let turn = url
    using client = createByteClient(
      () => turn,
      () => {
        turn = url
      },
    )
    /** What is read of a download whose process dies in the middle, after `meanwhile`. */
    const cut = async (age: 'old' | 'new', meanwhile = async () => undefined as unknown) => {
      await client.write(uri('long'), generated(50_000_000))
      const hourAgo = new Date(Date.now() - 3_600_000)
      if (age === 'old') await utimes(join(data, 'long'), hourAgo, hourAgo)
      const dying = createServer(byteHandler(artifacts.bytes))
      await new Promise<void>(resolve => dying.listen(0, '127.0.0.1', resolve))
      turn = `http://127.0.0.1:${(dying.address() as AddressInfo).port}`
      const { body } = await client.read(uri('long'), { range: { start: 5 } })
      body.on('error', () => undefined)
      await meanwhile()
      const closed = once(dying, 'close')
      dying.close()
      dying.closeAllConnections()
      await closed
      return digest(body)
    }
    expect(await cut('old')).toEqual(await digest(without(5, generated(50_000_000))))
    expect(turn).toBe(url)
    const replace = () => client.write(uri('long'), generated(50_000_001))
    await expect(cut('old', replace)).rejects.toMatchObject({ rawMessage: 'The artifact changed while it was read' })
    await expect(cut('new')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
  })

  test('errors keep their code, words and class', async () => {
    using client = createByteClient(() => url)
    const missing = { errorCode: 'RESOURCE_DOES_NOT_EXIST', rawMessage: "No such artifact: 'none'" }
    await expect(client.read(uri('none'))).rejects.toMatchObject(missing)
    await client.write(uri('e/x'), bodyOf('1'))
    await expect(client.read(uri('e'))).rejects.toMatchObject({ errorClass: 'IS_A_DIRECTORY' })
    await expect(client.read(uri('e/x'), { range: { start: 5 } })).rejects.toMatchObject({ errorClass: 'RANGE_NOT_SATISFIABLE' })
    await expect(client.write(uri('e'), generated(10_000_000))).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
    await expect(client.write(uri('../x'), bodyOf('1'))).rejects.toMatchObject({ rawMessage: 'Invalid path' })
  })

  test('a body that fails and a writer that gives up leave nothing on the other side', async () => {
    using client = createByteClient(() => url)
    await expect(client.write(uri('gone/x'), cutOff(300_000))).rejects.toMatchObject({ errorCode: 'CANCELLED' })
    const stop = new AbortController()
    setTimeout(() => stop.abort(), 50)
    await expect(client.write(uri('gone/y'), generated(1024 ** 3), { signal: stop.signal })).rejects.toMatchObject({
      errorCode: 'CANCELLED',
    })
    await expect.poll(() => readdir(data)).not.toContain('gone')
  })
})
