import { beforeAll, expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { startHdfs } from '../services/hdfs.ts'
import { mlflowVenv } from '../services/install.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 240_000

beforeAll(async () => {
  await mlflowVenv()
})

await describeWithServer(
  'hdfs',
  () => startHdfs(),
  ({ nameNodes: [nameNode = ''], contents }) => {
    test('the Python client with HDFS behind the server', { timeout: SESSION_TIMEOUT_MS }, async () => {
      const env = { MILLRACE_WEBHDFS_URL: nameNode, HADOOP_USER_NAME: 'millrace' }
      await storeSession('hdfs', { destination: 'hdfs://cluster/mlflow', env })
      const left = await contents('/mlflow')
      expect(left.filter(path => path.includes('.artifact.uploading.'))).toEqual([])
    })
  },
)
