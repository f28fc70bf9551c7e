import { PutObjectCommand } from '@aws-sdk/client-s3'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { createBucket, createDatabase, describeWith } from './backends.ts'
import { readTestConfig } from './config.ts'
import { query } from './postgres.ts'
import { startRedis } from './redis.ts'

describeWith(['postgres'], 'PostgreSQL', () => {
  test('each test gets an empty database of its own', async () => {
    await using database = await createDatabase('services')
    const rows = await query(database.url, "select count(*) as tables from pg_tables where schemaname = 'public'")
    expect(rows).toEqual([{ tables: '0' }])
  })
})

describeWith(['s3'], 'S3', () => {
  test('each test gets an empty bucket of its own', async () => {
    await using bucket = await createBucket('services')
    expect(await bucket.keys()).toEqual([])
    await bucket.client.send(new PutObjectCommand({ Bucket: bucket.uri.slice('s3://'.length), Key: 'a/b', Body: 'x' }))
    expect(await bucket.keys()).toEqual(['a/b'])
  })
})

describeWith(['redis'], 'Redis', () => {
  test('refuses to evict, as job queues need', async () => {
    const redis = new Redis(readTestConfig().redisUrl ?? '')
    expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction'])
    redis.disconnect()
  })

  test('one of its own can be killed, and comes back empty on the same port', async () => {
    await using server = await startRedis()
    const redis = new Redis(server.url)
    redis.on('error', () => {})
    await redis.set('key', 'value')
    await server.kill()
    await server.restart()
    expect(await redis.get('key')).toBeNull()
    redis.disconnect()
  })
})
