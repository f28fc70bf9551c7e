import { setImmediate as turn } from 'node:timers/promises'
import { httpClient } from '../services/http.ts'

const api = '/api/2.0/mlflow'
const files = '/api/2.0/mlflow-artifacts/artifacts'
const HISTORY_PAGE = 25_000

/** What one run was acknowledged to hold. */
export interface Acknowledged {
  runId: string
  steps: number[]
  batches: number[]
  tag: number
  files: string[]
}

/** Logs to one run, call after call, until the server goes away or `signal` stops it; answers what was acknowledged. */
export async function write(url: string, experimentId: string, signal: AbortSignal): Promise<Acknowledged | undefined> {
  using client = httpClient(url, 1)
  let done: Acknowledged | undefined
  try {
    const created = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, { experiment_id: experimentId })
    const runId = created.run.info.run_id
    done = { runId, steps: [], batches: [], tag: -1, files: [] }
    for (let n = 0; !signal.aborted; n++) {
      const metric = { key: 'm', value: n, timestamp: 1, step: n }
      await client.ok('POST', `${api}/runs/log-metric`, { run_id: runId, ...metric })
      done.steps.push(n)
      const metrics = Array.from({ length: 20 }, (_, i) => ({ key: 'b', value: i, timestamp: 1, step: n * 20 + i }))
      const params = [{ key: `p${n}`, value: String(n) }]
      await client.ok('POST', `${api}/runs/log-batch`, { run_id: runId, metrics, params, tags: [{ key: `t${n}`, value: String(n) }] })
      done.batches.push(n)
      await client.ok('POST', `${api}/runs/set-tag`, { run_id: runId, key: 'last', value: String(n) })
      done.tag = n
      if (n % 10 === 0) {
        const path = `${files}/chaos/${runId}/${n}.bin`
        const { status, text } = await client.send('PUT', path, Buffer.alloc(50_000, n))
        if (status !== 200) throw new Error(`PUT answered ${status}: ${text}`)
        done.files.push(path)
      }
      await turn()
    }
  } catch (error) {
    if (!isConnectionLoss(error)) throw error
  }
  return done
}

function isConnectionLoss(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return code === 'ECONNRESET' || code === 'ECONNREFUSED' || code === 'EPIPE'
}

interface RunAnswer {
  run: { data: { params?: { key: string; value: string }[]; tags?: { key: string; value: string }[] } }
}

/** Everything acknowledged that the server no longer has; empty when nothing was lost. */
export async function lost(url: string, writers: (Acknowledged | undefined)[]): Promise<string[]> {
  using client = httpClient(url, 8)
  const missing: string[] = []
  for (const done of writers) {
    if (!done) continue
    const { runId } = done
    const answer = await client.send('GET', `${api}/runs/get?run_id=${runId}`)
    if (answer.status !== 200) {
      missing.push(`run ${runId}: ${answer.text}`)
      continue
    }
    const { data } = (answer.json() as RunAnswer).run
    const params = new Set(data.params?.map(p => `${p.key}=${p.value}`))
    const tags = new Map(data.tags?.map(t => [t.key, t.value]))
    const [single, batch] = [await history(client, runId, 'm'), await history(client, runId, 'b')]
    for (const n of done.steps) if (!single.has(n)) missing.push(`${runId} metric m step ${n}`)
    for (const n of done.batches) {
      if (!params.has(`p${n}=${n}`)) missing.push(`${runId} param p${n}`)
      if (tags.get(`t${n}`) !== String(n)) missing.push(`${runId} tag t${n}`)
      for (let i = 0; i < 20; i++) if (!batch.has(n * 20 + i)) missing.push(`${runId} metric b step ${n * 20 + i}`)
    }
    if (done.tag >= 0 && Number(tags.get('last')) < done.tag) missing.push(`${runId} tag last`)
    for (const path of done.files) {
      const file = await client.send('GET', path)
      const n = Number(path.match(/(\d+)\.bin$/)?.[1])
      if (file.status !== 200 || !file.body.equals(Buffer.alloc(50_000, n))) missing.push(path)
    }
  }
  return missing
}

async function history(client: ReturnType<typeof httpClient>, runId: string, key: string): Promise<Set<number>> {
  const steps = new Set<number>()
  for (let token = ''; ; ) {
    const query = `run_id=${runId}&metric_key=${key}&max_results=${HISTORY_PAGE}${token && `&page_token=${token}`}`
    const answer = await client.send('GET', `${api}/metrics/get-history?${query}`)
    if (answer.status !== 200) return steps
    const page = answer.json() as { metrics?: { step?: number }[]; next_page_token?: string }
    for (const metric of page.metrics ?? []) steps.add(metric.step ?? 0)
    if (!page.next_page_token) return steps
    token = encodeURIComponent(page.next_page_token)
  }
}
