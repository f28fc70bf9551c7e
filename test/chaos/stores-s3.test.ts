import { testBadNetwork } from './bad-network.ts'
import { openS3 } from './sites/s3.ts'
import { passingThrough } from './sites/site.ts'

await testBadNetwork('S3', openS3)
await testBadNetwork('S3, with bodies that pass through,', passingThrough(openS3))
