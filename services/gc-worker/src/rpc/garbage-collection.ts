import { randomUUID } from 'node:crypto'
import { type CallContext, callOf } from '@millrace/kit/call-context'
import { checkText } from '@millrace/kit/checked-text'
import { doesNotExist, invalidParameter } from '@millrace/kit/errors'
import { type Route, route } from '@millrace/kit/rpc'
import { shorten } from '@millrace/kit/shown'
import { GarbageCollectionService, type StartGarbageCollectionRequest } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { type Context, POLL_MS } from '../context.ts'
import { type Selection, select } from '../jobs/selection.ts'
import type { NewItem } from '../store/items.ts'
import type { Job } from '../store/jobs.ts'
import { isEnded, itemMessage, jobMessage } from './messages.ts'
import { checkPageSize, parsePageToken, toPageToken } from './pages.ts'

const KIND = 'garbage-collection'
const ADD_ITEMS = 1_000
const WATCH_ITEMS = 200
const JOB_ID = /^[\w-]{1,64}$/
/** Of each list of a selection. More than a command line holds. */
const SELECTION_IDS_MAX = 10_000
/** Longer than any id that MLflow gives. */
const SELECTION_ID_BYTES_MAX = 250

export function garbageCollectionRoutes(context: Context): Route[] {
  const { jobs, items, notifier } = context
  const describe = async (job: Job) => jobMessage(job, (await items.counts([job.id])).get(job.id))
  const find = async (id: string) => {
    const job = JOB_ID.test(id) ? await jobs.get(id) : undefined
    if (job?.kind !== KIND) throw doesNotExist(`Garbage collection with id=${shorten(id)} not found`)
    return job
  }
  return [
    route(GarbageCollectionService, {
      async startGarbageCollection(request, { signal, values }) {
        const call = callOf({ signal, values })
        const id = await startCollection(context, { selection: checkSelection(request), dryRun: request.dryRun ?? false, call })
        return { job: await describe(await find(id)) }
      },

      async getGarbageCollection(request) {
        const limit = checkPageSize(request.pageSize)
        const after = parsePageToken(request.pageToken, /^\d{1,9}$/)
        const job = await find(request.jobId)
        const page = await items.list(job.id, after ? Number(after[0]) : -1, limit)
        const last = page.length === limit ? page.at(-1) : undefined
        const nextPageToken = last && toPageToken([String(last.position)])
        return { job: await describe(job), items: page.map(itemMessage), nextPageToken }
      },

      async listGarbageCollections(request) {
        const limit = checkPageSize(request.pageSize)
        const [time, id] = parsePageToken(request.pageToken, /^\d{1,15}$/, /^[\w-]{1,64}$/) ?? []
        const page = await jobs.list(KIND, limit, time && id ? { createdTime: BigInt(time), id } : undefined)
        const counts = await items.counts(page.map(job => job.id))
        const last = page.length === limit ? page.at(-1) : undefined
        const nextPageToken = last && toPageToken([String(last.createdTime), last.id])
        return { jobs: page.map(job => jobMessage(job, counts.get(job.id))), nextPageToken }
      },

      async *watchGarbageCollection({ jobId }, { signal }) {
        let after = 0
        while (!signal.aborted) {
          const job = await find(jobId)
          const page = await items.ended(jobId, after, WATCH_ITEMS)
          const ended = isEnded(job) && page.length < WATCH_ITEMS
          const message = page.length > 0 || ended ? await describe(job) : undefined
          for (const item of page) {
            yield { job: message, item: itemMessage(item) }
            after = item.endedOrder ?? after
          }
          if (ended) return yield { job: message }
          if (page.length < WATCH_ITEMS) await notifier.wait(jobId, POLL_MS, signal)
        }
      },
    }),
  ]
}

function checkSelection(request: StartGarbageCollectionRequest): Selection {
  const { olderThanMs, runIds, experimentIds, loggedModelIds, jobs, jobIds } = request
  checkIds('run_ids', runIds)
  checkIds('experiment_ids', experimentIds)
  checkIds('logged_model_ids', loggedModelIds)
  checkIds('job_ids', jobIds)
  if (olderThanMs !== undefined && (olderThanMs < 0n || olderThanMs > BigInt(Date.now()))) {
    throw invalidParameter(`older_than_ms must be from 0 to the time since 1970, but is ${olderThanMs}`)
  }
  const age = olderThanMs === undefined ? undefined : Number(olderThanMs)
  return { runIds, experimentIds, loggedModelIds, olderThanMs: age, jobs: jobs === true || jobIds.length > 0, jobIds }
}

function checkIds(name: string, ids: readonly string[]): void {
  if (ids.length > SELECTION_IDS_MAX) throw invalidParameter(`${name} must be at most ${SELECTION_IDS_MAX} ids, but are ${ids.length}`)
  for (const id of ids) checkText(`An id of ${name}`, id, SELECTION_ID_BYTES_MAX)
}

interface Asked {
  readonly selection: Selection
  readonly dryRun: boolean
  readonly call: CallContext
}

/** Writes down what the selection stands for; only then the job may run. @returns its id. */
async function startCollection({ jobs, items, clients, log, ring }: Context, { selection, dryRun, call }: Asked): Promise<string> {
  const now = Date.now()
  const { olderThanMs } = selection
  const selected = select({ ...clients, call }, selection, now)
  let next = await selected.next()
  const id = randomUUID()
  const deletedBefore = olderThanMs === undefined ? undefined : BigInt(now - olderThanMs)
  await jobs.create(id, { kind: KIND, state: 'SELECTING', dryRun, deletedBefore })
  let total = 0
  try {
    while (!next.done) {
      const batch: NewItem[] = []
      for (; !next.done && batch.length < ADD_ITEMS; next = await selected.next()) batch.push(next.value)
      await items.add(id, total, batch)
      total += batch.length
    }
  } catch (reason) {
    await jobs.discard(id)
    throw reason
  }
  log.info('a garbage collection was asked for', { requestId: call.requestId, jobId: id, items: total })
  const nothingToDo = dryRun || total === 0
  await jobs.publish(id, nothingToDo ? 'SUCCEEDED' : 'PENDING')
  if (!nothingToDo) await ring(id)
  return id
}
