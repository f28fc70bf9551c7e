import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TempFolder, tempFolder } from '../../../test/services/process.ts'
import { checkSftpConfig, readSftpConfig } from '../src/drivers/sftp/config.ts'
import { checkHostKey, linesOf, parseKnownHosts } from '../src/drivers/sftp/known-hosts.ts'
import { parseSftpUri } from '../src/drivers/sftp/location.ts'
import { resolveTarget, type Target } from '../src/drivers/sftp/target.ts'

describe('SFTP locations', () => {
  test.each([
    ['sftp://h', { host: 'h', passwords: [] }, '/'],
    ['SFTP://u@H.Example:2222/a//b/?x#y', { host: 'h.example', port: 2222, user: 'u', passwords: [] }, '/a/b'],
    ['sftp://u:a@b:c@h/x%20y', { host: 'h', user: 'u', passwords: ['a@b:c'] }, '/x%20y'],
    ['sftp://u%40d:p%2Fw@h:/x', { host: 'h', user: 'u@d', passwords: ['p%2Fw', 'p/w'] }, '/x'],
    ['sftp://u:100%@h/x', { host: 'h', user: 'u', passwords: ['100%'] }, '/x'],
    ['sftp://[::1]:22/x', { host: '::1', port: 22, passwords: [] }, '/x'],
    ['sftp:///x', { host: 'localhost', passwords: [] }, '/x'],
  ])('%s', (uri, endpoint, root) => {
    expect(parseSftpUri(uri)).toEqual({ endpoint: { port: undefined, user: undefined, ...endpoint }, root })
  })

  test.each(['sftp:/x', 'sftp://u:secret@h:0/x', 'sftp://u:secret@h:70000/x', 'sftp://h:x/y', 'sftp://u:secret@h\\x/y', 'sftp://h/\0'])(
    '%s is refused',
    uri => {
      expect(() => parseSftpUri(uri)).toThrow(/is not of the form sftp:/)
      expect(() => parseSftpUri(uri)).not.toThrow(/secret/)
    },
  )
})

test.each([
  [{ MILLRACE_SFTP_KNOWN_HOSTS: '/nowhere' }, 'MILLRACE_SFTP_KNOWN_HOSTS'],
  [{ MILLRACE_SFTP_CONFIG: '/nowhere' }, 'MILLRACE_SFTP_CONFIG'],
  [{ MILLRACE_SFTP_PRIVATE_KEY: '/nowhere' }, 'a readable file with a private key'],
  [{ MILLRACE_SFTP_CONNECTIONS_MAX: '0' }, 'from 1 to 64'],
  [{ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: 'x' }, 'MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'],
])('%j is refused with its name and what is allowed', (env, message) => {
  expect(() => checkSftpConfig(readSftpConfig(env))).toThrow(message)
})

test('settings have defaults', () => {
  const config = checkSftpConfig(readSftpConfig({ HOME: '/home/u', MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '-1' }))
  expect(config).toMatchObject({ homeFolder: '/home/u', connectionsMax: 4, timeoutMs: 86_400_000 })
  expect(checkSftpConfig({})).toMatchObject({ homeFolder: undefined, timeoutMs: 60_000 })
})

describe('the ssh configuration', () => {
  let folder: TempFolder
  beforeAll(async () => {
    folder = await tempFolder('ssh-config')
    await mkdir(join(folder.path, '.ssh/more'), { recursive: true })
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  async function resolve(uri: string, text: string): Promise<Target> {
    await writeFile(join(folder.path, '.ssh/config'), text)
    const config = { ...checkSftpConfig({}), homeFolder: folder.path, localUser: 'me', agentSocket: '/agent' }
    return resolveTarget(parseSftpUri(uri).endpoint, config)
  }

  test('an alias gives host, port, user and keys; a URI goes before it; the first value counts', async () => {
    const text = `
# a comment
Host other
  User wrong
host=store *.inner !no.inner
  HostName  "%h.example.com"
  User = artifacts
  PORT 2022
  IdentityFile ~/.ssh/store
  IdentityFile "/keys/%r at %h"
Host *
  User late
  Port 1
  IdentityFile none
`
    const home = folder.path
    expect(await resolve('sftp://store/x', text)).toMatchObject({
      hostname: 'store.example.com',
      port: 2022,
      user: 'artifacts',
      identityFiles: [`${home}/.ssh/store`, '/keys/artifacts at store.example.com'],
      hostKeyName: 'store.example.com',
      agentSocket: '/agent',
      identitiesOnly: false,
    })
    expect(await resolve('sftp://u@store:3/x', text)).toMatchObject({ hostname: 'store.example.com', port: 3, user: 'u' })
    expect(await resolve('sftp://no.inner/x', text)).toMatchObject({ hostname: 'no.inner', port: 1, user: 'late', identityFiles: [] })
    expect(await resolve('sftp://h/x', '')).toMatchObject({ hostname: 'h', port: 22, user: 'me', identityFiles: undefined })
  })

  test('files are included, Match goes by name and user, nothing is run', async () => {
    await writeFile(join(folder.path, '.ssh/more/a.conf'), 'Host store\n  Port 2022\nHost elsewhere\n  User wrong\n')
    const text = `
Include more/*.conf
Match host store user ann,bob
  HostName one
Match originalhost store exec "touch ${folder.path}/ran"
  HostName never
Match !host x*
  HostKeyAlias known-as
Match all
  HostName two
  IdentitiesOnly yes
`
    expect(await resolve('sftp://bob@store/x', text)).toMatchObject({ hostname: 'one', port: 2022, hostKeyName: 'known-as' })
    expect(await resolve('sftp://eve@store/x', text)).toMatchObject({ hostname: 'two', port: 2022, identitiesOnly: true })
    expect(await resolve('sftp://xyz/x', text)).toMatchObject({ hostname: 'two', port: 22, user: 'me', hostKeyName: 'two' })
  })

  test.each([
    ['ProxyJump bastion', /by ProxyJump, which artifact locations don't support/],
    ['ProxyCommand nc %h %p', /by ProxyCommand/],
    ['Port many', /no valid port/],
  ])('%s is refused', async (line, message) => {
    await expect(resolve('sftp://store/x', `Host store\n  ${line}\n`)).rejects.toThrow(message)
    expect(await resolve('sftp://other/x', `Host store\n  ${line}\n`)).toMatchObject({ hostname: 'other' })
  })

  test('a proxy may be switched off', async () => {
    expect(await resolve('sftp://store/x', 'Host store\n  ProxyJump none\nHost *\n  ProxyJump bastion\n')).toMatchObject({
      hostname: 'store',
    })
  })
})

describe('known hosts', () => {
  const key = Buffer.from('the key')
  const other = Buffer.from('another')
  const line = (hosts: string, which = key) => `${hosts} ssh-ed25519 ${which.toString('base64')} a comment`
  const verdict = (text: string, host = 'store', port = 22) => checkHostKey(linesOf(parseKnownHosts(text), host, port), key)

  test.each([
    ['known', line('store'), 'store', 22],
    ['known', line('a,store,b'), 'STORE', 22],
    ['known', line('*.example.com,!bad.example.com'), 'x.example.com', 22],
    ['unknown', line('*.example.com,!bad.example.com'), 'bad.example.com', 22],
    ['known', line('[store]:2022'), 'store', 2022],
    ['unknown', line('[store]:2022'), 'store', 22],
    ['known', line('store'), 'store', 2022],
    ['changed', `${line('[store]:2022', other)}\n${line('store')}`, 'store', 2022],
    ['changed', line('store', other), 'store', 22],
    ['known', `${line('store', other)}\n${line('store')}`, 'store', 22],
    ['revoked', `${line('store')}\n@revoked ${line('*')}`, 'store', 22],
    ['revoked', `${line('[store]:2022')}\n@revoked ${line('store')}`, 'store', 2022],
    ['known', `${line('store')}\n@revoked ${line('*', other)}`, 'store', 22],
    ['unknown', `@revoked ${line('*', other)}`, 'store', 22],
    ['unknown', `@cert-authority ${line('*')}`, 'store', 22],
    ['unknown', `# ${line('store')}\n\nstore ssh-ed25519\n|1|MTIz|AAAA= ssh-ed25519 x`, 'store', 22],
  ] as const)('%s: %s', (expected, text, host, port) => {
    expect(verdict(text, host, port)).toBe(expected)
  })
})
