import { testBadNetwork } from './bad-network.ts'
import { openGcs } from './sites/gcs.ts'
import { passingThrough } from './sites/site.ts'

await testBadNetwork('Google Cloud Storage', openGcs)
await testBadNetwork('Google Cloud Storage, with bodies that pass through,', passingThrough(openGcs))
