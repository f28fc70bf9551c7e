import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkProfiles, profileOf } from '../src/profiles.ts'

describe('storage profiles', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-profiles-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  async function profiles(written: unknown) {
    const value = join(folder, 'profiles.json')
    await writeFile(value, typeof written === 'string' ? written : JSON.stringify(written))
    return checkProfiles({ value, source: 'MILLRACE_STORAGE_PROFILES' })
  }

  test('the longest prefix of whole segments wins', async () => {
    const settings = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_REGION: 'eu-west-1' }
    const known = await profiles({
      team: { prefixes: ['S3://team/'], settings },
      secret: { prefixes: ['s3://team/secret', 'file:///srv'], settings: {} },
    })
    expect(known[0]?.settings.s3).toMatchObject({ region: 'eu-west-1', credentials: { accessKeyId: 'a' } })
    expect(known[1]?.settings.s3.credentials).toBeUndefined()
    const name = (uri: string) => profileOf(uri, known)?.name
    expect(name('s3://team')).toBe('team')
    expect(name('S3://team/x')).toBe('team')
    expect(name('s3://team/secrets')).toBe('team')
    expect(name('s3://team/secret/1')).toBe('secret')
    expect(name('file:///srv/a')).toBe('secret')
    expect(name('s3://teams/x')).toBeUndefined()
  })

  test.each([
    ['not json', '{"a": "hunter2"'],
    ['not an object', []],
    ['no prefixes', { a: { prefixes: [], settings: {} } }],
    ['an unknown member', { a: { prefixes: ['s3://b'], settings: {}, key: 'hunter2' } }],
    ['a number for a setting', { a: { prefixes: ['s3://b'], settings: { AWS_REGION: 1 } } }],
    ['a path for a prefix', { a: { prefixes: ['/x'], settings: {} } }],
    ['one prefix twice', { a: { prefixes: ['s3://b'], settings: {} }, b: { prefixes: ['s3://b/'], settings: {} } }],
  ])('%s is refused without quoting the file', async (_, written) => {
    const error = await profiles(written).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'ConfigError', message: expect.stringContaining('MILLRACE_STORAGE_PROFILES') })
    expect(String(error)).not.toContain('hunter2')
  })
})
