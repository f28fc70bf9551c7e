/**
 * Parameters of PutObject that `MLFLOW_S3_UPLOAD_EXTRA_ARGS` may hold, by their names in boto's ExtraArgs (the SDK's are the
 * same), each with the request header that carries it. Source: S3 API reference, PutObject.
 */
const HEADERS: Record<string, string> = {
  ACL: 'x-amz-acl',
  CacheControl: 'Cache-Control',
  ChecksumAlgorithm: 'x-amz-sdk-checksum-algorithm',
  ContentDisposition: 'Content-Disposition',
  ContentEncoding: 'Content-Encoding',
  ContentLanguage: 'Content-Language',
  ContentType: 'Content-Type',
  ExpectedBucketOwner: 'x-amz-expected-bucket-owner',
  Expires: 'Expires',
  GrantFullControl: 'x-amz-grant-full-control',
  GrantRead: 'x-amz-grant-read',
  GrantReadACP: 'x-amz-grant-read-acp',
  GrantWriteACP: 'x-amz-grant-write-acp',
  Metadata: 'x-amz-meta-',
  ObjectLockLegalHoldStatus: 'x-amz-object-lock-legal-hold',
  ObjectLockMode: 'x-amz-object-lock-mode',
  ObjectLockRetainUntilDate: 'x-amz-object-lock-retain-until-date',
  RequestPayer: 'x-amz-request-payer',
  ServerSideEncryption: 'x-amz-server-side-encryption',
  StorageClass: 'x-amz-storage-class',
  SSECustomerAlgorithm: 'x-amz-server-side-encryption-customer-algorithm',
  SSECustomerKey: 'x-amz-server-side-encryption-customer-key',
  SSECustomerKeyMD5: 'x-amz-server-side-encryption-customer-key-MD5',
  SSEKMSKeyId: 'x-amz-server-side-encryption-aws-kms-key-id',
  SSEKMSEncryptionContext: 'x-amz-server-side-encryption-context',
  Tagging: 'x-amz-tagging',
  WebsiteRedirectLocation: 'x-amz-website-redirect-location',
}

const DATES = new Set(['Expires', 'ObjectLockRetainUntilDate'])

/** The arguments that every part of a multipart upload and its completion take too. */
const OF_PARTS = ['ExpectedBucketOwner', 'RequestPayer', 'SSECustomerAlgorithm', 'SSECustomerKey', 'SSECustomerKeyMD5']

export const extraArgNames: readonly string[] = Object.keys(HEADERS)

type Args = Readonly<Record<string, unknown>>

/** The arguments as the SDK takes them. */
export function sdkArgs(args: Args): Record<string, unknown> {
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [name, DATES.has(name) ? new Date(String(value)) : value]))
}

/** Of what clients send by themselves to signed URLs: its checksum would be theirs to make. */
export function signedArgs({ ChecksumAlgorithm: _, ...args }: Args): Args {
  return args
}

export function partArgs(args: Args): Record<string, unknown> {
  return Object.fromEntries(Object.entries(args).filter(([name]) => OF_PARTS.includes(name)))
}

/** Headers that a client must send with a presigned PUT that was signed with the arguments. */
export function headersOf(args: Args): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(args)) {
    const header = HEADERS[name]
    if (name === 'Metadata') for (const [key, text] of Object.entries(value as Args)) headers[`x-amz-meta-${key}`] = String(text)
    else if (header) headers[header] = String(value)
  }
  return headers
}
