import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'

const api = '/api/2.0/mlflow'

test('requests beyond those that may be in progress are refused for the moment, and probes are answered', async () => {
  await using folder = await tempFolder('busy')
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
    env: { MILLRACE_REQUESTS_MAX: '3' },
  })
  using client = httpClient(server.url)
  const path = `${api}/runs/search`
  const unfinished = Array.from({ length: 3 }, () => beginRequest(server.port, path))
  const refused = await eventually('no further request is taken', async () => {
    const answer = await client.send('POST', path, { experiment_ids: ['0'] })
    return answer.status === 200 ? undefined : answer
  })
  expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1'])
  expect(refused.json()).toMatchObject({ error_code: 'TEMPORARILY_UNAVAILABLE' })
  for (const probe of ['/health', '/version', '/ready']) expect((await client.send('GET', probe)).status).toBe(200)
  for (const request of unfinished) request.destroy()
  await eventually('requests are taken again', async () => {
    const { status } = await client.send('POST', path, { experiment_ids: ['0'] })
    return status === 200 || undefined
  })
})

/** A request whose body does not come. */
function beginRequest(port: number, path: string): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{`)
  return socket
}
