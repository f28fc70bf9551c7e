import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { bodyOf, text } from '../src/conformance/bodies.ts'
import type { Driver } from '../src/driver.ts'
import { openAzureScheme } from '../src/drivers/azure/scheme.ts'
import { azureConfig } from './azure-server.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')

type Answer = (call: IncomingMessage, answer: ServerResponse, count: number) => void

/** A driver whose server answers as told, and what it was asked. */
async function against(answer: Answer, action: (driver: Driver, seen: string[]) => Promise<void>, timeoutSeconds = 5): Promise<void> {
  const seen: string[] = []
  const server = createServer((call, response) => {
    seen.push(`${call.method} ${call.url}`)
    answer(call, response, seen.length)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/acct`
  const config = azureConfig({
    AZURE_STORAGE_CONNECTION_STRING: `AccountName=acct;AccountKey=${KEY};BlobEndpoint=${endpoint}`,
    MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: String(timeoutSeconds),
  })
  await using scheme = openAzureScheme(config)
  try {
    await action(await scheme.open('wasbs://container@acct.blob.core.windows.net/p'), seen)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const refuse =
  (status: number, code: string): Answer =>
  (call, response) => {
    call.resume()
    response.writeHead(status, { 'x-ms-error-code': code, 'x-secret': 'c2VjcmV0' }).end('<Error><Message>signed c2VjcmV0</Message></Error>')
  }

describe('requests to Azure', () => {
  test('what fails in passing is sent again', () => {
    const busyTwice: Answer = (call, response, count) => {
      if (count < 3) return refuse(503, 'ServerBusy')(call, response, count)
      call.resume()
      response.writeHead(201, { etag: '"e"' }).end()
    }
    return against(busyTwice, async (driver, seen) => {
      await driver.write('k', bodyOf('1'))
      expect(seen).toEqual(Array.from({ length: 3 }, () => 'PUT /acct/container/p/k'))
    })
  })

  test('a silent store is given up in time, once', () =>
    against(
      call => call.resume(),
      async (driver, seen) => {
        const begun = Date.now()
        await expect(driver.stat('k')).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
        expect(Date.now() - begun).toBeLessThan(3_000)
        expect(seen).toHaveLength(1)
      },
      1,
    ))

  test('a body that is broken off goes on where it was, in the same version', () => {
    const content = 'abcdefghij'
    const breakOff: Answer = (call, response, count) => {
      if (count === 1) {
        response.writeHead(200, { etag: '"v"', 'content-length': content.length }).write(content.slice(0, 4))
        setTimeout(() => call.socket.destroy(), 50)
        return
      }
      expect(call.headers).toMatchObject({ 'x-ms-range': 'bytes=4-9', 'if-match': '"v"' })
      response.writeHead(206, { etag: '"v"', 'content-range': 'bytes 4-9/10', 'content-length': 6 }).end(content.slice(4))
    }
    return against(breakOff, async driver => {
      const { body, length } = await driver.read('k')
      expect([length, await text(body)]).toEqual([10, content])
    })
  })

  test('a body that the store breaks off is an error', () =>
    against(
      (_call, response) => {
        response.writeHead(200, { 'content-length': '100', etag: '"e"' }).write('half')
        setTimeout(() => response.destroy(), 50)
      },
      async driver => {
        const { body } = await driver.read('k')
        await expect(text(body)).rejects.toThrow()
      },
    ))

  test.each([
    [403, 'AuthenticationFailed', 'UNAUTHENTICATED'],
    [403, 'AuthorizationPermissionMismatch', 'PERMISSION_DENIED'],
    [403, 'BlobImmutableDueToPolicy', 'PERMISSION_DENIED'],
    [404, 'ContainerNotFound', 'RESOURCE_DOES_NOT_EXIST'],
    [409, 'BlobArchived', 'RESOURCE_CONFLICT'],
    [409, 'ParentPathIsNotADirectory', 'INVALID_PARAMETER_VALUE'],
    [412, 'LeaseIdMissing', 'RESOURCE_CONFLICT'],
    [413, 'RequestBodyTooLarge', 'INVALID_PARAMETER_VALUE'],
    [429, '', 'TEMPORARILY_UNAVAILABLE'],
    [500, 'OperationTimedOut', 'DEADLINE_EXCEEDED'],
    [500, 'InternalError', 'INTERNAL_ERROR'],
    [409, 'AccountLimitExceeded', 'TEMPORARILY_UNAVAILABLE'],
  ])('%d %s is %s', (status, code, errorCode) =>
    against(refuse(status, code), async driver => {
      const error: unknown = await driver.write('k', bodyOf('1')).catch(reason => reason)
      expect(error).toMatchObject({ errorCode })
      expect(inspect(error, { depth: 8 })).not.toContain('c2VjcmV0')
    }),
  )

  test('names that XML can’t hold are decoded, empty pages passed over', () =>
    against(
      (call, response) => {
        const second = call.url?.includes('marker=m')
        const blobs = second
          ? '<Blob><Name Encoded="true">p%2Fx%EF%BF%BFy</Name><Properties><Content-Length>7</Content-Length></Properties></Blob>'
          : ''
        const more = second ? '<NextMarker />' : '<NextMarker>m</NextMarker>'
        response.setHeader('content-type', 'application/xml')
        response.end(`<?xml version="1.0"?><EnumerationResults><Blobs>${blobs}</Blobs>${more}</EnumerationResults>`)
      },
      async driver => {
        const names: string[] = []
        for await (const { name } of driver.list('')) names.push(name)
        expect(names).toEqual(['x\uffffy'])
      },
    ))
})
