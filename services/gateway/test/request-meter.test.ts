import { request } from 'node:http'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { expect, test } from 'vitest'
import type { Gateway } from '../src/service.ts'
import { get, post, some, startWith } from './fixture.ts'

const GET_BY_NAME = '/api/2.0/mlflow/experiments/get-by-name?experiment_name=x'
const CREATE = '/api/2.0/mlflow/experiments/create'

/** Value by name and labels, without the version's. */
async function metrics(gateway: Gateway): Promise<Map<string, number>> {
  const { text } = await get(gateway, '/metrics')
  const lines = text.split('\n').filter(line => line.startsWith('mlflow_http_request_'))
  expect(lines.every(line => line.includes('mlflow_version="3.17.2"'))).toBe(true)
  return new Map(
    lines.map(line => [line.slice(0, line.lastIndexOf(' ')).replace(/,?mlflow_version="3.17.2"/, ''), Number(line.split(' ').at(-1))]),
  )
}

test('requests are counted by method and status, with how long they took; probes are not', async () => {
  let isFirst = true
  const experiments = some(ExperimentService, {
    createExperiment: async () => {
      if (isFirst) await new Promise(resolve => setTimeout(resolve, 60))
      isFirst = false
      return { experimentId: '1' }
    },
  })
  await using gateway = await startWith([experiments], { staticPrefix: '/pre' })
  for (const probe of ['/health', '/version', '/ready', '/pre/metrics', '/pre/health'])
    await fetch(`http://127.0.0.1:${gateway.port}${probe}`)
  await post(gateway, CREATE, '{"name": "x"}')
  await post(gateway, CREATE, '{')
  await post(gateway, CREATE, '{"name": "x"}')
  await get(gateway, '/nowhere')
  await get(gateway, GET_BY_NAME)
  const found = await metrics(gateway)
  const count = (method: string, status: number) => found.get(`mlflow_http_request_total{method="${method}",status="${status}"}`)
  expect([count('POST', 200), count('POST', 400), count('GET', 404), count('GET', 501), count('GET', 200)]).toEqual([2, 1, 1, 1, undefined])
  const posted = (name: string, le = '') =>
    found.get(`mlflow_http_request_duration_seconds_${name}{method="POST",status="200"${le && `,le="${le}"`}}`)
  expect([posted('bucket', '10'), posted('bucket', '+Inf'), posted('count')]).toEqual([2, 2, 2])
  expect(posted('bucket', '0.05')).toBeLessThan(2)
  expect(posted('sum')).toBeGreaterThan(0.05)
})

test('a client that goes away unanswered is counted as such', async () => {
  let isCalled: () => void = () => undefined
  const called = new Promise<void>(resolve => {
    isCalled = resolve
  })
  const experiments = some(ExperimentService, {
    createExperiment: () => {
      isCalled()
      return new Promise(() => undefined)
    },
  })
  const gateway = await startWith([experiments])
  const headers = { 'Content-Type': 'application/json' }
  const sent = request({ host: '127.0.0.1', port: gateway.port, method: 'POST', path: CREATE, headers }).on('error', () => undefined)
  sent.end('{"name": "x"}')
  await called
  sent.destroy()
  await expect.poll(async () => (await metrics(gateway)).get('mlflow_http_request_total{method="POST",status="499"}')).toBe(1)
  await gateway[Symbol.asyncDispose]()
})
