import { once } from 'node:events'
import { readdir, symlink, utimes, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { startTlsFtp, startVsftpd } from '../../../test/services/ftp.ts'
import { tempFolder } from '../../../test/services/process.ts'
import { makeCertificates } from '../../../test/services/tls.ts'
import { bodyOf, digest, generated, text } from '../src/conformance/bodies.ts'
import type { Driver, SentPart } from '../src/driver.ts'
import { checkFtpConfig, readFtpConfig } from '../src/drivers/ftp/config.ts'
import { parseFtpUri } from '../src/drivers/ftp/location.ts'
import { openFtpScheme } from '../src/drivers/ftp/scheme.ts'

const check = (env: Record<string, string> = {}) => checkFtpConfig(readFtpConfig(env))

async function withStore(
  root: string,
  env: Record<string, string>,
  action: (driver: Driver) => Promise<void>,
  isTrusted = true,
): Promise<void> {
  await using scheme = openFtpScheme(check({ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '5', ...env }))
  await action(await scheme.open(root, { isTrusted }))
}

describe('FTP locations', () => {
  test.each([
    ['ftp://h', { hostname: 'h', port: 21, credentials: undefined, root: '' }],
    ['FTP://u@h:2121/a//b/?x#y', { hostname: 'h', port: 2121, credentials: { user: 'u', password: '' }, root: '/a/b' }],
    ['ftp://u%40x:p%3A%2F%20@h/a%20b c', { hostname: 'h', port: 21, credentials: { user: 'u@x', password: 'p:/ ' }, root: '/a%20b c' }],
    ['ftp:///x', { hostname: 'localhost', port: 21, credentials: undefined, root: '/x' }],
    ['ftp://u:p@:2121/x', { hostname: 'localhost', port: 2121, credentials: { user: 'u', password: 'p' }, root: '/x' }],
    ['ftp://[::1]:21/', { hostname: '::1', port: 21, credentials: undefined, root: '' }],
  ])('%s', (uri, location) => {
    expect(parseFtpUri(uri)).toEqual(location)
  })

  test.each([
    'ftp:/x',
    'ftp://h:0/x',
    'ftp://h:x/y',
    'ftp://u%0d%0aDELE:secret@h/x',
    'ftp://u:secret%0a@h/x',
    'ftp://u:secret%@h/x',
    'ftp://h/a/../b',
    'ftp://h/a\r\nDELE b',
    'ftp://a\\b/x',
  ])('%s is refused', uri => {
    expect(() => parseFtpUri(uri)).toThrow(/is not of the form ftp:/)
    expect(() => parseFtpUri(uri)).not.toThrow(/secret/)
  })
})

test.each([
  [{ MILLRACE_FTP_TLS: 'maybe' }, 'MILLRACE_FTP_TLS'],
  [{ MILLRACE_FTP_CA_FILE: '/nowhere.pem' }, 'MILLRACE_FTP_CA_FILE'],
  [{ MILLRACE_FTP_CONNECTIONS_MAX: '0' }, 'from 1 to 1024'],
  [{ MILLRACE_FTP_USERNAME: 'u', MILLRACE_FTP_PASSWORD: 'secret\r\nDELE x' }, "MILLRACE_FTP_PASSWORD: '…'"],
  [{ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '0' }, 'MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'],
])('%j is refused with its name and what is allowed', (env, message) => {
  expect(() => check(env)).toThrow(message)
})

await describeWithServer('vsftpd', startVsftpd, server => {
  const { url, folder, port, user, password } = server

  test('a session that died is replaced, for reads and writes', () =>
    withStore(`${url}/dead`, {}, async driver => {
      await driver.write('a', bodyOf('1'))
      for (let i = 0; i < 2; i++) {
        await server.endSessions()
        expect(await text((await driver.read('a')).body)).toBe('1')
        await server.endSessions()
        await driver.write('a', bodyOf('1'))
      }
      await driver.remove('')
    }))

  test('no more connections than configured; who waits too long is told that the store is busy', () =>
    withStore(`${url}/pool`, { MILLRACE_FTP_CONNECTIONS_MAX: '2', MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '1' }, async driver => {
      await Promise.all(Array.from({ length: 12 }, (_, i) => driver.write(`${i}`, generated(1_000_000))))
      const held = [await driver.read('0'), await driver.read('1')]
      await expect(driver.stat('2')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
      for (const { body } of held) body.destroy()
      expect(await driver.stat('2')).toEqual({ isDir: false, sizeBytes: 1_000_000 })
      await driver.remove('')
    }))

  test('joining parts never takes every connection; with a single one there is no multipart', async () => {
    await withStore(`${url}/one`, { MILLRACE_FTP_CONNECTIONS_MAX: '1' }, async driver => expect(driver.multipart).toBeUndefined())
    await withStore(`${url}/joins`, { MILLRACE_FTP_CONNECTIONS_MAX: '2', MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '5' }, async driver => {
      const { multipart } = driver
      const join = async (key: string) => {
        const { uploadId } = (await multipart?.start(key, 2)) ?? { uploadId: '' }
        const parts: SentPart[] = []
        for (const partNumber of [1, 2]) {
          const etag = (await multipart?.receive?.({ uploadId, partNumber }, generated(3_000_000))) ?? ''
          parts.push({ partNumber, etag, url: '' })
        }
        return () => multipart?.complete(key, uploadId, parts)
      }
      const joins = await Promise.all(['a', 'b', 'c', 'd'].map(join))
      await Promise.all(joins.map(complete => complete()))
      for (const key of ['a', 'b', 'c', 'd']) expect(await driver.stat(key)).toEqual({ isDir: false, sizeBytes: 6_000_000 })
      await driver.remove('')
    })
  })

  const cutRead = async (driver: Driver, age: 'old' | 'new', meanwhile = async () => undefined as unknown) => {
    await driver.write('big', generated(20_000_000))
    const hourAgo = new Date(Date.now() - 3_600_000)
    if (age === 'old') await utimes(join(folder, 'cut', 'big'), hourAgo, hourAgo)
    const { body } = await driver.read('big')
    body.on('error', () => undefined)
    await once(body, 'readable')
    await meanwhile()
    await server.endSessions()
    return digest(body)
  }

  test('a session that dies in the middle of a read: the body goes on where it was, by another session', () =>
    withStore(`${url}/cut`, {}, async driver => {
      expect(await cutRead(driver, 'old')).toEqual(await digest(generated(20_000_000)))
      await driver.remove('')
    }))

  test('a body doesn’t go on in another version, nor where the time wouldn’t tell', () =>
    withStore(`${url}/cut`, {}, async driver => {
      const replace = () => driver.write('big', generated(20_000_000))
      await expect(cutRead(driver, 'old', replace)).rejects.toMatchObject({
        rawMessage: expect.stringContaining('changed while it was read'),
      })
      await expect(cutRead(driver, 'new')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
      await driver.remove('')
    }))

  test('a slow reader loses nothing', () =>
    withStore(`${url}/slow`, { MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '1' }, async driver => {
      await driver.write('big', generated(20_000_000))
      const { body } = await driver.read('big')
      await new Promise(resolve => setTimeout(resolve, 3_000))
      expect(await digest(body)).toEqual(await digest(generated(20_000_000)))
      await driver.remove('')
    }))

  test('a key can carry no command', () =>
    withStore(`${url}/safe`, {}, async driver => {
      await driver.write('b', bodyOf('kept'))
      for (const key of ['a\r\nDELE /safe/b', 'a\nDELE /safe/b', 'a\rb']) {
        const refused = { errorCode: 'INVALID_PARAMETER_VALUE', rawMessage: 'Invalid path' }
        await expect(driver.write(key, bodyOf('1'))).rejects.toMatchObject(refused)
        await expect(driver.remove(key)).rejects.toMatchObject(refused)
        await expect(driver.read(key)).rejects.toMatchObject(refused)
      }
      expect(await text((await driver.read('b')).body)).toBe('kept')
      await driver.remove('')
    }))

  test('a link is removed, not what it leads to', () =>
    withStore(`${url}/links`, {}, async driver => {
      await driver.write('kept/x', bodyOf('1'))
      await driver.write('gone/y', bodyOf('2'))
      await symlink('../kept', join(folder, 'links/gone/link'))
      await driver.remove('gone')
      expect(await driver.stat('gone')).toBeUndefined()
      expect(await text((await driver.read('kept/x')).body)).toBe('1')
      await driver.remove('')
    }))

  test('what an upload could not take back is removed from its folder after a day', () =>
    withStore(`${url}/stale`, {}, async driver => {
      await driver.write('f/kept', bodyOf('1'))
      const [old, recent] = ['old', 'recent'].map(name => join(folder, `stale/f/.artifact.uploading.${name}`)) as [string, string]
      for (const file of [old, recent]) await writeFile(file, 'half')
      const before = new Date(Date.now() - 25 * 3_600_000)
      await utimes(old, before, before)
      expect(await Array.fromAsync(driver.list('f'))).toEqual([{ name: 'kept', isDir: false, sizeBytes: 1 }])
      expect((await readdir(join(folder, 'stale/f'))).sort()).toEqual(['.artifact.uploading.recent', 'kept'])
      await driver.remove('')
    }))

  test('what is in the way of a write is told, and nothing is left', () =>
    withStore(`${url}/way`, {}, async driver => {
      await driver.write('file', bodyOf('1'))
      await driver.write('folder/x', bodyOf('1'))
      await expect(driver.write('file/x/y', bodyOf('1'))).rejects.toMatchObject({ rawMessage: expect.stringContaining('A file is where') })
      await expect(driver.write('folder', bodyOf('1'))).rejects.toMatchObject({ rawMessage: expect.stringContaining('A folder is where') })
      expect(await readdir(join(folder, 'way'), { recursive: true })).toEqual(['file', 'folder', 'folder/x'])
      await driver.remove('')
    }))

  test('what the server may not do is PERMISSION_DENIED', () =>
    withStore(`${url}/denied`, {}, async driver => {
      await driver.write('x', bodyOf('1'))
      await writeFile(join(folder, 'denied/unreadable'), 'root’s own', { mode: 0o600 })
      await expect(driver.read('unreadable')).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
      await driver.remove('')
    }))

  test('configured credentials are for hosts that the operator named', async () => {
    const env = { MILLRACE_FTP_USERNAME: user, MILLRACE_FTP_PASSWORD: password }
    const root = `ftp://127.0.0.1:${port}/own`
    await withStore(root, env, async driver => {
      await driver.write('x', bodyOf('1'))
      await driver.remove('')
    })
    const asAnonymous = withStore(root, env, async driver => void (await driver.stat('x')), false)
    await expect(asAnonymous).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED' })
  })

  test('a server without TLS is refused when TLS is asked for', async () => {
    const refused = withStore(url, { MILLRACE_FTP_TLS: 'true' }, async driver => void (await driver.stat('x')))
    await expect(refused).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED', rawMessage: expect.not.stringContaining(password) })
  })
})

await describeWithServer('pyftpdlib with TLS', startTlsFtp, ({ url, caFile = '' }) => {
  test('an authority that is not trusted is refused', async () => {
    await using own = await tempFolder('ftp-ca')
    const other = await makeCertificates(own.path, 'other')
    const trusted: Record<string, string>[] = [{ MILLRACE_FTP_CA_FILE: other.caFile }, {}]
    for (const authority of trusted) {
      const refused = withStore(url, { MILLRACE_FTP_TLS: 'true', ...authority }, async driver => void (await driver.stat('x')))
      await expect(refused).rejects.toMatchObject({
        errorCode: 'TEMPORARILY_UNAVAILABLE',
        rawMessage: expect.stringContaining('No trusted'),
      })
    }
    await withStore(url, { MILLRACE_FTP_TLS: 'true', MILLRACE_FTP_CA_FILE: caFile }, async driver => {
      expect(await driver.stat('x')).toBeUndefined()
    })
  })

  test('a server that insists on TLS is not given the password without it', async () => {
    const refused = withStore(url, {}, async driver => void (await driver.stat('x')))
    await expect(refused).rejects.toMatchObject({ rawMessage: expect.not.stringMatching(/p@ss/) })
  })
})

describe('a server that misbehaves', () => {
  const servers: Server[] = []
  afterAll(() => {
    for (const server of servers) server.close()
  })
  /** Answers each command by its verb. */
  const pretend = (replies: Record<string, string>) =>
    new Promise<string>(resolve => {
      const server = createServer(socket => {
        socket.on('error', () => {})
        socket.write(replies.greeting ?? '220 ready\r\n')
        socket.on('data', sent => {
          for (const line of sent.toString().split('\r\n').filter(Boolean)) {
            const reply = replies[line.split(' ')[0] ?? ''] ?? '200 fine'
            if (reply !== '') socket.write(`${reply}\r\n`)
          }
        })
      })
      servers.push(server)
      server.listen(0, '127.0.0.1', () => {
        const address = server.address()
        resolve(typeof address === 'object' && address ? `ftp://127.0.0.1:${address.port}/x` : '')
      })
    })

  test('a data connection to another host is never opened', async () => {
    const root = await pretend({
      USER: '230 in',
      EPSV: '500 no',
      PASV: '227 Entering Passive Mode (192,0,2,7,4,1)',
      SIZE: '213 5',
      CWD: '250 in',
    })
    await withStore(root, {}, async driver => {
      await expect(driver.read('a')).rejects.toMatchObject({ errorCode: 'INTERNAL_ERROR' })
      await expect(driver.write('a', bodyOf('12345'))).rejects.toMatchObject({ errorCode: 'INTERNAL_ERROR' })
    })
  })

  test.each([
    ['DEADLINE_EXCEEDED', 'says nothing', { greeting: '' }],
    ['DEADLINE_EXCEEDED', 'falls silent', { USER: '230 in', SIZE: '' }],
    ['TEMPORARILY_UNAVAILABLE', 'has too many users', { greeting: '421 too many\r\n' }],
    ['TEMPORARILY_UNAVAILABLE', 'goes away', { USER: '230 in', SIZE: '421 bye' }],
    ['INTERNAL_ERROR', 'knows no sizes', { USER: '230 in', SIZE: '502 what' }],
    ['PERMISSION_DENIED', 'denies', { USER: '230 in', SIZE: '550 Permission denied: /home/secret' }],
  ])('%s when it %s', async (errorCode, _name, replies) => {
    const root = await pretend(replies as Record<string, string>)
    await withStore(root, { MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '1' }, async driver => {
      await expect(driver.stat('a')).rejects.toMatchObject({ errorCode, rawMessage: expect.not.stringContaining('secret') })
    })
  })
})
