import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { type Caller, throwIfEnded, untilEnded } from '@millrace/kit/call-context'
import { internalError, temporarilyUnavailable } from '@millrace/kit/errors'
import type { PageJob, PageRead, Slices, Statement } from '../../shapes/slices.ts'

export interface ReadRequest {
  id: number
  job: PageJob | Statement
}

export interface ReadWorkerData {
  path: string
  dropped: MessagePort
}

export type ReadAnswer = { id: number; value: PageRead | Slices; failure?: undefined } | { id: number; failure: string; value?: undefined }

export interface ReadPoolOptions {
  /** Path of the SQLite database, which exists. */
  path: string
  /** Threads at most; each is started when a read finds the others busy. */
  threadsMax?: number
  /** How long a read may take, in milliseconds, the wait for its turn included. */
  timeoutMs?: number
}

const THREADS_MAX = 2
const READ_TIMEOUT_MS = 60_000

interface Pending {
  resolve: (value: PageRead | Slices) => void
  reject: (reason: Error) => void
  timer: NodeJS.Timeout
}

interface Thread {
  worker: Worker
  /** Takes the ids of reads that nobody waits for any more, past those that wait. */
  dropped: MessagePort
  pending: Map<number, Pending>
}

/**
 * Reads of a SQLite database on threads of their own: SQLite blocks the thread that it runs on, and a page of 1,000 runs takes 15 ms.
 * A thread that dies or stays silent is replaced; its reads fail with TEMPORARILY_UNAVAILABLE. What nobody waits for any more is not begun,
 * and ends between two statements: node:sqlite interrupts none.
 */
export class ReadPool implements AsyncDisposable {
  readonly #path: string
  readonly #threadsMax: number
  readonly #timeoutMs: number
  readonly #threads = new Set<Thread>()
  #lastId = 0
  #disposed = false

  constructor({ path, threadsMax = THREADS_MAX, timeoutMs = READ_TIMEOUT_MS }: ReadPoolOptions) {
    this.#path = path
    this.#threadsMax = threadsMax
    this.#timeoutMs = timeoutMs
  }

  page(job: PageJob, caller?: Caller): Promise<PageRead> {
    return this.#run(job, caller) as Promise<PageRead>
  }

  rows(statement: Statement, caller?: Caller): Promise<Slices> {
    return this.#run(statement, caller) as Promise<Slices>
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    const threads = [...this.#threads]
    for (const thread of threads) this.#drop(thread, 'The server is shutting down')
    await Promise.all(threads.map(({ worker }) => worker.terminate()))
  }

  #run(job: PageJob | Statement, caller: Caller | undefined): Promise<PageRead | Slices> {
    if (this.#disposed) throw temporarilyUnavailable('The server is shutting down')
    throwIfEnded(caller)
    const thread = this.#pick()
    const id = ++this.#lastId
    const read = new Promise<PageRead | Slices>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#drop(thread, 'The read took too long')
        void thread.worker.terminate()
      }, this.#timeoutMs)
      thread.pending.set(id, { resolve, reject, timer })
      thread.worker.ref()
      thread.worker.postMessage({ id, job } satisfies ReadRequest)
    })
    // It counts as a read of its thread until that has answered.
    return untilEnded(caller, read, () => thread.dropped.postMessage(id))
  }

  /** The least busy thread, or a new one when all are busy. */
  #pick(): Thread {
    let best: Thread | undefined
    for (const thread of this.#threads) if (!best || thread.pending.size < best.pending.size) best = thread
    return best && (best.pending.size === 0 || this.#threads.size >= this.#threadsMax) ? best : this.#start()
  }

  #start(): Thread {
    const { port1, port2 } = new MessageChannel()
    const workerData = { path: this.#path, dropped: port2 } satisfies ReadWorkerData
    const worker = new Worker(new URL('./read-worker.ts', import.meta.url), { workerData, transferList: [port2] })
    const thread: Thread = { worker, dropped: port1, pending: new Map() }
    worker.unref()
    worker.on('message', (answer: ReadAnswer) => this.#settle(thread, answer))
    worker.on('error', () => this.#drop(thread, 'A read was interrupted'))
    worker.on('exit', () => this.#drop(thread, 'A read was interrupted'))
    this.#threads.add(thread)
    return thread
  }

  #settle(thread: Thread, { id, value, failure }: ReadAnswer): void {
    const pending = thread.pending.get(id)
    if (!pending) return
    thread.pending.delete(id)
    if (thread.pending.size === 0) thread.worker.unref()
    clearTimeout(pending.timer)
    if (value) pending.resolve(value)
    else pending.reject(internalError('Internal server error', { cause: new Error(failure) }))
  }

  #drop(thread: Thread, reason: string): void {
    this.#threads.delete(thread)
    thread.dropped.close()
    for (const { reject, timer } of thread.pending.values()) {
      clearTimeout(timer)
      reject(temporarilyUnavailable(reason))
    }
    thread.pending.clear()
  }
}
