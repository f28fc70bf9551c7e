import { once } from 'node:events'
import { mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { readTestConfig } from '../../../test/services/config.ts'
import { eventually, freeze, run, runOk, start } from '../../../test/services/process.ts'
import { type SftpServer, startSshd } from '../../../test/services/sftp.ts'
import { bodyOf, digest, generated, text } from '../src/conformance/bodies.ts'
import type { Driver } from '../src/driver.ts'
import { checkSftpConfig, readSftpConfig } from '../src/drivers/sftp/config.ts'
import { connect } from '../src/drivers/sftp/connect.ts'
import { KeyRing } from '../src/drivers/sftp/credentials.ts'
import { parseSftpUri } from '../src/drivers/sftp/location.ts'
import { SessionPool } from '../src/drivers/sftp/pool.ts'
import { openSftpScheme } from '../src/drivers/sftp/scheme.ts'

type Env = Record<string, string>

const MIB = 1024 * 1024

const check = (env: Env) => checkSftpConfig(readSftpConfig(env))

async function withStore(root: string, env: Env, action: (driver: Driver) => Promise<void>, isTrusted = true): Promise<void> {
  await using scheme = openSftpScheme(check({ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '20', ...env }))
  await action(await scheme.open(root, { isTrusted }))
}

/** A body that waits in the middle until `meanwhile` is done. */
function interrupted(lengthBytes: number, meanwhile: () => Promise<void>): Readable {
  return Readable.from(
    (async function* () {
      yield Buffer.alloc(lengthBytes / 2, 'a')
      await meanwhile()
      yield Buffer.alloc(lengthBytes / 2, 'b')
    })(),
    { objectMode: false },
  )
}

await describeWithServer(
  'sshd',
  () => startSshd(),
  server => {
    const known = { MILLRACE_SFTP_KNOWN_HOSTS: server.knownHostsFile }
    credentialCases(server, known)
    hostKeyCases(server)
    sessionCases(server, known)
    fileCases(server, known)
  },
)

for (const ciphers of ['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com', 'aes256-ctr']) {
  await describeWithServer(
    `sshd with ${ciphers}`,
    () => startSshd({ ciphers }),
    server => {
      test('files go both ways, also when keys change on the way', async () => {
        await withStore(`${server.url}${server.data}`, { MILLRACE_SFTP_KNOWN_HOSTS: server.knownHostsFile }, async driver => {
          await driver.write('big.bin', generated(5 * MIB))
          const { body } = await driver.read('big.bin')
          expect(await digest(body)).toEqual(await digest(generated(5 * MIB)))
        })
      })
    },
  )
}

function credentialCases(server: SftpServer, known: Env): void {
  describe('credentials', () => {
    const works = (root: string, env: Env) =>
      withStore(root, { ...known, ...env }, async driver => expect(await driver.stat('')).toEqual({ isDir: true, sizeBytes: 0 }))
    const refusal = (root: string, env: Env, isTrusted = true) =>
      withStore(root, { ...known, ...env }, driver => driver.stat('').then(() => undefined), isTrusted).catch((error: unknown) => error)
    const root = `${server.keyUrl}${server.data}`

    test('a password of its own, or from the URI, percent-encoded or not', async () => {
      await works(root, { MILLRACE_SFTP_PASSWORD: server.password })
      await works(`${server.url}${server.data}`, {})
      await works(`sftp://${server.user}:wrong@127.0.0.1:${server.port}${server.data}`, { MILLRACE_SFTP_PASSWORD: server.password })
    })

    test('an encrypted key with its passphrase', async () => {
      await works(root, { MILLRACE_SFTP_PRIVATE_KEY: server.encryptedKeyFile, MILLRACE_SFTP_PRIVATE_KEY_PASSPHRASE: server.password })
      const error = await refusal(root, {
        MILLRACE_SFTP_PRIVATE_KEY: server.encryptedKeyFile,
        MILLRACE_SFTP_PRIVATE_KEY_PASSPHRASE: 'wrong',
      })
      expect(error).toMatchObject({ errorCode: 'UNAUTHENTICATED', rawMessage: expect.stringContaining('passphrase') })
    })

    test('an agent', async () => {
      const socket = join(server.folder, 'agent')
      await using _agent = await start({ command: 'ssh-agent', args: ['-D', '-a', socket], cwd: server.folder })
      await eventually('the agent answers', async () => {
        const { code } = await run('ssh-add', ['-q', server.privateKeyFile], { env: { SSH_AUTH_SOCK: socket } })
        return code === 0 || undefined
      })
      await works(root, { SSH_AUTH_SOCK: socket })
      expect(await refusal(root, { SSH_AUTH_SOCK: `${socket}-gone` })).toMatchObject({ errorCode: 'UNAUTHENTICATED' })
      const config = join(server.folder, 'only')
      const only = async (file: string) => {
        await writeFile(config, `IdentitiesOnly yes\nIdentityFile ${file}\n`)
        return { SSH_AUTH_SOCK: socket, MILLRACE_SFTP_CONFIG: config }
      }
      // Encrypted, but the agent has it open.
      await works(root, await only(server.encryptedKeyFile))
      expect(await refusal(root, await only('/another/key'))).toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    })

    test('an alias of the ssh configuration with its key and known hosts', async () => {
      const home = join(server.folder, 'home')
      await mkdir(join(home, '.ssh'), { recursive: true })
      const lines = [
        'Host store',
        'HostName 127.0.0.1',
        `Port ${server.port}`,
        `User ${server.user}`,
        `IdentityFile ${server.privateKeyFile}`,
      ]
      await writeFile(
        join(home, '.ssh/config'),
        `${lines.join('\n')}\nUserKnownHostsFile ${server.knownHostsFile}\nHost far\nProxyJump store\n`,
      )
      await withStore(`sftp://store${server.data}`, { HOME: home }, async driver => {
        await driver.write('alias.txt', bodyOf('x'))
        await driver.remove('alias.txt')
      })
      const far = withStore('sftp://far/x', { HOME: home }, async driver => void (await driver.stat('')))
      await expect(far).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE', rawMessage: expect.stringContaining('ProxyJump') })
    })

    test('none, or wrong ones, are the server’s error, without a secret in it', async () => {
      const none = await refusal(root, {})
      expect(none).toMatchObject({
        errorCode: 'UNAUTHENTICATED',
        rawMessage: 'The server has no password, key or agent for the artifact store',
      })
      const wrong = await refusal(`sftp://${server.user}:hunter2@127.0.0.1:${server.port}/x`, {})
      expect(wrong).toMatchObject({ errorCode: 'UNAUTHENTICATED' })
      expect(String(wrong)).not.toContain('hunter2')
    })

    test('configured secrets are for hosts that the operator named', async () => {
      const untrusted = await refusal(
        root,
        { MILLRACE_SFTP_PASSWORD: server.password, MILLRACE_SFTP_PRIVATE_KEY: server.privateKeyFile },
        false,
      )
      expect(untrusted).toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    })
  })
}

function hostKeyCases(server: SftpServer): void {
  describe('host keys', () => {
    const WRONG = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDbl7QmVRPTAxvUSbdU6eZG7dKLYJ9RtHW5BFRXc6Gzp'
    const name = `[127.0.0.1]:${server.port}`
    const hashed = async () => {
      const file = join(server.folder, 'hashed')
      await writeFile(file, await readFile(server.knownHostsFile))
      await runOk('ssh-keygen', ['-q', '-H', '-f', file])
      return readFile(file, 'utf8')
    }
    const attempt = async (lines: string) => {
      const file = join(server.folder, `known-${Math.random()}`)
      await writeFile(file, lines)
      await withStore(`${server.url}${server.data}`, { MILLRACE_SFTP_KNOWN_HOSTS: file }, async driver => void (await driver.stat('')))
    }

    test('a known one is taken, also hashed, and beside one of another kind', async () => {
      const rsa = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDVU'
      for (const lines of [await hashed(), `${name} ${rsa}\n${name} ${server.hostKey}\n`]) {
        expect(lines).not.toBe('')
        await attempt(lines)
      }
      expect(await hashed()).toMatch(/^\|1\|/)
    })

    test.each([
      ['an unknown one', () => '', /is not in a known_hosts file/],
      ['one of another port', () => `[127.0.0.1]:1 ${server.hostKey}\n`, /is not in a known_hosts file/],
      ['a changed one', () => `${name} ${WRONG}\n`, /is not the one that a known_hosts file/],
      ['a revoked one', () => `${name} ${server.hostKey}\n@revoked * ${server.hostKey}\n`, /is revoked/],
    ])('%s is refused before a password is sent', async (_, lines, message) => {
      const error = await attempt(lines()).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ errorCode: 'PERMISSION_DENIED', rawMessage: expect.stringMatching(message) })
      expect(String(error)).toContain('SHA256:')
      expect(String(error)).not.toContain(server.password)
    })

    test('no known_hosts file at all is no way around it, nor is StrictHostKeyChecking', async () => {
      const file = join(server.folder, 'lax')
      await writeFile(file, 'StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n')
      const lax = withStore(`${server.url}/x`, { MILLRACE_SFTP_CONFIG: file }, async driver => void (await driver.stat('')))
      await expect(lax).rejects.toMatchObject({ errorCode: 'PERMISSION_DENIED' })
    })
  })
}

function sessionCases(server: SftpServer, known: Env): void {
  describe('sessions', () => {
    const root = `${server.url}${server.data}/sessions`
    const left = async () => (await readdir(join(server.data, 'sessions'), { recursive: true }).catch(() => [])).sort()
    const connections = async () => (await run('pgrep', ['-fc', '-u', server.user, 'notty'])).stdout.trim()

    test('a dead session is replaced without the caller noticing', () =>
      withStore(root, known, async driver => {
        await driver.write('a', bodyOf('1'))
        for (let i = 0; i < 3; i++) {
          await server.killSessions()
          expect(await driver.stat('a')).toEqual({ isDir: false, sizeBytes: 1 })
        }
        await server.killSessions()
        await driver.write('b', bodyOf('2'))
        await server.killSessions()
        expect(await text((await driver.read('b')).body)).toBe('2')
        await driver.remove('')
      }))

    test('a session killed in the middle of a write: the write fails, leaves nothing, the next one works', () =>
      withStore(root, known, async driver => {
        await driver.write('kept', bodyOf('old'))
        const body = interrupted(8 * MIB, () => server.killSessions())
        await expect(driver.write('kept', body)).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        expect(await left()).toEqual(['kept'])
        expect(await text((await driver.read('kept')).body)).toBe('old')
        await driver.write('kept', generated(8 * MIB))
        expect((await digest((await driver.read('kept')).body)).length).toBe(8 * MIB)
        await driver.remove('')
      }))

    const cutRead = async (driver: Driver, age: 'old' | 'new', meanwhile = async () => undefined as unknown) => {
      await driver.write('big', generated(32 * MIB))
      const hourAgo = new Date(Date.now() - 3_600_000)
      if (age === 'old') await utimes(join(server.data, 'sessions', 'big'), hourAgo, hourAgo)
      const { body } = await driver.read('big')
      body.on('error', () => undefined)
      await once(body, 'readable')
      await meanwhile()
      await server.killSessions()
      return digest(body)
    }

    test('a session killed in the middle of a read: the body goes on where it was, by another session', () =>
      withStore(root, known, async driver => {
        expect(await cutRead(driver, 'old')).toEqual(await digest(generated(32 * MIB)))
        await driver.remove('')
      }))

    test('a body doesn’t go on in another version, nor where the time wouldn’t tell', () =>
      withStore(root, known, async driver => {
        const replace = () => driver.write('big', generated(32 * MIB))
        await expect(cutRead(driver, 'old', replace)).rejects.toMatchObject({
          rawMessage: expect.stringContaining('changed while it was read'),
        })
        await expect(cutRead(driver, 'new')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        expect(await digest((await driver.read('big')).body)).toEqual(await digest(generated(32 * MIB)))
        await driver.remove('')
      }))

    test('a server that stops answering costs a call its timeout, and is asked again afterwards', () =>
      withStore(root, { ...known, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '2' }, async driver => {
        await driver.write('a', bodyOf('1'))
        await Promise.all((await server.sessions()).map(freeze))
        await expect(driver.stat('a')).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
        await server.killSessions()
        expect(await driver.stat('a')).toEqual({ isDir: false, sizeBytes: 1 })
        await driver.remove('')
      }))

    test('a signal ends a call that the server doesn’t answer', () =>
      withStore(root, known, async driver => {
        await driver.stat('a')
        await Promise.all((await server.sessions()).map(freeze))
        const stop = new AbortController()
        setTimeout(() => stop.abort(), 100)
        await expect(driver.stat('a', stop.signal)).rejects.toMatchObject({ errorCode: 'CANCELLED' })
        await server.killSessions()
      }))

    test('a server that is down is unreachable, and found again', () =>
      withStore(root, known, async driver => {
        await driver.write('a', bodyOf('1'))
        await server.stop()
        await expect(driver.stat('a')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        await expect(driver.write('a', bodyOf('2'))).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        await server.restart()
        expect(await text((await driver.read('a')).body)).toBe('1')
        await driver.remove('')
      }))

    test('connections are bounded, however many roots and calls there are', async () => {
      await using scheme = openSftpScheme(check({ ...known, MILLRACE_SFTP_CONNECTIONS_MAX: '2' }))
      const drivers = await Promise.all(Array.from({ length: 5 }, (_, i) => scheme.open(`${root}/${i}`, { isTrusted: true })))
      await Promise.all(Array.from({ length: 60 }, (_, i) => drivers[i % 5]?.write(`x${i}`, generated(MIB))))
      // Those that were opened are still there.
      expect(await connections()).toBe('2')
      expect((await left()).length).toBe(65)
      await (await scheme.open(root)).remove('')
    })

    test('callers beyond what the connections carry wait, and are told when that takes too long', () =>
      withStore(root, { ...known, MILLRACE_SFTP_CONNECTIONS_MAX: '1', MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '3' }, async driver => {
        await driver.write('a', generated(4 * MIB))
        const reads = await Promise.all(Array.from({ length: 64 }, () => driver.read('a')))
        await expect(driver.stat('a')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        const waiting = driver.stat('a')
        for (const { body } of reads) body.destroy()
        expect(await waiting).toMatchObject({ sizeBytes: 4 * MIB })
        await driver.remove('')
      }))

    test('idle connections are closed', async () => {
      const config = check(known)
      const { endpoint } = parseSftpUri(root)
      let unused = 0
      const open = () => connect(endpoint, config, new KeyRing(undefined))
      await using pool = new SessionPool({ open, sessionsMax: 1, waitMs: 10_000, idleMs: 300, onUnused: () => unused++ })
      const session = await pool.run(undefined, async held => held)
      expect([pool.size, session.isLost]).toEqual([1, false])
      await eventually('the connection is closed', async () => (session.isLost ? true : undefined), 10_000)
      expect([pool.size, unused]).toEqual([0, 1])
    })
  })
}

function fileCases(server: SftpServer, known: Env): void {
  describe('files', () => {
    const ESCAPE = { errorCode: 'INVALID_PARAMETER_VALUE', rawMessage: 'Invalid path: resolved path is outside the artifact directory' }

    test('links that lead out are refused, those inside are followed, removing one leaves what it points to', async () => {
      const base = join(server.data, 'links')
      await mkdir(join(base, 'outside/folder'), { recursive: true })
      await mkdir(join(base, 'root/inside'), { recursive: true })
      await runOk('chown', ['-R', server.user, base])
      await writeFile(join(base, 'outside/secret.txt'), 'secret')
      await writeFile(join(base, 'root/inside/a.txt'), 'fine')
      for (const [to, from] of [
        ['outside', 'root/out'],
        ['outside/secret.txt', 'root/leaf'],
        ['outside/folder', 'root/gone'],
        ['root/inside', 'root/in'],
        ['root', 'linked-root'],
        ['nowhere', 'root/broken'],
      ] as const)
        await symlink(join(base, to), join(base, from))
      await withStore(`${server.url}${base}/root`, known, async driver => {
        for (const key of ['out/secret.txt', 'leaf', 'out/new/x']) {
          await expect(driver.read(key)).rejects.toMatchObject(ESCAPE)
          await expect(driver.write(key, bodyOf('1'))).rejects.toMatchObject(ESCAPE)
        }
        await expect(driver.stat('out/secret.txt')).rejects.toMatchObject(ESCAPE)
        await expect(driver.remove('out/secret.txt')).rejects.toMatchObject(ESCAPE)
        await expect(Array.fromAsync(driver.list('out'))).rejects.toMatchObject(ESCAPE)
        expect(await text((await driver.read('in/a.txt')).body)).toBe('fine')
        expect((await Array.fromAsync(driver.list(''))).map(({ name }) => name)).toEqual(['gone', 'in', 'inside', 'leaf', 'out'])
        await driver.remove('gone')
        await expect(driver.write('inside/a.txt/b', bodyOf('1'))).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
        await expect(driver.write('inside', bodyOf('1'))).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
        await expect(driver.read('inside/a.txt/b')).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
      })
      await withStore(`${server.url}${base}/linked-root`, known, async driver => {
        expect(await text((await driver.read('inside/a.txt')).body)).toBe('fine')
        await expect(driver.read('leaf')).rejects.toMatchObject(ESCAPE)
        await driver.remove('out')
      })
      expect(await readdir(join(base, 'outside'))).toEqual(['folder', 'secret.txt'])
    })

    test('what isn’t a file is not read: a named pipe would never end', async () => {
      await runOk('mkfifo', [join(server.data, 'pipe')])
      await withStore(`${server.url}${server.data}`, known, async driver => {
        await expect(driver.read('pipe')).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        await driver.remove('pipe')
      })
    })

    test('uploads that lost their process a day ago are removed, fresh ones are left and not shown', async () => {
      const folder = join(server.data, 'uploads')
      await mkdir(folder)
      for (const name of ['.artifact.uploading.old', '.artifact.uploading.new']) await writeFile(join(folder, name), 'x')
      await runOk('chown', ['-R', server.user, folder])
      const before = new Date(Date.now() - 25 * 60 * 60 * 1000)
      await utimes(join(folder, '.artifact.uploading.old'), before, before)
      await withStore(`${server.url}${folder}`, known, async driver => {
        expect(await Array.fromAsync(driver.list(''))).toEqual([])
      })
      expect(await readdir(folder)).toEqual(['.artifact.uploading.new'])
    })

    test('a full disk is called full, and nothing is left on it', async context => {
      const folder = join(server.data, 'small')
      await mkdir(folder)
      const mounted = await run('mount', ['-t', 'tmpfs', '-o', `size=1m,uid=${server.user},mode=755`, 'millrace-test', folder])
      if (readTestConfig().ci) expect(mounted.code, 'a small file system can be mounted on CI').toBe(0)
      context.skip(mounted.code !== 0, 'mounting a small file system is not allowed here')
      try {
        await withStore(`${server.url}${folder}`, known, async driver => {
          await driver.write('fits', generated(MIB / 2))
          const writing = driver.write('a/big', generated(4 * MIB))
          await expect(writing).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE', rawMessage: 'The artifact store is full' })
          expect(await readdir(folder, { recursive: true })).toEqual(['fits'])
          await driver.remove('fits')
          await driver.write('a/big', generated(MIB / 2))
        })
      } finally {
        await runOk('umount', ['-l', folder])
      }
    })
  })
}
