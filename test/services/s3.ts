import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { weedVenv } from './install.ts'
import { answers, freePort, type Killable, startKillable, tempFolder } from './process.ts'

export interface S3Server extends AsyncDisposable, Killable {
  readonly endpoint: string
  readonly accessKey: string
  readonly secretKey: string
}

export interface S3Identity {
  name: string
  accessKey: string
  secretKey: string
  /** `Admin`, or `Read`, `Write`, `List`, `Tagging`, each for all buckets or with `:BUCKET`. */
  actions: readonly string[]
}

export interface S3Options {
  /** Who may do what; by default one who may do all. */
  identities?: readonly S3Identity[]
  /** Certificate and key files to serve TLS with, on a port beside the plain one. */
  tls?: { certFile: string; keyFile: string; port: number }
  /** Roles and token issuers of its STS, on the same port, as SeaweedFS's `-s3.iam.config` has them. */
  iam?: unknown
}

const OWNER: S3Identity = {
  name: 'test',
  accessKey: 'millrace',
  secretKey: 'millrace-secret',
  actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'],
}

interface BucketRole {
  name: string
  bucket: string
  /** Whose web identities may assume it. */
  provider?: { name: string; config: object }
}

/** A role that may do everything in one bucket, which everybody may assume: `iam` of the options. */
export function bucketRole({ name, bucket, provider }: BucketRole): unknown {
  const version = '2012-10-17'
  const allow = (principal: object, action: string) => ({ Effect: 'Allow', Principal: principal, Action: [action] })
  const trust = [allow({ AWS: '*' }, 'sts:AssumeRole')]
  if (provider) trust.push(allow({ Federated: provider.name }, 'sts:AssumeRoleWithWebIdentity'))
  const resources = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`]
  return {
    sts: {
      tokenDuration: '1h',
      maxSessionLength: '12h',
      issuer: 'test',
      signingKey: randomBytes(32).toString('base64'),
      providers: provider ? [{ ...provider, type: 'oidc', enabled: true }] : [],
    },
    policy: { defaultEffect: 'Deny', storeType: 'memory' },
    roles: [
      {
        roleName: name,
        roleArn: `arn:aws:iam::000000000000:role/${name}`,
        trustPolicy: { Version: version, Statement: trust },
        attachedPolicies: ['Bucket'],
      },
    ],
    policies: [{ name: 'Bucket', document: { Version: version, Statement: [{ Effect: 'Allow', Action: 's3:*', Resource: resources }] } }],
  }
}

/** SeaweedFS with its S3 gateway: checks signatures, knows multipart uploads and presigned URLs. The first identity's keys are shown. */
export async function startS3({ identities: known = [OWNER], tls, iam }: S3Options = {}): Promise<S3Server> {
  const bin = await weedVenv()
  const folder = await tempFolder('s3')
  try {
    const { accessKey, secretKey } = known[0] ?? OWNER
    const identities = known.map(one => ({
      name: one.name,
      credentials: [{ accessKey: one.accessKey, secretKey: one.secretKey }],
      actions: one.actions,
    }))
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
    if (iam) await writeFile(join(folder.path, 'iam.json'), JSON.stringify(iam))
    const more = [
      ...(iam ? ['-s3.iam.config=iam.json'] : []),
      ...(tls ? [`-s3.port.https=${tls.port}`, `-s3.cert.file=${tls.certFile}`, `-s3.key.file=${tls.keyFile}`] : []),
    ]
    const alone = ['-s3.port.iceberg=0', '-s3.port.lance=0', '-filer.localSocket=filer.sock', '-s3.localSocket=s3.sock']
    const server = await startKillable({
      command: join(bin, 'weed'),
      args: [
        'server',
        '-ip=127.0.0.1',
        '-dir=.',
        '-s3',
        `-s3.port=${s3}`,
        '-s3.config=s3.json',
        '-volume.max=1000',
        ...ports,
        ...alone,
        ...more,
      ],
      cwd: folder.path,
      ready: () => answers(`http://127.0.0.1:${s3}/`),
    })
    return {
      endpoint: `http://127.0.0.1:${s3}`,
      accessKey,
      secretKey,
      kill: server.kill,
      begin: server.begin,
      async [Symbol.asyncDispose]() {
        await server.kill()
        await folder[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
}
