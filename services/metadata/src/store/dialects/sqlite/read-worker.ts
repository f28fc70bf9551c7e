import { setPriority } from 'node:os'
import { DatabaseSync } from 'node:sqlite'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { ReadAnswer, ReadRequest, ReadWorkerData } from './read-pool.ts'
import { SqliteStatements } from './read-statements.ts'
import { RunPlaces } from './run-places.ts'

/** The thread of a read pool: answers one request after the other over its own read-only connection. */
const port = parentPort
if (!port) throw new Error('read-worker runs as a worker thread')
/**
 * On Linux a priority belongs to a thread: where there is one core for everything, those who write and those who answer go first.
 * A long read still gets a fifth of the core beside them.
 */
const NICE = 6
if (process.platform === 'linux') setPriority(NICE)

const { path, dropped } = workerData as ReadWorkerData
const database = new DatabaseSync(path, { readOnly: true })
database.exec('PRAGMA busy_timeout = 20000; PRAGMA case_sensitive_like = ON; PRAGMA temp_store = MEMORY')
const places = new RunPlaces(database)
const statements = new SqliteStatements(database, () => places.refresh())

port.on('message', (request: ReadRequest) => {
  port.postMessage(answer(request))
})

function answer({ id, job }: ReadRequest): ReadAnswer {
  try {
    const check = () => throwIfDropped(id)
    check()
    return { id, value: 'ids' in job ? statements.page(job, check) : statements.rows(job, check) }
  } catch (error) {
    return { id, failure: error instanceof Error ? error.message : String(error) }
  }
}

/** Reads that nobody waits for; ids grow, so those of reads before `id` are of no use any more. */
const droppedIds = new Set<number>()

function throwIfDropped(id: number): void {
  for (let next = receiveMessageOnPort(dropped); next; next = receiveMessageOnPort(dropped))
    if (next.message >= id) droppedIds.add(next.message)
  if (droppedIds.delete(id)) throw new Error('nobody waits for the read')
}
