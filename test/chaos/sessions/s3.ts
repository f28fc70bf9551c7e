import { randomBytes } from 'node:crypto'
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { startAnsweringProxy } from '../../services/answering.ts'
import { bucketRole, startS3 } from '../../services/s3.ts'
import type { SessionSite } from './session-site.ts'

const refused = {
  status: 400,
  headers: { 'Content-Type': 'application/xml' },
  body: '<?xml version="1.0"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>',
}

/** A role's sessions by a real STS, which last an hour; a proxy before the store knows those that ended. */
export async function openS3Sessions(): Promise<SessionSite> {
  await using stack = new AsyncDisposableStack()
  const bucket = `sessions-${randomBytes(5).toString('hex')}`
  const server = stack.use(await startS3({ iam: bucketRole({ name: 'Store', bucket }) }))
  const [seen, ended] = [new Set<string>(), new Set<string>()]
  const { port, hostname: host } = new URL(server.endpoint)
  const proxy = stack.use(
    await startAnsweringProxy({ host, port: Number(port) }, ({ headers }) => {
      const session = String(headers['x-amz-security-token'])
      seen.add(session)
      return ended.has(session) ? refused : undefined
    }),
  )
  const credentials = { accessKeyId: server.accessKey, secretAccessKey: server.secretKey }
  const client = new S3Client({ endpoint: server.endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
  stack.defer(() => client.destroy())
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  const opened = stack.move()
  return {
    destination: `s3://${bucket}/root`,
    env: {
      MLFLOW_S3_ENDPOINT_URL: `http://127.0.0.1:${proxy.port}`,
      AWS_ENDPOINT_URL_STS: server.endpoint,
      AWS_ACCESS_KEY_ID: server.accessKey,
      AWS_SECRET_ACCESS_KEY: server.secretKey,
      AWS_ROLE_ARN: 'arn:aws:iam::000000000000:role/Store',
    },
    async end() {
      for (const session of seen) ended.add(session)
    },
    given: () => seen.size,
    refusal: { status: 403, errorCode: 'PERMISSION_DENIED' },
    async contents() {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
      return [...Contents, ...Uploads].flatMap(({ Key }) => Key ?? [])
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
