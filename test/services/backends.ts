import { hash, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { Client } from 'pg'
import { afterAll, describe, test } from 'vitest'
import { readTestConfig } from './config.ts'
import { query } from './postgres.ts'

const config = readTestConfig()

/** `describe` when every named server is there; otherwise a skipped block that says which one is absent. */
export function describeWith(needs: ('postgres' | 'redis' | 's3')[], name: string, body: () => void): void {
  const there = { postgres: config.postgresUrl, redis: config.redisUrl, s3: config.s3 }
  const absent = needs.filter(need => !there[need])
  if (absent.length === 0) describe(name, body)
  else describe.skip(`${name} [${absent.join(', ')} absent]`, body)
}

/**
 * `describe` with a server that only these tests need, started before and ended after them. Where it can't be had the block is skipped
 * under its name; on CI the file fails instead.
 */
export async function describeWithServer<S extends AsyncDisposable>(
  name: string,
  begin: () => Promise<S>,
  body: (server: S) => void,
): Promise<void> {
  let server: S
  try {
    server = await begin()
  } catch (error) {
    const why = `${name} is absent: ${error instanceof Error ? error.message : String(error)}`
    if (config.ci) throw new Error(`on CI every server must be there\n${why}`)
    console.warn(`${why}\n  its tests are skipped`)
    describe.skip(`${name} [absent]`, () => test('needs the server', () => {}))
    return
  }
  describe(name, () => {
    afterAll(() => server[Symbol.asyncDispose]())
    body(server)
  })
}

export interface Database extends AsyncDisposable {
  readonly url: string
}

/** An empty PostgreSQL database of its own, or one that holds what a file of SQL made. */
export async function createDatabase(area: string, madeBy?: string): Promise<Database> {
  const server = config.postgresUrl
  if (!server) throw new Error('postgres is absent')
  const name = `${area}_${randomBytes(5).toString('hex')}`
  const origin = madeBy === undefined ? 'template1' : await templateOf(server, madeBy)
  await query(`${server}/postgres`, `create database ${name} template ${origin}`)
  return {
    url: `${server}/${name}`,
    async [Symbol.asyncDispose]() {
      await query(`${server}/postgres`, `drop database if exists ${name} with (force)`)
    },
  }
}

/** A database that a file of SQL made, once for the whole run: 64 tables take a second, their copy a tenth. */
async function templateOf(server: string, file: string): Promise<string> {
  const sql = await readFile(file, 'utf8')
  const name = `template_${hash('sha256', sql).slice(0, 16)}`
  const client = new Client({ connectionString: `${server}/postgres` })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('select pg_advisory_lock(1)')
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name])
    if (rowCount === 0) {
      await client.query(`drop database if exists ${name}_new with (force)`)
      await client.query(`create database ${name}_new`)
      await query(`${server}/${name}_new`, sql)
      await client.query(`alter database ${name}_new rename to ${name}`)
    }
    return name
  } finally {
    await client.end()
  }
}

export interface Bucket extends AsyncDisposable {
  readonly uri: string
  readonly client: S3Client
  /** What a server that uses this bucket needs in its environment. */
  readonly env: Record<string, string>
  /** Every key, in order. */
  keys(): Promise<string[]>
  openUploads(): Promise<number>
}

export async function createBucket(area: string, server = config.s3): Promise<Bucket> {
  if (!server) throw new Error('s3 is absent')
  const { endpoint, accessKey, secretKey } = server
  const Name = `${area}-${randomBytes(5).toString('hex')}`
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  })
  await client.send(new CreateBucketCommand({ Bucket: Name }))
  // SeaweedFS makes a bucket's volumes at its first write, which can take seconds.
  await client.send(new PutObjectCommand({ Bucket: Name, Key: 'first', Body: 'first' }))
  await client.send(new DeleteObjectCommand({ Bucket: Name, Key: 'first' }))
  return {
    uri: `s3://${Name}`,
    client,
    env: {
      MLFLOW_S3_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: accessKey,
      AWS_SECRET_ACCESS_KEY: secretKey,
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_REGION: 'us-east-1',
    },
    async keys() {
      const keys: string[] = []
      for (let token: string | undefined; ; ) {
        const page = await client.send(new ListObjectsV2Command({ Bucket: Name, ContinuationToken: token }))
        for (const object of page.Contents ?? []) if (object.Key) keys.push(object.Key)
        token = page.NextContinuationToken
        if (!token) return keys
      }
    },
    async openUploads() {
      return (await client.send(new ListMultipartUploadsCommand({ Bucket: Name }))).Uploads?.length ?? 0
    },
    async [Symbol.asyncDispose]() {
      client.destroy()
    },
  }
}
