import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { mlflowVenv } from '../services/install.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { startNginx } from '../services/nginx.ts'
import { freePort, type TempFolder, tempFolder } from '../services/process.ts'
import { python } from './python.ts'

const SESSION_TIMEOUT_MS = 480_000
const SIZES = { MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE: '6000000', MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE: '5242880' }
const FORCED = { ...SIZES, MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD: 'true' }

const KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
const FORWARDED =
  'proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Prefix /mlf;'

await describeWithServer(
  'nginx',
  async () => startNginx(await freePort(), ''),
  () => {
    let folder: TempFolder
    let server: Millrace
    beforeAll(async () => {
      await mlflowVenv()
      folder = await tempFolder('nginx')
      const cwd = folder.path
      const backendStoreUri = `sqlite:///${cwd}/m.db`
      server = await startMillrace({ cwd, backendStoreUri, artifactsDestination: join(cwd, 'store'), args: ['--allowed-hosts', '*'] })
    }, SESSION_TIMEOUT_MS)
    afterAll(async () => {
      await server[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    })

    test.each([
      ['nothing', '', [SIZES, FORCED], 0],
      ['the Host', 'proxy_set_header Host $http_host;', [SIZES], 0],
      ['the Host over kept connections', `${KEPT} proxy_set_header Host $http_host;`, [FORCED], 0],
      ['the scheme only', 'proxy_set_header X-Forwarded-Proto $scheme;', [SIZES], 0],
      ['its own address', FORWARDED, [SIZES], 3],
    ])(
      'behind nginx that passes on %s the Python client logs a large file',
      { timeout: SESSION_TIMEOUT_MS },
      async (_, headers, envs, sent) => {
        await using nginx = await startNginx(server.port, `location /mlf/ { proxy_pass http://up/; ${headers} }`)
        for (const env of envs) {
          const { parts } = JSON.parse(await python('large_file.py', `${nginx.url}/mlf`, { cwd: folder.path, env }))
          expect(parts).toBe(sent)
        }
      },
    )

    test('clients that reach the server by themselves get parts, by whatever name and port', { timeout: SESSION_TIMEOUT_MS }, async () => {
      using client = httpClient(server.url)
      const begin = async (headers: Record<string, string>) => {
        const { status, json, text } = await client.send(
          'POST',
          '/api/2.0/mlflow-artifacts/mpu/create/d',
          { path: 'x', num_parts: 1 },
          headers,
        )
        if (status === 501) {
          expect(text).toContain('"Multipart upload is not supported for the current artifact repository')
          return undefined
        }
        expect(status).toBe(200)
        return (json() as { credentials: { url: string }[] }).credentials[0]?.url.replace(/\/api\/.*/, '')
      }
      const python = { 'User-Agent': 'mlflow-python-client/3.17.2' }
      const own = `127.0.0.1:${server.port}`
      expect(await begin({ Connection: 'keep-alive', Host: 'published:8080', ...python })).toBe('http://published:8080')
      expect(await begin({ Connection: 'close', Host: own })).toBe(`http://${own}`)
      expect(await begin({ Connection: 'close', Host: `name:${server.port}` })).toBe(`http://name:${server.port}`)
      expect(await begin({ Connection: 'close', Host: own, ...python })).toBeUndefined()
      expect(await begin({ Connection: 'close', Host: 'up' })).toBeUndefined()
      expect(await begin({ Connection: 'keep-alive', Host: own, Via: '1.1 front' })).toBeUndefined()
      expect(await begin({ Connection: 'close', Host: 'ml.example', 'X-Forwarded-Proto': 'https' })).toBe('https://ml.example')
      expect(await begin({ Connection: 'close', Host: own, 'X-Forwarded-Proto': 'https' })).toBeUndefined()
      expect(await begin({ Connection: 'close', Host: 'up', 'X-Forwarded-Host': 'ml.example' })).toBe('http://ml.example')
    })
  },
)
