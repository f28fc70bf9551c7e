import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { createGcsBucket, startGcs } from '../../../test/services/gcs.ts'
import { gcsVenv } from '../../../test/services/install.ts'
import { runOk } from '../../../test/services/process.ts'
import { bodyOf } from '../src/conformance/bodies.ts'
import type { Driver } from '../src/driver.ts'
import { openGcsScheme } from '../src/drivers/gcs/scheme.ts'
import { gcsConfig } from './gcs-server.ts'

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

const KEY = "sp ace é+(1)!*'.txt"

interface Case {
  method: 'GET' | 'PUT'
  query: Record<string, string>
  headers: Record<string, string>
  sign(driver: Driver): Promise<string | undefined>
}

const CASES: Case[] = [
  {
    method: 'GET',
    query: { 'response-content-disposition': "attachment; filename*=UTF-8''sp%20ace%20%C3%A9%2B%281%29!%2A%27.txt" },
    headers: {},
    sign: async driver => (await driver.presign?.download(KEY, 600))?.url,
  },
  {
    method: 'PUT',
    query: {},
    headers: { 'Content-Type': 'application/json' },
    sign: async driver => (await driver.presign?.upload?.(KEY, 600, 'application/json'))?.url,
  },
]

await describeWithServer(
  'fake-gcs-server',
  () => startGcs(),
  server => {
    test.each(CASES)(
      'a URL to $method with $query and $headers is what Google’s own client signs',
      async ({ method, query, headers, sign }) => {
        const bucket = await createGcsBucket(server)
        const config = gcsConfig({ ...server.env, MILLRACE_GCS_PUBLIC_ENDPOINT: 'https://storage.googleapis.com' })
        await using scheme = openGcsScheme(config)
        const driver = await scheme.open(`${bucket.uri}/p`)
        await driver.write(KEY, bodyOf('1'))
        const url = new URL((await sign(driver)) ?? '')
        const time = url.searchParams.get('X-Goog-Date') ?? ''
        const args = [server.credentialsFile, bucket.name, `p/${KEY}`, method, JSON.stringify(query), JSON.stringify(headers), time]
        const theirs = await runOk(join(await gcsVenv(), 'python'), ['-W', 'ignore', '-c', SCRIPT, ...args])
        expect(parsed(url)).toEqual(parsed(new URL(theirs.trim())))
      },
    )
  },
)

/** The order of parameters and the writing of what is unreserved are free. */
function parsed({ origin, pathname, searchParams }: URL): unknown {
  return { origin, pathname, query: Object.fromEntries([...searchParams].sort()) }
}
