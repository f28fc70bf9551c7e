import { createPrivateKey, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { startGcs } from '../../../test/services/gcs.ts'
import { gcsVenv } from '../../../test/services/install.ts'
import { runOk } from '../../../test/services/process.ts'
import { signUrl } from '../src/drivers/gcs/signing.ts'

const SCRIPT = `
import sys, json
from google.cloud.storage._signing import generate_signed_url_v4
from google.oauth2.service_account import Credentials
from urllib.parse import quote
file, bucket, name, method, query, headers, time = sys.argv[1:]
print(generate_signed_url_v4(Credentials.from_service_account_file(file), f"/{bucket}/{quote(name, safe='/~')}", 600,
  api_access_endpoint="https://storage.googleapis.com", method=method, query_parameters=json.loads(query),
  headers=json.loads(headers), _request_timestamp=time))
`

await describeWithServer(
  'fake-gcs-server',
  () => startGcs(),
  server => {
    test.each([
      ['GET', { 'response-content-disposition': `attachment; filename="a'b.txt"` }, {}],
      ['PUT', {}, { 'Content-Type': 'application/json' }],
      ['PUT', {}, {}],
    ] as const)('a %s signed with %j and %j is what Google’s own client signs', async (method, query, headers) => {
      const file = await readFile(server.credentialsFile, 'utf8')
      const { private_key: pem, client_email: email } = JSON.parse(file) as { private_key: string; client_email: string }
      const key = createPrivateKey(pem)
      const signer = { email, sign: async (text: string) => sign('RSA-SHA256', Buffer.from(text), key).toString('hex') }
      const [bucket, name, now] = ['some-bucket', "p/sp ace é+(1)!*'.txt", new Date('2026-05-04T03:02:01Z')]
      const about = { method, endpoint: 'https://storage.googleapis.com', bucket, name, expirationSeconds: 600 }
      const { url } = await signUrl({ ...about, query, headers }, signer, now)
      const args = [server.credentialsFile, bucket, name, method, JSON.stringify(query), JSON.stringify(headers), '20260504T030201Z']
      const theirs = await runOk(join(await gcsVenv(), 'python'), ['-W', 'ignore', '-c', SCRIPT, ...args])
      expect(parsed(url)).toEqual(parsed(theirs.trim()))
    })
  },
)

/** The order of parameters and the writing of what is unreserved are free. */
function parsed(url: string): unknown {
  const { origin, pathname, searchParams } = new URL(url)
  return { origin, pathname, query: Object.fromEntries([...searchParams].sort()) }
}
