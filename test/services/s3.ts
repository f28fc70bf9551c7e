import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { weedVenv } from './install.ts'
import { answers, freePort, start, tempFolder } from './process.ts'

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string
  readonly accessKey: string
  readonly secretKey: string
}

/** SeaweedFS with its S3 gateway: checks signatures, knows multipart uploads and presigned URLs. */
export async function startS3(): Promise<S3Server> {
  const bin = await weedVenv()
  const folder = await tempFolder('s3')
  try {
    const accessKey = 'millrace'
    const secretKey = 'millrace-secret'
    const identities = [{ name: 'test', credentials: [{ accessKey, secretKey }], actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'] }]
    await writeFile(join(folder.path, 's3.json'), JSON.stringify({ identities }))
    const s3 = await freePort()
    const ports: string[] = []
    for (const part of [
      'master.port',
      'master.port.grpc',
      'volume.port',
      'volume.port.grpc',
      'filer.port',
      'filer.port.grpc',
      's3.port.grpc',
    ])
      ports.push(`-${part}=${await freePort()}`)
    const alone = ['-s3.port.iceberg=0', '-s3.port.lance=0', '-filer.localSocket=filer.sock', '-s3.localSocket=s3.sock']
    const server = await start({
      command: join(bin, 'weed'),
      args: ['server', '-ip=127.0.0.1', '-dir=.', '-s3', `-s3.port=${s3}`, '-s3.config=s3.json', '-volume.max=1000', ...ports, ...alone],
      cwd: folder.path,
      ready: () => answers(`http://127.0.0.1:${s3}/`),
    })
    return {
      endpoint: `http://127.0.0.1:${s3}`,
      accessKey,
      secretKey,
      async [Symbol.asyncDispose]() {
        await server.end('SIGKILL')
        await folder[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
}
