import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createContainer, startAzurite } from '../test/services/azure.ts'
import { startVsftpd } from '../test/services/ftp.ts'
import { createGcsBucket, startGcs } from '../test/services/gcs.ts'
import { startHdfs } from '../test/services/hdfs.ts'
import { startMillrace } from '../test/services/millrace.ts'
import { runOk } from '../test/services/process.ts'
import { startSshd } from '../test/services/sftp.ts'
import type { OwnClient } from './own-clients.ts'

type Open = (folder: string) => Promise<OwnClient>

interface Commands {
  /** Sends the file. */
  put: (file: string, origin: string) => Promise<string>
  get: (origin: string) => Promise<string>
}

/** A client that is a command and sends a file of zeros. */
function commands(
  folder: string,
  about: Pick<OwnClient, 'destination' | 'env' | 'origin'>,
  stack: AsyncDisposableStack,
  run: Commands,
): OwnClient {
  const file = join(folder, 'own.bin')
  return {
    ...about,
    async put(size, origin = about.origin ?? '') {
      const handle = await open(file, 'w')
      await handle.truncate(size)
      await handle.close()
      await run.put(file, origin)
    },
    async get(origin = about.origin ?? '') {
      await run.get(origin)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

export const curl = (...args: string[]) => runOk('curl', ['-fsS', '-o', '/dev/null', ...args])

/** By store: curl, and OpenSSH's sftp. */
export const commandClients: Record<string, Open> = {
  azure: async folder => {
    const stack = new AsyncDisposableStack()
    const server = stack.use(await startAzurite())
    const container = await createContainer(server)
    const { origin, pathname } = new URL(server.endpoint)
    const path = `${pathname}/${container.name}/own.bin?${server.sasToken}`
    const about = { destination: `${container.uri}/root`, env: { AZURE_STORAGE_CONNECTION_STRING: server.connectionString }, origin }
    return commands(folder, about, stack, {
      put: (file, to) => curl('-H', 'x-ms-blob-type: BlockBlob', '-T', file, to + path),
      get: from => curl(from + path),
    })
  },
  gcs: async folder => {
    const stack = new AsyncDisposableStack()
    const server = stack.use(await startGcs())
    const bucket = await createGcsBucket(server)
    const object = `storage/v1/b/${bucket.name}/o`
    return commands(folder, { destination: `${bucket.uri}/root`, env: server.env, origin: server.endpoint }, stack, {
      put: (file, to) => curl('-X', 'POST', '-T', file, `${to}/upload/${object}?uploadType=media&name=own.bin`),
      get: from => curl(`${from}/${object}/own.bin?alt=media`),
    })
  },
  ftp: async folder => {
    const stack = new AsyncDisposableStack()
    const { url } = stack.use(await startVsftpd())
    return commands(folder, { destination: `${url}/root`, env: {} }, stack, {
      put: file => curl('-T', file, `${url}/own.bin`),
      get: () => curl(`${url}/own.bin`),
    })
  },
  sftp: async folder => {
    const stack = new AsyncDisposableStack()
    const { port, user, data, keyUrl, privateKeyFile, knownHostsFile } = stack.use(await startSshd())
    const env = { MILLRACE_SFTP_KNOWN_HOSTS: knownHostsFile, MILLRACE_SFTP_PRIVATE_KEY: privateKeyFile }
    const batch = async (line: string) => {
      const file = join(folder, 'batch')
      await writeFile(file, `${line}\n`)
      const options = ['-q', '-P', String(port), '-i', privateKeyFile, '-o', `UserKnownHostsFile=${knownHostsFile}`]
      return runOk('sftp', [...options, '-b', file, `${user}@127.0.0.1`])
    }
    return commands(folder, { destination: `${keyUrl}${data}/root`, env }, stack, {
      put: file => batch(`put -f ${file} ${data}/own.bin`),
      get: () => batch(`get ${data}/own.bin /dev/null`),
    })
  },
  hdfs: async folder => {
    const stack = new AsyncDisposableStack()
    const { nameNodes } = stack.use(await startHdfs())
    const [nameNode = ''] = nameNodes
    const url = (call: string) => `${nameNode}/webhdfs/v1/own.bin?user.name=millrace&op=${call}`
    const env = { MILLRACE_WEBHDFS_URL: nameNode, HADOOP_USER_NAME: 'millrace' }
    return commands(folder, { destination: 'hdfs://cluster/root', env }, stack, {
      put: file => curl('-L', '-T', file, url('CREATE&overwrite=true')),
      get: () => curl('-L', url('OPEN')),
    })
  },
  http: async folder => {
    const stack = new AsyncDisposableStack()
    const artifactsDestination = join(folder, 'other')
    const { url } = stack.use(await startMillrace({ cwd: folder, backendStoreUri: `sqlite:///${folder}/other.db`, artifactsDestination }))
    const path = '/api/2.0/mlflow-artifacts/artifacts'
    return commands(folder, { destination: `${url}${path}/root`, env: {}, origin: url }, stack, {
      put: (file, to) => curl('-T', file, `${to}${path}/own.bin`),
      get: from => curl(`${from}${path}/own.bin`),
    })
  },
}
