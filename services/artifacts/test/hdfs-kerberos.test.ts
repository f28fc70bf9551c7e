import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { startHdfs } from '../../../test/services/hdfs.ts'
import { kerberosModule, startKdc } from '../../../test/services/kerberos.ts'
import { bodyOf, text } from '../src/conformance/bodies.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { checkHdfsConfig, readHdfsConfig } from '../src/drivers/hdfs/config.ts'
import { openHdfsScheme } from '../src/drivers/hdfs/scheme.ts'

type Env = Record<string, string>

/** A cluster that takes nobody without a ticket, and a user with one. */
async function startSecured() {
  await using stack = new AsyncDisposableStack()
  const kdc = stack.use(await startKdc())
  const { realm, configFile, serviceKeytab: keytab } = kdc
  const hdfs = stack.use(await startHdfs({ kerberos: { realm, configFile, keytab } }))
  await hdfs.command('mode /closed 700')
  // Where the library that negotiates looks for the realm.
  process.env.KRB5_CONFIG = configFile
  const env = {
    MILLRACE_WEBHDFS_URL: hdfs.nameNodes[0] ?? '',
    MILLRACE_KERBEROS_MODULE: await kerberosModule(),
    MLFLOW_KERBEROS_TICKET_CACHE: await kdc.ticketCache('millrace'),
  }
  const moved = stack.move()
  return { kdc, hdfs, env, [Symbol.asyncDispose]: () => moved.disposeAsync() }
}

await describeWithServer('hdfs with kerberos', startSecured, ({ kdc, hdfs, env }) => {
  const openScheme = (changes: Env = {}) => openHdfsScheme(checkHdfsConfig(readHdfsConfig({ ...env, ...changes })))

  testArtifactDriver('hdfs with kerberos', async () => {
    const schemes: Scheme[] = []
    const open = async (path: string, changes: Env = {}) => {
      const scheme = openScheme(changes)
      schemes.push(scheme)
      return scheme.open(`hdfs://${path}`, { isTrusted: true })
    }
    const roots = new WeakMap<Driver, string>()
    let count = 0
    return {
      capabilities: { multipart: true, presign: false },
      async openEmpty() {
        const root = `/suite/root ${count++}`
        const driver = await open(root)
        roots.set(driver, root)
        return driver
      },
      failing: [
        { name: 'no ticket', open: () => open('/x', { MLFLOW_KERBEROS_TICKET_CACHE: '/no/secret' }), codes: ['UNAUTHENTICATED'] },
        { name: 'another principal', open: () => open('/x', { MLFLOW_KERBEROS_USER: 'somebody' }), codes: ['UNAUTHENTICATED'] },
        {
          name: 'no Kerberos at all',
          open: () => open('/x', { MLFLOW_KERBEROS_TICKET_CACHE: '', HADOOP_USER_NAME: 'millrace' }),
          codes: ['UNAUTHENTICATED'],
        },
        { name: 'a folder of another user', open: () => open('/closed'), codes: ['PERMISSION_DENIED'], calls: ['read', 'write', 'list'] },
      ],
      leftovers: driver => hdfs.contents(roots.get(driver) ?? ''),
      async [Symbol.asyncDispose]() {
        for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
      },
    }
  })

  test('a ticket cache that comes, ends and is made anew is noticed without a restart', async () => {
    const cache = await kdc.ticketCache('brief', 3)
    await using scheme = openScheme({ MLFLOW_KERBEROS_TICKET_CACHE: cache, MLFLOW_KERBEROS_USER: 'brief' })
    const open = () => scheme.open('hdfs:///brief', { isTrusted: true })
    await rm(cache)
    await expect((await open()).stat('x')).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    await kdc.ticketCache('brief', 3)
    await (await open()).write('x', bodyOf('1'))
    await sleep(4_000)
    await using late = openScheme({ MLFLOW_KERBEROS_TICKET_CACHE: cache })
    const driver = await late.open('hdfs:///brief', { isTrusted: true })
    await expect(driver.read('x')).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    await kdc.ticketCache('brief')
    expect(await text((await driver.read('x')).body)).toBe('1')
  })

  test('the ticket is not shown to a host that only a client named', async () => {
    await using scheme = openScheme({ MILLRACE_WEBHDFS_URL: '' })
    const root = `webhdfs://${new URL(env.MILLRACE_WEBHDFS_URL).host}/x`
    await expect((await scheme.open(root)).stat('x')).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    expect(await (await scheme.open(root, { isTrusted: true })).stat('x')).toBeUndefined()
  })

  test('a server without the package says which one it needs', async () => {
    await using scheme = openScheme({ MILLRACE_KERBEROS_MODULE: '/nowhere' })
    const opening = async () => scheme.open('hdfs:///x', { isTrusted: true })
    await expect(opening()).rejects.toMatchObject({ errorCode: 'INTERNAL_ERROR', rawMessage: expect.stringContaining("'kerberos'") })
  })
})
