import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { DescMethod } from '@bufbuild/protobuf'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { readTestConfig } from '../services/config.ts'
import { type Answer, type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { publicMethods, restCalls } from './contract.ts'
import { expectNothingOpen } from './gauges.ts'
import { Random } from './random.ts'
import { type Request, rawRequest, restRequest, rpcRequest } from './requests.ts'
import { type Known, Values } from './values.ts'

const { soak, seed } = readTestConfig()
const REQUESTS = soak ? 40_000 : 1_200
const AT_ONCE = 8
const MESSAGE_CHARACTERS_MAX = 4_000
const GROWTH_BYTES_MAX = 150 * 1024 * 1024
/** MLflow's own answers of the 5xx kind: what is switched off, isn't there, or is in the wrong state (reference/rest-api.json). */
const MLFLOW_5XX = new Set(['INVALID_STATE', 'FEATURE_DISABLED', 'NOT_IMPLEMENTED'])
/** Words of libraries, of the language and of SQL. */
const FOREIGN =
  /node_modules|node:internal|\bat [\w.<> ]+ \(|\.ts:\d+|SyntaxError|TypeError|RangeError|ECONN|ENOENT|sqlite|SQLITE_|prisma|kysely|pg_|premature EOF|parse binary|Unexpected token|invalid byte sequence|illegal|\bSELECT\b.*\bFROM\b/

interface Sent {
  what: string
  answer: Answer
}

async function site(database: 'sqlite' | 'postgres') {
  await using stack = new AsyncDisposableStack()
  const { path: cwd } = stack.use(await tempFolder('fuzz'))
  const backendStoreUri = database === 'sqlite' ? `sqlite:///${cwd}/mlflow.db` : stack.use(await createDatabase('fuzz')).url
  const server = stack.use(await startMillrace({ cwd, backendStoreUri, artifactsDestination: join(cwd, 'artifacts') }))
  const client = stack.use(httpClient(server.url))
  const opened = stack.move()
  return { server, client, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/** Things to name in requests, made anew from time to time since requests delete them. */
async function makeKnown({ ok, send }: HttpClient): Promise<Known> {
  const api = '/api/2.0/mlflow'
  const { experiment_id } = await ok<{ experiment_id: string }>('POST', `${api}/experiments/create`, {
    name: `e-${randomBytes(6).toString('hex')}`,
  })
  const runIds: string[] = []
  for (let n = 0; n < 3; n++) {
    const { run } = await ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, {
      experiment_id,
      tags: [{ key: 'a', value: 'b' }],
    })
    runIds.push(run.info.run_id)
  }
  await ok('POST', `${api}/runs/log-batch`, {
    run_id: runIds[0],
    metrics: [{ key: 'm', value: 1, timestamp: 1, step: 1 }],
    params: [{ key: 'a', value: 'b' }],
  })
  const { model } = await ok<{ model: { info: { model_id: string } } }>('POST', `${api}/logged-models`, { experiment_id, name: 'm' })
  await send('PUT', `/api/2.0/mlflow-artifacts/artifacts/${experiment_id}/${runIds[0]}/artifacts/f.txt`, 'text')
  await ok('POST', `${api}/runs/delete`, { run_id: runIds[2] })
  return {
    experiment_id: [experiment_id, '0'],
    run_id: runIds,
    run_uuid: runIds,
    model_id: [model.info.model_id],
    metric_key: ['m'],
    key: ['m', 'a'],
    path: ['f.txt'],
  }
}

function check({ what, answer }: Sent): string[] {
  const { status, text } = answer
  const faults: string[] = []
  const json = asJson(text)
  const code = json?.error_code ?? json?.code
  // Connect's own: a method that is not served, and a time that the client gave and that was over from the start.
  const isAsked = code === 'unimplemented' || (code === 'deadline_exceeded' && what.includes('"connect-timeout-ms":"0"'))
  if (status >= 500 && !MLFLOW_5XX.has(String(code)) && !isAsked) faults.push(`status ${status}`)
  if (status >= 400 && FOREIGN.test(text)) faults.push('foreign words')
  if (status >= 400 && text.length > MESSAGE_CHARACTERS_MAX) faults.push(`${text.length} characters of error`)
  return faults.map(fault => `${fault}: ${what} -> ${text.slice(0, 400)}`)
}

function asJson(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}

/** Whether an answer of Connect or gRPC-Web blames the server: internal and unknown errors do. */
function isServersFault({ headers, body }: Answer): boolean {
  const text = body.toString('latin1')
  const status = headers['grpc-status'] ?? /grpc-status: ?(\d+)/.exec(text)?.[1]
  return status === '2' || status === '13' || /"code": ?"(internal|unknown)"/.test(text)
}

async function memoryBytes({ url }: Millrace): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1])
}

for (const database of ['sqlite', 'postgres'] as const) {
  describeWith(
    database === 'postgres' ? ['postgres'] : [],
    `a server on ${database}, sent requests made from its contract with seed ${seed}`,
    () => {
      let opened: Awaited<ReturnType<typeof site>>
      let methods: DescMethod[]
      beforeAll(async () => {
        opened = await site(database)
        methods = await publicMethods()
      })
      afterAll(() => opened[Symbol.asyncDispose]())

      const bombard = async (make: (values: Values, random: Random) => Request, extra: (sent: Sent) => string[] = () => []) => {
        const { client, server } = opened
        const random = new Random(seed)
        const faults: string[] = []
        let warm = 0
        for (let done = 0; done < REQUESTS; ) {
          const values = new Values(random, await makeKnown(client))
          for (let round = 0; round < 50 && done < REQUESTS; round++, done += AT_ONCE) {
            const batch = Array.from({ length: AT_ONCE }, () => make(values, random))
            await Promise.all(
              batch.map(async ({ verb, path, body, headers }) => {
                const what = `${verb} ${path.slice(0, 300)} ${JSON.stringify(headers)} ${body?.subarray(0, 600).toString('latin1') ?? ''}`
                try {
                  const sent = { what, answer: await client.send(verb, path, body, headers) }
                  faults.push(...check(sent), ...extra(sent))
                } catch (reason) {
                  faults.push(`no answer (${reason}): ${what}`)
                }
              }),
            )
          }
          if (warm === 0 && done >= REQUESTS / 2) warm = await memoryBytes(server)
        }
        expect(faults.slice(0, 20)).toEqual([])
        await expectNothingOpen(server.url)
        expect((await memoryBytes(server)) - warm).toBeLessThan(GROWTH_BYTES_MAX)
      }

      test('answers REST with what MLflow might answer', async () => {
        const calls = restCalls(methods)
        await bombard((values, random) => restRequest(random.pick(calls), values, random))
      })

      test('answers requests for bytes with what MLflow might answer', async () => {
        await bombard((values, random) => rawRequest(values, random))
      })

      test('answers Connect and gRPC-Web without a fault of its own', async () => {
        await bombard(
          (values, random) => rpcRequest(random.pick(methods), values, random),
          sent => (isServersFault(sent.answer) ? [`a fault of the server: ${sent.what} -> ${sent.answer.text.slice(0, 300)}`] : []),
        )
      })

      test('is the same process afterwards', async () => {
        const { server } = opened
        expect(await Promise.race([server.process.exited, 'alive'])).toBe('alive')
        expect(server.process.log()).not.toMatch(/not handled| ERROR /)
      })
    },
  )
}
