// Makes a bucket when it isn't there yet. Waits for the S3 server; endpoint and credentials are those of the artifacts service.
// usage: node scripts/create-bucket.mjs BUCKET
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'

const ATTEMPTS_MAX = 60
const PAUSE_MS = 1_000
const THERE = new Set(['BucketAlreadyExists', 'BucketAlreadyOwnedByYou'])

const [Bucket] = process.argv.slice(2)
const client = new S3Client({ endpoint: process.env.MLFLOW_S3_ENDPOINT_URL, forcePathStyle: true, maxAttempts: 1 })
for (let attempt = 1; ; attempt++) {
  try {
    await client.send(new CreateBucketCommand({ Bucket }), { abortSignal: AbortSignal.timeout(5_000) })
    break
  } catch (error) {
    if (THERE.has(error.name)) break
    if (attempt === ATTEMPTS_MAX || error.$metadata?.httpStatusCode === 403) throw error
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
  }
}
console.log(`The bucket ${Bucket} is there`)
