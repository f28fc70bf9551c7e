import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, type HttpClient, httpClient } from '../services/http.ts'

const api = '/api/2.0/mlflow'
const files = '/api/2.0/mlflow-artifacts/artifacts'
const jobs = '/api/3.0/millrace/gc/jobs'
const CLIENTS = 8
const SMALL_BYTES = 50_000
/** More than the gateway keeps to send it a second time. */
const LARGE_BYTES = 2_000_000
const LARGE_EVERY = 5

/** As MLflow's clients (urllib3's Retry with `allowed_methods=None`), with shorter pauses: the first repeat comes at once. */
const RETRIED = new Set([408, 425, 429, 500, 502, 503, 504])
const RETRY_PAUSES_MS = [0, 400, 800, 1_600, 3_200, 6_400]

export interface LoadOptions {
  /** Whether calls that read are made again. Writes always are. */
  retryReads: boolean
}

/** What came of a load: everything that a client would have noticed. */
interface LoadResult {
  readonly calls: number
  /** Writes that were made again. */
  readonly repeats: number
  readonly slowestMs: number
  /** Calls that failed for good, or that answered something else than was acknowledged. */
  readonly failures: readonly string[]
}

export interface Load {
  calls(): number
  /** Stops the clients and looks for every acknowledged write. */
  end(): Promise<LoadResult>
}

/** Eight clients that log, search, upload, download and list, each in a run of its own, until they are told to end. */
export async function startLoad(url: string, { retryReads }: LoadOptions): Promise<Load> {
  const failures: string[] = []
  let calls = 0
  let repeats = 0
  let slowestMs = 0
  let isOver = false

  /** @returns undefined when it failed for good. */
  const call = async (client: HttpClient, isRetried: boolean, method: string, path: string, body?: unknown) => {
    const begun = performance.now()
    const problems: string[] = []
    for (let repeat = 0; ; repeat++) {
      const answer = await client.send(method, path, body).catch((error: NodeJS.ErrnoException) => error)
      if (!(answer instanceof Error) && answer.status === 200) {
        calls++
        slowestMs = Math.max(slowestMs, performance.now() - begun)
        return answer
      }
      problems.push(answer instanceof Error ? `${answer.code ?? answer.message}` : `${answer.status} ${answer.text.slice(0, 200)}`)
      const pauseMs = RETRY_PAUSES_MS[repeat]
      if (!isRetried || pauseMs === undefined || !(answer instanceof Error || RETRIED.has(answer.status))) break
      repeats++
      await sleep(pauseMs)
    }
    failures.push(`${method} ${path}: ${problems.join('; ')}`)
    return undefined
  }

  const clients = Array.from({ length: CLIENTS }, async (_, number) => {
    using client = httpClient(url, 1)
    const read = (path: string) => call(client, retryReads, 'GET', path)
    const write = (path: string, body: unknown) => call(client, true, 'POST', path, body)
    const upload = (path: string, body: Buffer) => call(client, true, 'PUT', path, body)
    const expect = (what: string, answer: Answer | undefined, isRight: (answer: Answer) => boolean) => {
      if (answer && !isRight(answer)) failures.push(`${what}: ${answer.text.slice(0, 200)}`)
    }
    const created = await write(`${api}/runs/create`, { experiment_id: '0' })
    if (!created) throw new Error(failures.join('; '))
    const runId = (created.json() as RunAnswer).run.info.run_id
    const steps: number[] = []
    const uploads: { path: string; body: Buffer }[] = []
    for (let n = 0; !isOver; n++) {
      const metrics = [{ key: 'm', value: n, timestamp: 1, step: n }]
      const params = [{ key: `p${n}`, value: String(n) }]
      if (await write(`${api}/runs/log-batch`, { run_id: runId, metrics, params })) steps.push(n)
      expect(`run ${runId}`, await read(`${api}/runs/get?run_id=${runId}`), answer => paramsOf(answer).size >= steps.length)
      await call(client, retryReads, 'POST', `${api}/runs/search`, { experiment_ids: ['0'], max_results: 5 })
      const path = `${files}/load/${number}/${n}.bin`
      const body = Buffer.alloc(n % LARGE_EVERY === 0 ? LARGE_BYTES : SMALL_BYTES, n)
      if (await upload(path, body)) uploads.push({ path, body })
      const known = uploads.at(Math.floor(n / 2) % (uploads.length || 1))
      if (known) expect(known.path, await read(known.path), answer => answer.body.equals(known.body))
      await read(`${files}?path=load`)
      await read(jobs)
    }
    return { runId, steps, uploads }
  })
  return {
    calls: () => calls,
    async end() {
      isOver = true
      const acknowledged = await Promise.all(clients)
      using client = httpClient(url, 1)
      for (const { runId, steps, uploads } of acknowledged) {
        const params = paramsOf(await client.send('GET', `${api}/runs/get?run_id=${runId}`))
        const missing = steps.filter(n => !params.has(`p${n}`))
        if (missing.length > 0) failures.push(`run ${runId} has lost ${missing}`)
        for (const { path, body } of uploads) {
          if (!(await client.send('GET', path)).body.equals(body)) failures.push(`${path} is other than it was acknowledged`)
        }
      }
      return { calls, repeats, slowestMs, failures }
    },
  }
}

interface RunAnswer {
  run: { info: { run_id: string }; data: { params?: { key: string }[] } }
}

const paramsOf = (answer: Answer) => new Set((answer.json() as RunAnswer).run.data.params?.map(({ key }) => key))
