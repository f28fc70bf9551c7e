import { hostname } from 'node:os'
import type { Logger } from '@millrace/kit/logger'
import type { Timings } from '../timings.ts'
import type { Engine } from './engine.ts'
import type { Runner } from './runner.ts'

export interface RedisRunnerOptions {
  readonly url: string
  /** Begins the name of every key. */
  readonly prefix: string
  readonly concurrency: number
  readonly engine: Engine
  readonly timings: Timings
  readonly log: Logger
}

const QUEUE = 'jobs'
const CONNECT_TIMEOUT_MS = 5_000
const COMMAND_TIMEOUT_MS = 3_000
const CLOSE_TIMEOUT_MS = 3_000
const RECONNECT_MS_MAX = 2_000
const LOCK_MS = 60_000

/**
 * A doorbell on Redis through BullMQ: a queue entry holds a job's id and nothing else. Workers of all processes take entries; the lease
 * decides who runs the job. Each process also sends itself a heartbeat through Redis: a connection that looks healthy
 * and delivers nothing is the common failure, and shows as silence.
 */
export async function createRedisRunner({ url, prefix, concurrency, engine, timings, log }: RedisRunnerOptions): Promise<Runner> {
  const [{ Queue, Worker }, { Redis }] = await Promise.all([import('bullmq'), import('ioredis')])
  const retryStrategy = (times: number) => Math.min(times * 100, RECONNECT_MS_MAX)
  const producer = new Redis(url, {
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    retryStrategy,
  })
  const consumer = new Redis(url, { connectTimeout: CONNECT_TIMEOUT_MS, maxRetriesPerRequest: null, retryStrategy })
  let down = false
  const onError = (error: unknown) => {
    if (!down) log.warn('Redis cannot be reached: due jobs are found by looking in the control database', { error })
    down = true
  }
  producer.on('error', onError)
  producer.on('ready', () => {
    down = false
  })
  consumer.on('error', onError)

  const doorbell = new Queue(QUEUE, { connection: producer, prefix })
  const worker = new Worker<{ id: string }>(QUEUE, entry => engine.run(entry.data.id), {
    connection: consumer,
    prefix,
    concurrency,
    lockDuration: LOCK_MS,
    maxStalledCount: 1_000,
  })
  const pulse = `heartbeat-${hostname()}-${process.pid}`
  const heart = new Queue(pulse, { connection: producer, prefix })
  let lastBeat = Date.now()
  const beat = async () => {
    lastBeat = Date.now()
  }
  const listener = new Worker(pulse, beat, { connection: consumer, prefix, removeOnComplete: { count: 0 } })
  // While the connection is down every part repeats what the connection says.
  const onTrouble = (error: unknown) => {
    if (producer.status === 'ready') log.warn('Redis lost an entry or refused a call: the control database says what is due', { error })
  }
  for (const queue of [doorbell, heart]) queue.on('error', onTrouble)
  for (const taker of [worker, listener]) taker.on('error', onTrouble)

  const send = () =>
    within(COMMAND_TIMEOUT_MS, heart.add('beat', {}, { jobId: 'beat', removeOnComplete: true, removeOnFail: true })).catch(onTrouble)
  const pacemaker = setInterval(send, timings.heartbeatMs)
  pacemaker.unref()
  void send()

  return {
    async ring(id) {
      const entry = { jobId: id, removeOnComplete: true, removeOnFail: true }
      try {
        if (producer.status !== 'ready') return false
        await within(COMMAND_TIMEOUT_MS, doorbell.add('ring', { id }, entry))
        return true
      } catch (error) {
        onTrouble(error)
        return false
      }
    },
    async ready() {
      if (producer.status !== 'ready') throw new Error(`the connection to Redis is ${producer.status}`)
      await within(COMMAND_TIMEOUT_MS, producer.ping())
      const silence = Date.now() - lastBeat
      if (silence > timings.silenceMs) throw new Error(`no heartbeat came through Redis for ${Math.round(silence / 1000)} s`)
    },
    async [Symbol.asyncDispose]() {
      clearInterval(pacemaker)
      const quietly = (work: Promise<unknown>) => within(CLOSE_TIMEOUT_MS, work).catch(() => undefined)
      await Promise.all([quietly(worker.close()), quietly(listener.close(true))])
      if (producer.status === 'ready') await quietly(heart.obliterate({ force: true }))
      await Promise.all([quietly(doorbell.close()), quietly(heart.close())])
      producer.disconnect()
      consumer.disconnect()
    },
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer from Redis within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
