import { testBadNetwork } from './bad-network.ts'
import { openAzure } from './sites/azure.ts'

await testBadNetwork('Azure', openAzure)
