import { beforeAll, expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { startHdfs } from '../services/hdfs.ts'
import { mlflowVenv } from '../services/install.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 480_000

beforeAll(async () => {
  await mlflowVenv()
})

await describeWithServer(
  'hdfs',
  () => startHdfs(),
  ({ nameNodes: [nameNode = ''], contents }) => {
    const { host } = new URL(nameNode)
    const mounts = 'fs.defaultFS=hdfs://cluster,fs.viewfs.mounttable.default.link./mlflow=hdfs://cluster/mlflow'
    test.each([
      ['hdfs://cluster/mlflow', { MILLRACE_WEBHDFS_URL: nameNode }],
      ['hdfs:///mlflow', { MILLRACE_WEBHDFS_URL: nameNode }],
      ['viewfs:///mlflow', { MLFLOW_PYARROW_EXTRA_CONF: mounts, MILLRACE_WEBHDFS_URL: nameNode }],
      [`webhdfs://${host}/mlflow`, {}],
    ])('the Python client with %s behind the server', { timeout: SESSION_TIMEOUT_MS }, async (destination, env) => {
      await storeSession('hdfs', { destination, env: { ...env, HADOOP_USER_NAME: 'millrace' } })
      const left = await contents('/mlflow')
      expect(left.filter(path => path.includes('.artifact.uploading.'))).toEqual([])
    })
  },
)
