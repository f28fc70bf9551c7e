import type { Env } from '@millrace/kit/config'
import type { Scheme } from '../driver.ts'
import type { HeldBytes } from '../held-bytes.ts'
import { type AzureConfig, checkAzureConfig, readAzureConfig } from './azure/config.ts'
import { openAzureScheme } from './azure/scheme.ts'
import { checkFtpConfig, type FtpConfig, readFtpConfig } from './ftp/config.ts'
import { openFtpScheme } from './ftp/scheme.ts'
import { checkGcsConfig, type GcsConfig, readGcsConfig } from './gcs/config.ts'
import { openGcsScheme } from './gcs/scheme.ts'
import { checkHdfsConfig, type HdfsConfig, readHdfsConfig } from './hdfs/config.ts'
import { openHdfsScheme } from './hdfs/scheme.ts'
import { checkHttpConfig, type HttpConfig, readHttpConfig } from './http/config.ts'
import { openHttpScheme } from './http/scheme.ts'
import { openLocalScheme } from './local/scheme.ts'
import { checkS3Config, readS3Config, type S3Config } from './s3/config.ts'
import { openB2Scheme, openR2Scheme, openS3Scheme } from './s3/scheme.ts'
import { checkSftpConfig, readSftpConfig, type SftpConfig } from './sftp/config.ts'
import { openSftpScheme } from './sftp/scheme.ts'

/** One set of credentials and limits for every kind of store. */
export interface StoreSettings {
  s3: S3Config
  azure: AzureConfig
  gcs: GcsConfig
  ftp: FtpConfig
  sftp: SftpConfig
  hdfs: HdfsConfig
  http: HttpConfig
}

export type RawStoreSettings = ReturnType<typeof readStoreSettings>

export function readStoreSettings(env: Env) {
  return {
    s3: readS3Config(env),
    azure: readAzureConfig(env),
    gcs: readGcsConfig(env),
    ftp: readFtpConfig(env),
    sftp: readSftpConfig(env),
    hdfs: readHdfsConfig(env),
    http: readHttpConfig(env),
  }
}

export function checkStoreSettings(raw: RawStoreSettings): StoreSettings {
  return {
    s3: checkS3Config(raw.s3),
    azure: checkAzureConfig(raw.azure),
    gcs: checkGcsConfig(raw.gcs),
    ftp: checkFtpConfig(raw.ftp),
    sftp: checkSftpConfig(raw.sftp),
    hdfs: checkHdfsConfig(raw.hdfs),
    http: checkHttpConfig(raw.http),
  }
}

/** The schemes that drivers serve, by name in lower case; "" is a plain path. */
export interface Schemes extends AsyncDisposable {
  readonly byName: Readonly<Record<string, Scheme>>
}

export function openSchemes(settings: StoreSettings, held: HeldBytes): Schemes {
  const stack = new AsyncDisposableStack()
  const local = stack.use(openLocalScheme())
  const s3 = stack.use(openS3Scheme(settings.s3, held))
  const r2 = stack.use(openR2Scheme(settings.s3, held))
  const b2 = stack.use(openB2Scheme(settings.s3, held))
  const azure = stack.use(openAzureScheme(settings.azure))
  const gs = stack.use(openGcsScheme(settings.gcs, held))
  const ftp = stack.use(openFtpScheme(settings.ftp))
  const sftp = stack.use(openSftpScheme(settings.sftp))
  const hdfs = stack.use(openHdfsScheme(settings.hdfs))
  const http = stack.use(openHttpScheme(settings.http))
  return {
    byName: {
      '': local,
      file: local,
      s3,
      r2,
      b2,
      wasbs: azure,
      abfss: azure,
      gs,
      ftp,
      sftp,
      hdfs,
      viewfs: hdfs,
      webhdfs: hdfs,
      swebhdfs: hdfs,
      http,
      https: http,
      'mlflow-artifacts': http,
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
