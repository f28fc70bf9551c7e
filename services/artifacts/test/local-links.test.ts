import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bodyOf, text } from '../src/conformance/bodies.ts'
import { LocalDriver } from '../src/drivers/local/driver.ts'

const ESCAPE = { errorCode: 'INVALID_PARAMETER_VALUE', rawMessage: 'Invalid path: resolved path is outside the artifact directory' }

describe('local folders', () => {
  let base: string
  let driver: LocalDriver
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), 'millrace-links-'))
    await mkdir(join(base, 'outside/folder'), { recursive: true })
    await mkdir(join(base, 'root/inside'), { recursive: true })
    await writeFile(join(base, 'outside/secret.txt'), 'secret')
    await writeFile(join(base, 'root/inside/a.txt'), 'fine')
    await symlink(join(base, 'outside'), join(base, 'root/out'))
    await symlink(join(base, 'outside/secret.txt'), join(base, 'root/leaf'))
    await symlink(join(base, 'root/inside'), join(base, 'root/in'))
    await symlink(join(base, 'root'), join(base, 'linked-root'))
    driver = new LocalDriver(join(base, 'root'))
  })
  afterAll(() => rm(base, { recursive: true }))

  test('links that lead out are refused for every call', async () => {
    for (const key of ['out/secret.txt', 'leaf', 'out/new/x']) {
      await expect(driver.read(key)).rejects.toMatchObject(ESCAPE)
      await expect(driver.write(key, bodyOf('1'))).rejects.toMatchObject(ESCAPE)
    }
    await expect(driver.stat('out/secret.txt')).rejects.toMatchObject(ESCAPE)
    await expect(driver.remove('out/secret.txt')).rejects.toMatchObject(ESCAPE)
    await expect(driver.list('out').next()).rejects.toMatchObject(ESCAPE)
    expect(await readdir(join(base, 'outside'))).toEqual(['folder', 'secret.txt'])
  })

  test('links that stay inside, and a root that is a link, are followed', async () => {
    expect(await text((await driver.read('in/a.txt')).body)).toBe('fine')
    const linked = new LocalDriver(join(base, 'linked-root'))
    expect(await text((await linked.read('inside/a.txt')).body)).toBe('fine')
    await expect(linked.read('leaf')).rejects.toMatchObject(ESCAPE)
  })

  test('what cannot be looked at is left out of a listing', async () => {
    const folder = join(base, 'root/odd')
    await mkdir(folder)
    await writeFile(join(folder, 'a'), '1')
    await symlink('loop', join(folder, 'loop'))
    await symlink('ping', join(folder, 'pong'))
    await symlink('pong', join(folder, 'ping'))
    await symlink('absent', join(folder, 'dangling'))
    await symlink('x'.repeat(300), join(folder, 'long'))
    expect(await Array.fromAsync(driver.list('odd'))).toEqual([{ name: 'a', isDir: false, sizeBytes: 1 }])
    await expect(driver.read('odd/loop')).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
    await driver.remove('odd')
  })

  test('removing a link leaves what it points to', async () => {
    await symlink(join(base, 'outside/folder'), join(base, 'root/gone'))
    await driver.remove('gone')
    expect(await readdir(join(base, 'outside'))).toContain('folder')
  })

  test('a file in the place of a folder and the reverse are the client’s error', async () => {
    await expect(driver.write('inside/a.txt/b', bodyOf('1'))).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
    await expect(driver.write('inside', bodyOf('1'))).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
    await expect(driver.read('inside/a.txt/b')).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
  })

  test('uploads that lost their process a day ago are removed, fresh ones are left and not shown', async () => {
    const folder = join(base, 'root/uploads')
    await mkdir(folder)
    for (const name of ['.artifact.uploading.old', '.artifact.uploading.new']) await writeFile(join(folder, name), 'x')
    const before = new Date(Date.now() - 25 * 60 * 60 * 1000)
    await utimes(join(folder, '.artifact.uploading.old'), before, before)
    expect((await driver.list('uploads').next()).done).toBe(true)
    expect(await readdir(folder)).toEqual(['.artifact.uploading.new'])
  })
})
